"""Accounts and torrents in memory: packed entries by number, and hashes to numbers."""

from __future__ import annotations

import struct
from collections.abc import Container
from itertools import chain
from typing import Final

from tracker.wire import (
    ACCOUNT,
    ACCOUNT_SIZE,
    CHUNK_ENTRIES,
    CHUNK_SHIFT,
    NO_HASH,
    TORRENT,
    TORRENT_ACCEPTED,
    TORRENT_CLOSED,
    TORRENT_PENDING,
    TORRENT_SIZE,
    AccountEntry,
    TorrentEntry,
)

_PLACE: Final = CHUNK_ENTRIES - 1
# What an announce needs of an entry: number, kid, flags, epoch; number, uploader, state.
_ACCOUNT_RIGHTS: Final = struct.Struct("<IHBxI12x")
_TORRENT_STATE: Final = struct.Struct("<II40xB7x")
if (_ACCOUNT_RIGHTS.size, _TORRENT_STATE.size) != (ACCOUNT_SIZE, TORRENT_SIZE):
    raise AssertionError("parts of an entry are read in the entry's layout")
PROOF_SIZE: Final = 12
NO_PROOF: Final = bytes(PROOF_SIZE)
"""Stands where no proof is kept; it never counts as one."""
_CANONICAL: Final = struct.Struct("<8x20s28x")
_ALIAS: Final = struct.Struct("<28x20s8x")
_STATE_AT: Final = 48
_OPEN_STATES: Final = bytes((TORRENT_ACCEPTED, TORRENT_PENDING))
_NO_RIGHTS: Final = (0, -1, 0, 0)
_NO_STATE: Final = (0, 0, 0)


class AccessTable:
    """What the access feed told so far.

    Entries stay packed in chunks of 4096, as hundreds of thousands of small objects would
    cost ten times the memory and make every look-up a cold one.
    """

    __slots__ = ("_accounts", "_hashes", "_proofs", "_torrents")

    def __init__(self) -> None:
        self._accounts: dict[int, bytearray] = {}
        self._torrents: dict[int, bytearray] = {}
        self._proofs: dict[int, bytearray] = {}
        self._hashes: dict[bytes, int] = {}

    def account(self, number: int) -> AccountEntry | None:
        """The account of a number, None where there is none."""
        chunk = self._accounts.get(number >> CHUNK_SHIFT)
        if chunk is None:
            return None
        entry = AccountEntry._make(ACCOUNT.unpack_from(chunk, (number & _PLACE) * ACCOUNT_SIZE))
        return entry if entry.number else None

    def rights(self, number: int) -> tuple[int, int, int, int]:
        """Number, kid, ACCOUNT_* flags and announce epoch; (0, -1, 0, 0) for no account."""
        chunk = self._accounts.get(number >> CHUNK_SHIFT)
        if chunk is None:
            return _NO_RIGHTS
        found: tuple[int, int, int, int] = _ACCOUNT_RIGHTS.unpack_from(
            chunk, (number & _PLACE) * ACCOUNT_SIZE
        )
        return found if found[0] else _NO_RIGHTS

    def proof(self, number: int) -> bytes:
        """The kept proof of an account's general key, or NO_PROOF."""
        chunk = self._proofs.get(number >> CHUNK_SHIFT)
        if chunk is None:
            return NO_PROOF
        start = (number & _PLACE) * PROOF_SIZE
        return bytes(chunk[start : start + PROOF_SIZE])

    def keep_proof(self, number: int, proof: bytes) -> None:
        """Keep what was proved right until the account changes; 12 bytes."""
        chunk = self._proofs.get(number >> CHUNK_SHIFT)
        if chunk is None:
            chunk = self._proofs[number >> CHUNK_SHIFT] = bytearray(PROOF_SIZE << CHUNK_SHIFT)
        start = (number & _PLACE) * PROOF_SIZE
        chunk[start : start + PROOF_SIZE] = proof

    def torrent_state(self, info_hash: bytes) -> tuple[int, int, int]:
        """Number, uploader and TORRENT_* state of a hash; (0, 0, 0) for an unknown one."""
        number = self._hashes.get(info_hash)
        if number is None:
            return _NO_STATE
        found: tuple[int, int, int] = _TORRENT_STATE.unpack_from(
            self._torrents[number >> CHUNK_SHIFT], (number & _PLACE) * TORRENT_SIZE
        )
        return found

    def torrent(self, info_hash: bytes) -> TorrentEntry | None:
        """The torrent of a canonical or alias hash of 20 bytes."""
        number = self._hashes.get(info_hash)
        return self.torrent_numbered(number) if number is not None else None

    def torrent_numbered(self, number: int) -> TorrentEntry | None:
        """The torrent of a number, None where there is none."""
        chunk = self._torrents.get(number >> CHUNK_SHIFT)
        if chunk is None:
            return None
        entry = TorrentEntry._make(TORRENT.unpack_from(chunk, (number & _PLACE) * TORRENT_SIZE))
        return entry if entry.number else None

    def replace_accounts(self, chunk: int, packed: bytes) -> None:
        """Hold these entries of a chunk and no others. Raises struct.error when torn."""
        placed = _placed(packed, chunk, ACCOUNT_SIZE)
        if self._accounts.get(chunk) != placed:
            self._accounts[chunk] = placed
            self._proofs.pop(chunk, None)

    def replace_torrents(self, chunk: int, packed: bytes) -> None:
        """Hold these entries of a chunk and no others. Raises struct.error when torn.

        A chunk that is new costs no Python call for each torrent, one that is known already only
        for what differs.
        """
        placed = _placed(packed, chunk, TORRENT_SIZE)
        before = self._torrents.get(chunk)
        if before is None:
            self._torrents[chunk] = placed
            self._index(chunk, placed)
            return
        if before == placed:
            return
        changed: list[bytearray] = []
        for at in range(0, len(placed), TORRENT_SIZE):
            entry = placed[at : at + TORRENT_SIZE]
            if before[at : at + TORRENT_SIZE] != entry:
                changed.append(entry)
                known = TorrentEntry._make(TORRENT.unpack_from(before, at))
                if known.number:
                    self._forget(known)
                    before[at : at + TORRENT_SIZE] = bytes(TORRENT_SIZE)
        # A hash may have gone from one torrent to another, so all are forgotten first.
        self.put_torrents(b"".join(changed))

    def keep_chunks(self, accounts: Container[int], torrents: Container[int]) -> None:
        """Forget what is in no chunk of these."""
        for chunk in [chunk for chunk in self._accounts if chunk not in accounts]:
            del self._accounts[chunk]
            self._proofs.pop(chunk, None)
        for chunk in [chunk for chunk in self._torrents if chunk not in torrents]:
            self.replace_torrents(chunk, b"")
            del self._torrents[chunk]

    def put_accounts(self, packed: bytes | bytearray) -> None:
        """Take over entries back to back; number 0 is a hole. Raises struct.error when torn."""
        for entry in ACCOUNT.iter_unpack(packed):
            number = entry[0]
            if number:
                chunk = self._accounts.get(number >> CHUNK_SHIFT)
                if chunk is None:
                    chunk = bytearray(ACCOUNT_SIZE << CHUNK_SHIFT)
                    self._accounts[number >> CHUNK_SHIFT] = chunk
                ACCOUNT.pack_into(chunk, (number & _PLACE) * ACCOUNT_SIZE, *entry)
                if number >> CHUNK_SHIFT in self._proofs:
                    self.keep_proof(number, NO_PROOF)

    def put_torrents(self, packed: bytes | bytearray) -> None:
        """Take over entries back to back; number 0 is a hole. Raises struct.error when torn."""
        for entry in map(TorrentEntry._make, TORRENT.iter_unpack(packed)):
            if entry.number:
                self._put_torrent(entry)

    def _put_torrent(self, entry: TorrentEntry) -> None:
        before = self.torrent_numbered(entry.number)
        if before is not None:
            self._forget(before)
        chunk = self._torrents.get(entry.number >> CHUNK_SHIFT)
        if chunk is None:
            chunk = bytearray(TORRENT_SIZE << CHUNK_SHIFT)
            self._torrents[entry.number >> CHUNK_SHIFT] = chunk
        TORRENT.pack_into(chunk, (entry.number & _PLACE) * TORRENT_SIZE, *entry)
        for info_hash in (entry.canonical, entry.alias):
            # A withdrawn torrent's hash may have been uploaded again under another number;
            # what is closed keeps its hash only until then.
            if info_hash != NO_HASH and not (
                entry.state == TORRENT_CLOSED and info_hash in self._hashes
            ):
                self._hashes[info_hash] = entry.number

    def _forget(self, entry: TorrentEntry) -> None:
        for info_hash in (entry.canonical, entry.alias):
            if self._hashes.get(info_hash) == entry.number:
                del self._hashes[info_hash]

    def _index(self, chunk: int, placed: bytearray) -> None:
        """Enter the hashes of a chunk that was not known before; see `_put_torrent` for closed."""
        hashes = self._hashes
        numbers = range(chunk << CHUNK_SHIFT, (chunk + 1) << CHUNK_SHIFT)
        states = placed[_STATE_AT::TORRENT_SIZE]
        if not states.translate(None, _OPEN_STATES):
            canonical = chain.from_iterable(_CANONICAL.iter_unpack(placed))
            hashes.update(zip(canonical, numbers, strict=True))
        else:
            rows = list(zip(_CANONICAL.iter_unpack(placed), numbers, states, strict=True))
            hashes.update((row, number) for (row,), number, state in rows if state in _OPEN_STATES)
            for (row,), number, state in rows:
                if state == TORRENT_CLOSED:
                    hashes.setdefault(row, number)
        for (alias,), number, state in zip(
            _ALIAS.iter_unpack(placed), numbers, states, strict=True
        ):
            if alias == NO_HASH:
                continue
            if state == TORRENT_CLOSED:
                hashes.setdefault(alias, number)
            elif state:
                hashes[alias] = number


def _placed(packed: bytes, chunk: int, size: int) -> bytearray:
    """A chunk with each entry in its place; one as published is so already, but for its length."""
    placed = bytearray(size << CHUNK_SHIFT)
    if len(packed) % size or len(packed) > len(placed):
        raise struct.error("a chunk is torn")
    first = chunk << CHUNK_SHIFT
    count = len(packed) // size
    numbers = memoryview(packed).cast("I")[:: size // 4].tolist()
    if numbers == list(range(first, first + count)):
        placed[: len(packed)] = packed
        return placed
    for at, number in enumerate(numbers):
        if number >> CHUNK_SHIFT == chunk and number:
            start = (number & _PLACE) * size
            placed[start : start + size] = packed[at * size : (at + 1) * size]
    return placed
