"""The snapshot of a shard as bytes: swarms in sealed chunks between a head and an end.

A file starts with magic, key id and salt in the clear. Frames follow, each a length and what
AES-256-GCM made of a piece: the head, chunks as `Swarms.dump_chunks` gives them, the end. The
key is derived for this one file, so a frame's number can be its nonce; the last frame's nonce is
marked, so a file that ends early does not open (the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizár, 2015).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tracker.wire import entry_id

_MAGIC: Final = b"TRKSNAP1"
_SALT_SIZE: Final = 32
# magic, key id, salt
_OPENING: Final = struct.Struct("<8sI32s")
_LENGTH: Final = struct.Struct("<I")
# layout, shard, history, epoch, number, at
_HEAD: Final = struct.Struct("<II16sQQq")
# chunks, swarms, peers, SHA-256 of everything before
_END: Final = struct.Struct("<IQQ32s")
_NONCE: Final = struct.Struct("<QI")
_TAG_SIZE: Final = 16
_PURPOSE: Final = b"trackarr snap"
HISTORY_SIZE: Final = 16


class UnusableSnapshot(Exception):
    """A snapshot that cannot be used; the text says why, in words for the log."""


@dataclass(frozen=True)
class SnapshotKeys:
    """Keys of 32 bytes by their ids, and the id of the one that seals."""

    active: int
    materials: Mapping[int, bytes] = field(repr=False)


class SnapshotHead(NamedTuple):
    """Whose state it is, and up to which entry of which stream.

    `history` is the random word of the stream, `at` the shard's clock in microseconds. Every
    record up to `epoch`-`number` is contained, and none behind it.
    """

    layout: int
    shard: int
    history: bytes
    epoch: int
    number: int
    at: int

    @property
    def last_id(self) -> str:
        """Stream id of the last entry that is contained."""
        return entry_id(self.epoch, self.number)


def write_snapshot(
    file: BinaryIO,
    keys: SnapshotKeys,
    head: SnapshotHead,
    chunks: Iterable[bytes],
    *,
    swarms: int,
    peers: int,
) -> None:
    """Write a whole snapshot; `swarms` and `peers` is what the chunks hold. Raises OSError."""
    opening = _OPENING.pack(_MAGIC, keys.active, os.urandom(_SALT_SIZE))
    file.write(opening)
    sealer = _Sealer(keys.materials[keys.active], opening)
    packed = _HEAD.pack(*head)
    digest = hashlib.sha256(packed)
    _write_frame(file, sealer.seal(packed, last=False))
    count = 0
    for chunk in chunks:
        digest.update(chunk)
        _write_frame(file, sealer.seal(chunk, last=False))
        count += 1
    end = _END.pack(count, swarms, peers, digest.digest())
    _write_frame(file, sealer.seal(end, last=True))


class SnapshotReader:
    """Reads one snapshot: its head at once, then its chunks."""

    def __init__(self, file: BinaryIO, keys: SnapshotKeys) -> None:
        """Raises UnusableSnapshot, OSError."""
        self._file = file
        self._left = os.fstat(file.fileno()).st_size
        opening = self._take(_OPENING.size)
        magic, key_id, _ = _OPENING.unpack(opening)
        if magic != _MAGIC:
            raise UnusableSnapshot("it is no snapshot of this version")
        material = keys.materials.get(key_id)
        if material is None:
            raise UnusableSnapshot("its key is not in the keyring")
        self._sealer = _Sealer(material, opening)
        packed, last = self._frame()
        if last or len(packed) != _HEAD.size:
            raise UnusableSnapshot("it is damaged")
        self._digest = hashlib.sha256(packed)
        self.head = SnapshotHead._make(_HEAD.unpack(packed))
        self.swarms = 0
        self.peers = 0

    def chunks(self) -> Iterator[bytes]:
        """What was dumped; `swarms` and `peers` are known at the end.

        A chunk is authentic when it is given, but only the end shows that none is missing.
        Raises UnusableSnapshot, OSError.
        """
        count = 0
        while True:
            piece, last = self._frame()
            if last:
                break
            self._digest.update(piece)
            count += 1
            yield piece
        if len(piece) != _END.size or self._left:
            raise UnusableSnapshot("it is damaged")
        chunks, self.swarms, self.peers, digest = _END.unpack(piece)
        if chunks != count or digest != self._digest.digest():
            raise UnusableSnapshot("its checksum does not fit")

    def _frame(self) -> tuple[bytes, bool]:
        """The next piece, and whether it is the last one."""
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        sealed = self._take(length)
        # What follows tells which nonce it is; a cut there fails to open.
        last = self._left == 0
        return self._sealer.open(sealed, last=last), last

    def _take(self, size: int) -> bytes:
        # Compared first, so that a damaged length does not ask for gigabytes.
        if size > self._left:
            raise UnusableSnapshot("it is cut off")
        taken = self._file.read(size)
        if len(taken) != size:
            raise UnusableSnapshot("it is cut off")
        self._left -= size
        return taken


class _Sealer:
    """The frames of one file, in order: sealed or opened under the file's own key."""

    def __init__(self, material: bytes, opening: bytes) -> None:
        derived = hashlib.blake2b(opening, digest_size=32, key=material, person=_PURPOSE)
        self._cipher = AESGCM(derived.digest())
        self._opening = opening
        self._number = 0

    def seal(self, piece: bytes, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last=last), piece, self._opening)

    def open(self, sealed: bytes, *, last: bool) -> bytes:
        if len(sealed) < _TAG_SIZE:
            raise UnusableSnapshot("it is damaged")
        try:
            return self._cipher.decrypt(self._nonce(last=last), sealed, self._opening)
        except InvalidTag:
            raise UnusableSnapshot("it is damaged, or sealed with another key") from None

    def _nonce(self, *, last: bool) -> bytes:
        number = self._number
        self._number += 1
        return _NONCE.pack(number, last)


def _write_frame(file: BinaryIO, sealed: bytes) -> None:
    file.write(_LENGTH.pack(len(sealed)))
    file.write(sealed)
