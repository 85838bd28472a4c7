"""How many clients of one member sit in one swarm."""

from __future__ import annotations

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal


class SeatChoice:
    """A seat for a client that is new in a swarm, and who has to leave for it."""

    __slots__ = ("leaving", "seat")

    def __init__(self, seat: int, leaving: int = -1) -> None:
        self.seat = seat
        self.leaving = leaving
        """The slot of the client that gives way, or -1."""


def choose_seat(ask: Ask, account: int, endpoint: bytes) -> SeatChoice:
    """A client at the same address and port gives way; with all seats taken, one that is
    silent beyond the interval it was promised does, the longest silent first. Raises Refusal.
    """
    swarm = ask.swarm
    if swarm is None:
        return SeatChoice(0)
    taken = swarm.seats(account)
    for seat, slot in taken.items():
        if endpoint in swarm.endpoints(slot):
            return SeatChoice(seat, slot)
    if len(taken) < ask.rules.seats:
        return SeatChoice(next(seat for seat in range(len(taken) + 1) if seat not in taken))
    seat, slot = min(taken.items(), key=lambda item: swarm.seen[item[1]])
    if ask.now - swarm.seen[slot] > swarm.peer(slot).interval:
        return SeatChoice(seat, slot)
    raise Refusal("seats_taken", "Too many clients of yours in this torrent.", 15)
