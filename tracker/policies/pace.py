"""How often one member announces from one address."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal
from tracker.wire import EVENT_COMPLETED, EVENT_STOPPED

_ACCOUNT: Final = struct.Struct("<I")
_FORGET_ABOVE: Final = 65_536
_NETWORK: Final = 8
"""Bytes of an IPv6 address that count: a subscriber has all addresses of a /64."""


class PacePolicy:
    """200 announces a minute per member and address, and one more per torrent in swarms.

    An early announce is answered like any other; the ledger credits differences of totals,
    so it gains nothing. Only a flood is told to come back later. `stopped` and `completed`
    always pass: they are never repeated by themselves. A client that starts with many
    torrents passes too, as each new one raises its own limit by one.
    """

    def __init__(self, peers_of: Callable[[int], int]) -> None:
        """`peers_of` tells how many peers an account has in swarms."""
        self._peers_of = peers_of
        # Spent until: seconds times rate, of which an announce costs 60. Whole numbers, so
        # that nothing is lost in sums.
        self._spent: dict[bytes, int] = {}
        self._rate = 0

    def __call__(self, ask: Ask) -> None:
        """Count the announce. Raises Refusal."""
        rate = ask.rules.announces_per_minute
        if not rate:
            return
        if rate != self._rate:
            self._rate = rate
            self._spent = {}
        # One object a member and address; a tuple of them would be three cold ones.
        key = _ACCOUNT.pack(ask.account) + ask.address[:_NETWORK]
        present = ask.now * rate
        spent = self._spent.get(key, 0)
        if spent <= present:
            if not spent and len(self._spent) >= _FORGET_ABOVE:
                self._forget(present)
            spent = present
        elif (
            spent >= present + rate * 60
            and spent >= present + (rate + self._peers_of(ask.account)) * 60
        ):
            if ask.request.event not in {EVENT_STOPPED, EVENT_COMPLETED}:
                raise Refusal("too_many", "Too many announces, slow down.", 1)
            return
        self._spent[key] = spent + 60

    def __len__(self) -> int:
        """How many members and addresses are remembered."""
        return len(self._spent)

    def _forget(self, present: int) -> None:
        """Drop who has used up nothing any more; if all are busy, start over for all."""
        self._spent = {key: spent for key, spent in self._spent.items() if spent > present}
        if len(self._spent) >= _FORGET_ABOVE:
            self._spent = {}
