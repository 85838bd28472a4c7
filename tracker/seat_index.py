"""Where a member's clients are in a large swarm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

_NEXT: Final = 1 << 32


class SeatIndex:
    """Slots by account. A member's clients have seats 0, 1 and so on, without a gap; the key
    of a seat is the account with the seat above its 32 bits.
    """

    __slots__ = ("_slots",)

    def __init__(self, accounts: Sequence[int]) -> None:
        """`accounts`: the account of each slot."""
        self._slots: dict[int, int] = {}
        for slot, account in enumerate(accounts):
            self.enter(account, slot)

    def seats(self, account: int) -> Iterator[int]:
        """The slots of a member's clients."""
        slots = self._slots
        while account in slots:
            yield slots[account]
            account += _NEXT

    def enter(self, account: int, slot: int) -> None:
        """Give a member one more seat."""
        slots = self._slots
        while account in slots:
            account += _NEXT
        slots[account] = slot

    def forget(self, account: int, slot: int) -> None:
        """Give the seat of a slot up; the last seat takes its place."""
        slots = self._slots
        seat = last = self._seat(account, slot)
        while last + _NEXT in slots:
            last += _NEXT
        slots[seat] = slots[last]
        del slots[last]

    def move(self, account: int, source: int, target: int) -> None:
        """A client went from one slot to another."""
        self._slots[self._seat(account, source)] = target

    def _seat(self, account: int, slot: int) -> int:
        slots = self._slots
        while slots[account] != slot:
            account += _NEXT
        return account
