"""What a shard can start from: the newest snapshot that fits its stream, and what is missing."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tracker.event_stream import Log
from tracker.redis_link import RedisCalls
from tracker.resp import RedisError, pack_command
from tracker.snapshot import HISTORY_SIZE, SnapshotHead, UnusableSnapshot
from tracker.snapshot_folder import SnapshotFolder, SnapshotPlace
from tracker.snapshot_writer import KeptSnapshot
from tracker.wire import StreamPoint, history_name, stream_name, trimmed_name, unpack_points

_BEGINNING: Final = StreamPoint("0-0", 0)


class Found(NamedTuple):
    """A snapshot whose head fits the stream."""

    folder: SnapshotFolder
    path: Path
    head: SnapshotHead


class StreamState(NamedTuple):
    """What Redis says of a stream.

    Its random word (empty: none yet), the point before which it was trimmed, and its last id.
    """

    history: bytes
    trimmed: StreamPoint
    last: tuple[int, int]


class SnapshotSearch:
    """Looks for usable snapshots; one that is not is passed over with one line in the log."""

    def __init__(self, place: SnapshotPlace | None, log: Log) -> None:
        """Without a place nothing is found."""
        self.lost_at = 0
        """Microseconds of the newest snapshot whose stream is gone; 0: none was met."""
        self._place = place
        self._log = log
        self._passed: set[tuple[str, SnapshotHead | None]] = set()

    def find(self, layout: int, shard: int, state: StreamState) -> Found | None:
        """The newest snapshot of a shard from which its stream goes on without a gap."""
        if self._place is None:
            return None
        folder = SnapshotFolder(self._place, layout, shard)
        found: list[Found] = []
        for path in (folder.newest, folder.previous):
            try:
                head = folder.head(path)
            except FileNotFoundError:
                continue
            except UnusableSnapshot as fault:
                self.pass_over(path, None, str(fault))
                continue
            except OSError as fault:
                self.pass_over(path, None, (fault.strerror or "it cannot be read").lower())
                continue
            if (path.name, head) in self._passed:
                continue
            order = (head.epoch, head.number)
            if head.history != state.history or (head.number and order > state.last):
                self.pass_over(path, head, "its stream is another one")
                self.lost_at = max(self.lost_at, head.at)
                # Its ids may come again with other records, so it must not be met then.
                with contextlib.suppress(OSError):
                    path.unlink()
            elif order < state.trimmed.order:
                self.pass_over(path, head, "it is too old for what the stream still holds")
            else:
                found.append(Found(folder, path, head))
        return max(found, key=lambda one: (one.head.epoch, one.head.number), default=None)

    def load(self, found: Found, take: Callable[[bytes], int]) -> SnapshotHead | None:
        """Give all chunks to `take`; None where it fails, and what was taken in is worth nothing.

        The answer is the head of what was read: a running tracker may have written a newer one.
        """
        try:
            return found.folder.load(found.path, take)
        except UnusableSnapshot as fault:
            why = str(fault)
        except OSError as fault:
            why = (fault.strerror or "it cannot be read").lower()
        self.pass_over(found.path, found.head, why)
        return None

    @staticmethod
    def kept(found: Found, head: SnapshotHead) -> KeptSnapshot:
        """What the writer must know of the one that was loaded."""
        return KeptSnapshot(head, is_newest=found.path == found.folder.newest)

    def pass_over(self, path: Path, head: SnapshotHead | None, why: str) -> None:
        """Say once why a file is not used, and do not come back to it."""
        if (path.name, head) not in self._passed:
            self._passed.add((path.name, head))
            self._log("snapshot.passed_over", file=path.name, why=why)


def stream_state(calls: RedisCalls, layout: int, shard: int) -> StreamState:
    """Ask Redis for the state of a stream. Raises RedisError, OSError."""
    history = calls.call(pack_command("GET", history_name(layout, shard)))
    return StreamState(
        history=history if isinstance(history, bytes) else b"",
        trimmed=trimmed_point(calls, layout, shard),
        last=_last_id(calls, stream_name(layout, shard)),
    )


def trimmed_point(calls: RedisCalls, layout: int, shard: int) -> StreamPoint:
    """Before which point a stream was trimmed. Raises RedisError, OSError."""
    reply = calls.call(pack_command("GET", trimmed_name(layout, shard)))
    points = unpack_points(reply if isinstance(reply, bytes) else None)
    return points[0] if points else _BEGINNING


def name_history(calls: RedisCalls, layout: int, shard: int) -> None:
    """Give a stream its random word where it has none yet. Raises RedisError, OSError."""
    word = secrets.token_bytes(HISTORY_SIZE)
    calls.call(pack_command("SET", history_name(layout, shard), word, "NX"))


def _last_id(calls: RedisCalls, stream: str) -> tuple[int, int]:
    try:
        reply = calls.call(pack_command("XINFO", "STREAM", stream))
    except RedisError as fault:
        if "no such key" in fault.text:
            return 0, 0
        raise
    if isinstance(reply, list):
        for name, value in zip(reply[::2], reply[1::2], strict=False):
            if name == b"last-generated-id" and isinstance(value, bytes):
                return StreamPoint(value.decode("ascii"), 0).order
    raise RedisError("the state of the event stream cannot be read")
