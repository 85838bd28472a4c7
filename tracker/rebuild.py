"""Rebuilds the swarms of a shard: the newest snapshot, then the stream's tail behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from tracker.event_stream import Log
from tracker.forwarding import ShardPlace
from tracker.layouts import Layout, OwnedTorrents
from tracker.redis_link import RedisCalls
from tracker.restore import (
    Found,
    SnapshotSearch,
    StreamState,
    name_history,
    stream_state,
    trimmed_point,
)
from tracker.snapshot import SnapshotHead
from tracker.snapshot_writer import KeptSnapshot
from tracker.swarms import Swarms
from tracker.tail import TailReader
from tracker.wire import StreamPoint, stream_name

_MICROSECONDS: Final = 1_000_000


class ShardRebuild:
    """The swarms of one shard as far as snapshots and streams still know them.

    `missing_until` is the shard's time in microseconds up to which peers may be missing because
    a snapshot was lost; 0 where nothing is. They come back with their next announce.
    """

    def __init__(
        self,
        calls: RedisCalls,
        layouts: Sequence[Layout],
        place: ShardPlace,
        *,
        peer_life: int,
        search: SnapshotSearch,
        log: Log,
    ) -> None:
        """`layouts`: all known ones, the last in force; `peer_life` in seconds."""
        self._calls = calls
        self._older = layouts[:-1]
        self._layout = layouts[-1].number
        self._place = place
        self._peer_life = peer_life
        self._search = search
        self._log = log
        self.swarms = Swarms(peer_life)
        self.tail = TailReader(stream_name(self._layout, place.shard), self.swarms)
        self.kept: KeptSnapshot | None = None
        self.history = b""
        self.missing_until = 0
        self._known_at = 0

    @property
    def last_at(self) -> int:
        """The shard's time as last known, microseconds."""
        return max(self._known_at, self.tail.last_at)

    def run(self, stopping: Callable[[], bool]) -> bool:
        """Read all there is; False where it must be begun again, or `stopping`.

        Raises UnknownLayout, RedisError, OSError.
        """
        layout, shard = self._layout, self._place.shard
        name_history(self._calls, layout, shard)
        state = stream_state(self._calls, layout, shard)
        self.history = state.history
        found = self._search.find(layout, shard, state)
        if found is None:
            if not self._inherit(stopping):
                return False
            self._note_missing(state)
        else:
            head = self._load(found)
            if head is None:
                return False
            self.kept = self._search.kept(found, head)
            self.tail = TailReader(stream_name(layout, shard), self.swarms, after=head.last_id)
        begin = max(StreamPoint(self.tail.last_id or "0-0", 0).order, state.trimmed.order)
        self.tail.read(self._calls, stopping)
        if trimmed_point(self._calls, layout, shard).order > begin:
            # The holder of the shard wrote two snapshots meanwhile, and a part of what we were
            # about to read is gone.
            self._log("tracker.reading_again", why="the stream was trimmed meanwhile")
            return False
        return not stopping()

    def follow(self, stopping: Callable[[], bool]) -> None:
        """Read what was written since. Raises UnknownLayout, RedisError, OSError."""
        self.tail.read(self._calls, stopping)

    def _load(self, found: Found, owns: Callable[[int], bool] | None = None) -> SnapshotHead | None:
        began = time.monotonic()
        now = found.head.at // _MICROSECONDS
        head = self._search.load(found, lambda chunk: self.swarms.load_chunk(chunk, now, owns))
        if head is not None:
            self._known_at = max(self._known_at, head.at)
            self._log(
                "snapshot.loaded",
                last_id=head.last_id,
                peers=self.swarms.peers,
                seconds=round(time.monotonic() - began, 3),
            )
        return head

    def _note_missing(self, state: StreamState) -> None:
        """A stream read without a snapshot lacks who announced before it was trimmed."""
        known = max(state.trimmed.at, self._search.lost_at)
        until = known + self._peer_life * _MICROSECONDS
        if known and until > max(time.time_ns() // 1_000, self.last_at):
            self.missing_until = until
            self._log("tracker.peers_missing", why="no snapshot fits the stream")

    def _inherit(self, stopping: Callable[[], bool]) -> bool:
        """Take in what snapshots and streams of older layouts still hold of our torrents.

        False where it must be begun again.
        """
        owned = OwnedTorrents(self._calls, self._place.shard, self._place.shards)
        for layout in self._older:
            states = [
                stream_state(self._calls, layout.number, shard) for shard in range(layout.shards)
            ]
            found = [
                self._search.find(layout.number, shard, state) for shard, state in enumerate(states)
            ]
            if all(found):
                # Each layout began with all of the one before it.
                self.swarms = Swarms(self._peer_life)
            elif self.swarms.by_torrent:
                found = [None] * layout.shards
            for shard, (snapshot, state) in enumerate(zip(found, states, strict=True)):
                after = ""
                if snapshot is None:
                    self._note_missing(state)
                else:
                    head = self._load(snapshot, owned.owns)
                    if head is None:
                        return False
                    after = head.last_id
                stream = stream_name(layout.number, shard)
                tail = TailReader(stream, self.swarms, after=after, owns=owned.owns)
                tail.read(self._calls, stopping)
                self._known_at = max(self._known_at, tail.last_at)
        self.tail = TailReader(stream_name(self._layout, self._place.shard), self.swarms)
        return True
