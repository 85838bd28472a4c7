"""Where a member's clients are in a large swarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

NEXT_SEAT: Final = 1 << 32


class SeatIndex:
    """Slots by account. A member's clients have seats 0, 1 and so on, without a gap; the key
    of a seat is the account with the seat above its 32 bits.
    """

    __slots__ = ("slots",)

    def __init__(self, accounts: Sequence[int]) -> None:
        """`accounts`: the account of each slot."""
        # Read directly where each announce comes by.
        self.slots: dict[int, int] = {}
        for slot, account in enumerate(accounts):
            self.enter(account, slot)

    def seats(self, account: int) -> list[int]:
        """The slots of a member's clients."""
        slots = self.slots
        found: list[int] = []
        while account in slots:
            found.append(slots[account])
            account += NEXT_SEAT
        return found

    def enter(self, account: int, slot: int) -> None:
        """Give a member one more seat."""
        slots = self.slots
        while account in slots:
            account += NEXT_SEAT
        slots[account] = slot

    def forget(self, account: int, slot: int) -> None:
        """Give the seat of a slot up; the last seat takes its place."""
        slots = self.slots
        seat = last = self._seat(account, slot)
        while last + NEXT_SEAT in slots:
            last += NEXT_SEAT
        slots[seat] = slots[last]
        del slots[last]

    def move(self, account: int, source: int, target: int) -> None:
        """A client went from one slot to another."""
        self.slots[self._seat(account, source)] = target

    def _seat(self, account: int, slot: int) -> int:
        slots = self.slots
        while slots[account] != slot:
            account += NEXT_SEAT
        return account
