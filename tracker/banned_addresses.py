"""Banned addresses and ranges in memory: one look-up for each length of prefix in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tracker.wire import BANNED_NETWORK, BANNED_UNTIL, BannedAddress

_BITS: Final = 128
_MAPPED: Final = 0xFFFF << 32
"""An IPv4 address is looked up as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), as networks are written."""


class BannedAddresses:
    """Networks by the length of their prefix, so that a look-up costs O(lengths), not O(bans).

    A ban with an end is passed over once that is reached; the feed need not say anything then.
    """

    __slots__ = ("_by_length",)

    def __init__(self) -> None:
        self._by_length: dict[int, dict[int, int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_length.values()))

    def load(self, published: Mapping[bytes, bytes]) -> None:
        """Take over all pairs of network and end as published. Raises struct.error when torn."""
        for network, until in published.items():
            length, prefix = BANNED_NETWORK.unpack(network)
            (ends,) = BANNED_UNTIL.unpack(until)
            self.apply(BannedAddress(length, prefix, ends, active=True))

    def apply(self, ban: BannedAddress) -> None:
        """Put one ban in place of what was known of its network, or lift it."""
        prefix = int.from_bytes(ban.network, "big") >> (_BITS - ban.length)
        if ban.active:
            self._by_length.setdefault(ban.length, {})[prefix] = ban.until
            return
        known = self._by_length.get(ban.length)
        if known is not None:
            known.pop(prefix, None)
            if not known:
                del self._by_length[ban.length]

    def covers(self, address: bytes, now: int) -> bool:
        """Whether an address of 4 or 16 bytes is banned at `now`, in seconds."""
        if not self._by_length:
            return False
        number = int.from_bytes(address, "big")
        if len(address) == 4:
            number |= _MAPPED
        for length, known in self._by_length.items():
            until = known.get(number >> (_BITS - length))
            if until is not None and (until == 0 or now < until):
                return True
        return False
