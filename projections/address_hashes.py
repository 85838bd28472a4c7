"""Addresses of peer records replaced by keyed hashes, under one key a month."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.credit import MICROSECONDS
from projections.credit_slots import SlotTable
from projections.peer_records import Ints, Records

_KEPT: Final = 500_000
_MONTHS: Final = 2
"""Batches lie in one month, and in two while it turns."""


class AddressHasher:
    """Replaces addresses by hashes under one key a month, so that links can be destroyed.

    `key_of` gives the key (16 to 64 bytes) of a month ("2026-11"); `seed` must be unpredictable,
    as members choose their addresses. Raises what `key_of` raises.
    """

    def __init__(self, key_of: Callable[[str], bytes], *, seed: int) -> None:
        self._key_of = key_of
        self._seed = seed
        self._known: dict[str, _Hashes] = {}

    def hash_addresses(self, records: Records) -> Records:
        """A copy whose addresses are 16-byte keyed BLAKE2b hashes."""
        hashed = records.copy()
        if not len(records):
            return hashed
        ends = np.array([records["at"].min(), records["at"].max()])
        first, last = _months(ends)
        if first == last:
            hashed["address"] = self._hashes(str(first)).of(records["address"])
            return hashed
        months = _months(records["at"])
        for month in np.unique(months):
            rows = months == month
            hashed["address"][rows] = self._hashes(str(month)).of(records["address"][rows])
        return hashed

    def _hashes(self, month: str) -> _Hashes:
        if month not in self._known:
            if len(self._known) >= _MONTHS:
                self._known.clear()
            self._known[month] = _Hashes(lambda: self._key_of(month), self._seed)
        return self._known[month]


def _months(at: Ints) -> npt.NDArray[np.datetime64]:
    """The month of each time in microseconds since 1970."""
    return (at // MICROSECONDS).astype("datetime64[s]").astype("datetime64[M]")


class _Hashes:
    """Hashes under one key; each address is hashed once while it is remembered."""

    def __init__(self, key: Callable[[], bytes], seed: int) -> None:
        self._key = key
        self._seed = seed
        self._forget()

    def of(self, addresses: Records) -> Records:
        if len(self._slots) > _KEPT:
            self._forget()
        words = np.ascontiguousarray(addresses).view("<u8").reshape(-1, 2).astype(np.uint64)
        before = len(self._slots)
        slots = self._slots.insert([words[:, 0], words[:, 1]])
        self._add(before)
        return self._hashes[slots]

    def _forget(self) -> None:
        self._slots = SlotTable(2, {}, seed=self._seed)
        self._hashes: Records = np.zeros(0, "V16")

    def _add(self, before: int) -> None:
        """Hash the addresses that came in behind slot `before`."""
        fresh = [self._slots.keys(word)[before:] for word in range(2)]
        if not len(fresh[0]):
            return
        # Asked for anew: the key of a month that is long over may be destroyed by now.
        key = self._key()
        plain = np.column_stack(fresh).astype("<u8").tobytes()
        hashes = b"".join(
            hashlib.blake2b(plain[at : at + 16], digest_size=16, key=key).digest()
            for at in range(0, len(plain), 16)
        )
        room = len(self._hashes)
        if len(self._slots) > room:
            grown = np.zeros(max(2 * room, len(self._slots)), "V16")
            grown[:room] = self._hashes
            self._hashes = grown
        self._hashes[before : len(self._slots)] = np.frombuffer(hashes, "V16")
