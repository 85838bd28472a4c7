"""How often one member announces from one address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal
from tracker.wire import EVENT_COMPLETED, EVENT_STOPPED

_FORGET_ABOVE: Final = 65_536


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
        self._used: dict[tuple[int, bytes], tuple[float, int]] = {}

    def __call__(self, ask: Ask) -> None:
        """Count the announce. Raises Refusal."""
        rate = ask.rules.announces_per_minute
        if not rate or ask.account is None:
            return
        key = (ask.account.number, ask.address)
        used, since = self._used.get(key, (0.0, ask.now))
        used = max(0.0, used - (ask.now - since) * rate / 60)
        if used >= rate + self._peers_of(ask.account.number):
            if ask.request.event not in {EVENT_STOPPED, EVENT_COMPLETED}:
                raise Refusal("too_many", "Too many announces, slow down.", 1)
        elif len(self._used) >= _FORGET_ABOVE and key not in self._used:
            self._forget(ask.now, rate)
        self._used[key] = (used + 1, ask.now)

    def _forget(self, now: int, rate: int) -> None:
        """Drop who has used up nothing any more; if all are busy, start over for all."""
        self._used = {
            key: (used, since)
            for key, (used, since) in self._used.items()
            if used > (now - since) * rate / 60
        }
        if len(self._used) >= _FORGET_ABOVE:
            self._used = {}
