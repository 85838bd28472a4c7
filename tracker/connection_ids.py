"""Connection ids of UDP (BEP 15): proof that the sender receives at its address."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

ID_SIZE: Final = 8
_MINUTE: Final = 60
_ISSUED_KEPT: Final = 16_384
"""Ids of one minute that are remembered, as their owners come back with them at once."""


class ConnectionIds:
    """Issues ids and checks them; nothing need be remembered for it.

    An id is a keyed MAC over the minute and the address. It holds for its minute and the
    next; guessing one takes about 2^62 packets. The port is left out: libtorrent uses
    an id from other sockets than the one that asked for it.
    """

    def __init__(self, keys: Mapping[int, bytes], clock: Callable[[], float]) -> None:
        """`keys` are secrets by key id, shared by all shards: the newest issues, each checks.

        `clock` gives seconds. Raises ValueError without a key.
        """
        if not keys:
            raise ValueError("connection ids need a key")
        newest_first = [keys[kid] for kid in sorted(keys, reverse=True)]
        self._seeds = [hashlib.blake2b(key=key, digest_size=ID_SIZE) for key in newest_first]
        self._clock = clock
        self._present = 0
        self._issued: dict[bytes, bytes] = {}
        self._issued_before: dict[bytes, bytes] = {}

    @property
    def remembered(self) -> int:
        """Ids in memory at the moment."""
        return len(self._issued) + len(self._issued_before)

    def issue(self, address: bytes) -> bytes:
        """The id of an address (4 or 16 bytes) for this minute."""
        minute = int(self._clock()) // _MINUTE
        if minute != self._present or len(self._issued) >= _ISSUED_KEPT:
            self._forget(minute)
        issued = self._issued.get(address)
        if issued is None:
            issued = self._issued[address] = self._id(0, minute, address)
        return issued

    def proves(self, connection_id: bytes, address: bytes) -> bool:
        """Whether the id was issued to this address in this minute or the one before."""
        if hmac.compare_digest(self.issue(address), connection_id):
            return True
        before = self._issued_before.get(address)
        if before is not None and hmac.compare_digest(before, connection_id):
            return True
        now = self._present
        return any(
            hmac.compare_digest(self._id(seed, minute, address), connection_id)
            for seed in range(len(self._seeds))
            for minute in (now, now - 1)
        )

    def _forget(self, minute: int) -> None:
        """Keep what was issued in the minute before this one only."""
        if minute != self._present:
            self._issued_before = self._issued if minute == self._present + 1 else {}
        self._present, self._issued = minute, {}

    def _id(self, seed: int, minute: int, address: bytes) -> bytes:
        mac = self._seeds[seed].copy()
        mac.update(minute.to_bytes(8, "big", signed=True) + address)
        return mac.digest()
