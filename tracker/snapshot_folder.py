"""The snapshots of a shard on disk: the newest, the one before it, and the one being written."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tracker.snapshot import (
    SnapshotHead,
    SnapshotKeys,
    SnapshotReader,
    UnusableSnapshot,
    write_snapshot,
)
from tracker.swarms import Swarms

_NAME: Final = re.compile(r"(\d+)\.(\d+)\.(newest|previous|[0-9a-f]{16}\.tmp)")


@dataclass(frozen=True)
class SnapshotPlace:
    """Where snapshots are kept, what seals them, and how often one is written, in seconds."""

    root: Path
    keys: SnapshotKeys
    seconds: float = 60.0


class SnapshotFolder:
    """Two generations for each shard, readable by us only. Files appear whole or not at all."""

    def __init__(self, place: SnapshotPlace, layout: int, shard: int) -> None:
        self._root = root = place.root
        self._keys = place.keys
        self._layout = layout
        self._shard = shard
        self.newest = root / f"{layout}.{shard}.newest"
        self.previous = root / f"{layout}.{shard}.previous"
        self.unfinished = root / f"{layout}.{shard}.{secrets.token_hex(8)}.tmp"

    def head(self, path: Path) -> SnapshotHead:
        """Whose state a snapshot says it is. Raises UnusableSnapshot, OSError."""
        with path.open("rb") as file:
            return self._reader(file).head

    def load(self, path: Path, take: Callable[[bytes], int]) -> SnapshotHead:
        """Give all chunks to `take`, which answers with the peers in one; the snapshot's head.

        Raises UnusableSnapshot, and what was taken in then is worth nothing; OSError.
        """
        with path.open("rb") as file:
            reader = self._reader(file)
            peers = 0
            try:
                for chunk in reader.chunks():
                    peers += take(chunk)
            except ValueError as fault:
                raise UnusableSnapshot(str(fault)) from None
            if peers != reader.peers:
                raise UnusableSnapshot("its count of peers does not fit")
            return reader.head

    def write(self, head: SnapshotHead, swarms: Swarms) -> None:
        """Write `unfinished`, down to the disk. Raises OSError, and then no file is left."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(self.unfinished, flags, 0o600), "wb") as file:
                write_snapshot(
                    file,
                    self._keys,
                    head,
                    swarms.dump_chunks(),
                    swarms=len(swarms.by_torrent),
                    peers=swarms.peers,
                )
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            self.discard()
            raise

    def keep(self, *, rotate: bool) -> None:
        """Make what was written the newest; with `rotate` the one before it stays. Raises OSError.

        One that could not be read must not push a good one out.
        """
        if rotate and self.newest.exists():
            self.newest.replace(self.previous)
        self.unfinished.replace(self.newest)
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Remove what was not finished."""
        self.unfinished.unlink(missing_ok=True)

    def tidy(self, older_than: float) -> None:
        """Remove what other processes of this shard left unfinished, and old layouts' files.

        The latter when last written before `older_than`, in seconds since 1970. A folder that
        cannot be tidied is left as it is.
        """
        try:
            for path in self._root.iterdir():
                named = _NAME.fullmatch(path.name)
                if named is None or path == self.unfinished:
                    continue
                layout, shard = int(named[1]), int(named[2])
                own = (layout, shard) == (self._layout, self._shard)
                left = own and named[3].endswith(".tmp")
                if left or (layout < self._layout and path.stat().st_mtime < older_than):
                    path.unlink(missing_ok=True)
        except OSError:
            return

    def _reader(self, file: BinaryIO) -> SnapshotReader:
        reader = SnapshotReader(file, self._keys)
        if (reader.head.layout, reader.head.shard) != (self._layout, self._shard):
            raise UnusableSnapshot("it is another shard's")
        return reader
