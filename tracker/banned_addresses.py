"""Banned addresses and ranges in memory: one look-up for each length of prefix in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from tracker.wire import BANNED_NETWORK, BANNED_UNTIL, BannedAddress

_BITS: Final = 128
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""How networks of IPv4 begin in the feed (RFC 4291 §2.5.5.2)."""
_Prefixes: TypeAlias = dict[int, dict[int, int]]


class BannedAddresses:
    """Networks by the length of their prefix, so that a look-up costs O(lengths), not O(bans).

    A ban with an end is passed over once that is reached; the feed need not say anything then.
    """

    __slots__ = ("_v4", "_v6")

    def __init__(self) -> None:
        # By bits cut off the address: prefix to end. IPv4 has 32 bits here, which is quicker.
        self._v4: _Prefixes = {}
        self._v6: _Prefixes = {}

    def __len__(self) -> int:
        return sum(map(len, self._v4.values())) + sum(map(len, self._v6.values()))

    def load(self, published: Mapping[bytes, bytes]) -> None:
        """Take over all pairs of network and end as published. Raises struct.error when torn."""
        for network, until in published.items():
            length, prefix = BANNED_NETWORK.unpack(network)
            (ends,) = BANNED_UNTIL.unpack(until)
            self.apply(BannedAddress(length, prefix, ends, active=True))

    def apply(self, ban: BannedAddress) -> None:
        """Put one ban in place of what was known of its network, or lift it."""
        is_v4 = ban.network.startswith(_MAPPED)
        prefixes = self._v4 if is_v4 else self._v6
        shift = _BITS - ban.length
        prefix = int.from_bytes(ban.network[12:] if is_v4 else ban.network, "big") >> shift
        if ban.active:
            prefixes.setdefault(shift, {})[prefix] = ban.until
            return
        known = prefixes.get(shift)
        if known is not None:
            known.pop(prefix, None)
            if not known:
                del prefixes[shift]

    def covers(self, address: bytes, now: int) -> bool:
        """Whether an address of 4 or 16 bytes is banned at `now`, in seconds."""
        prefixes = self._v4 if len(address) == 4 else self._v6
        if not prefixes:
            return False
        number = int.from_bytes(address, "big")
        for shift, known in prefixes.items():
            until = known.get(number >> shift)
            if until is not None and (until == 0 or now < until):
                return True
        return False
