"""How many clients of one member sit in one swarm."""

from __future__ import annotations

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal


def make_room(ask: Ask, endpoint: bytes) -> int:
    """The slot of the client that gives way to one that is new in a swarm, or -1.

    A client at the same address and port gives way; with all seats taken, one that is
    silent beyond the interval it was promised does, the longest silent first. Raises Refusal.
    """
    swarm = ask.swarm
    if swarm is None:
        return -1
    taken = swarm.seats(ask.account)
    for slot in taken:
        if endpoint in swarm.endpoints(slot):
            return slot
    if len(taken) < ask.rules.seats:
        return -1
    slot = min(taken, key=lambda slot: swarm.peer(slot).seen)
    longest = swarm.peer(slot)
    if ask.now - longest.seen > longest.interval:
        return slot
    raise Refusal("seats_taken", "Too many clients of yours in this torrent.", 15)
