"""Connection ids of UDP (BEP 15): proof that the sender receives at its address."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

ID_SIZE: Final = 8
_MINUTE: Final = 60


class ConnectionIds:
    """Issues ids and checks them without remembering any.

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

    def issue(self, address: bytes) -> bytes:
        """The id of an address (4 or 16 bytes) for this minute."""
        return self._id(0, self._minute(), address)

    def proves(self, connection_id: bytes, address: bytes) -> bool:
        """Whether the id was issued to this address in this minute or the one before."""
        now = self._minute()
        return any(
            hmac.compare_digest(self._id(seed, minute, address), connection_id)
            for seed in range(len(self._seeds))
            for minute in (now, now - 1)
        )

    def _minute(self) -> int:
        return int(self._clock()) // _MINUTE

    def _id(self, seed: int, minute: int, address: bytes) -> bytes:
        mac = self._seeds[seed].copy()
        mac.update(minute.to_bytes(8, "big", signed=True) + address)
        return mac.digest()
