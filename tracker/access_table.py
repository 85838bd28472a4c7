"""Accounts and torrents in memory: packed entries by number, and hashes to numbers."""

from __future__ import annotations

import struct
from typing import Final

from tracker.wire import (
    ACCOUNT,
    ACCOUNT_SIZE,
    CHUNK_ENTRIES,
    CHUNK_SHIFT,
    NO_HASH,
    TORRENT,
    TORRENT_CLOSED,
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

    def put_accounts(self, packed: bytes) -> None:
        """Take over entries back to back; number 0 is a hole. Raises struct.error when torn."""
        for entry in ACCOUNT.iter_unpack(packed):
            number = entry[0]
            if number:
                chunk = self._accounts.setdefault(
                    number >> CHUNK_SHIFT, bytearray(ACCOUNT_SIZE << CHUNK_SHIFT)
                )
                ACCOUNT.pack_into(chunk, (number & _PLACE) * ACCOUNT_SIZE, *entry)
                if number >> CHUNK_SHIFT in self._proofs:
                    self.keep_proof(number, NO_PROOF)

    def put_torrents(self, packed: bytes) -> None:
        """Take over entries back to back; number 0 is a hole. Raises struct.error when torn."""
        for entry in map(TorrentEntry._make, TORRENT.iter_unpack(packed)):
            if entry.number:
                self._put_torrent(entry)

    def _put_torrent(self, entry: TorrentEntry) -> None:
        before = self.torrent_numbered(entry.number)
        if before is not None:
            for info_hash in (before.canonical, before.alias):
                if self._hashes.get(info_hash) == entry.number:
                    del self._hashes[info_hash]
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
