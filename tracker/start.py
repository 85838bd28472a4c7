"""The start of a shard: settle the layout, rebuild the swarms, take the lease over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tracker.event_stream import Log
from tracker.forwarding import ShardPlace
from tracker.layouts import Layout, OwnedTorrents, settle_layouts
from tracker.lease import ShardLease
from tracker.redis_link import RedisCalls
from tracker.resp import RedisAddress, RedisError
from tracker.stop import StopFlag
from tracker.swarms import Swarms
from tracker.tail import TailReader
from tracker.wire import stream_name

_PAUSE: Final = 0.1
_FOLLOW_PAUSE: Final = 0.02
_TIMEOUT: Final = 5.0


class StartedShard(NamedTuple):
    """What a start found: our stream and lease with its epoch, the last record's time, swarms."""

    layout: int
    stream: str
    lease: ShardLease
    epoch: int
    last_at: int
    swarms: Swarms


class ShardStart:
    """Waits for Redis and for the holder before us, reading along what that one writes.

    So when the lease is free there is next to nothing left to read, and a hand-over from one
    process to the next takes a moment only.
    """

    def __init__(
        self, redis: RedisAddress, place: ShardPlace, *, peer_life: int, mark: str, log: Log
    ) -> None:
        """`mark` names this process; `peer_life` in seconds."""
        self._redis = redis
        self._place = place
        self._peer_life = peer_life
        self._mark = mark
        self._log = log
        self._said = ""

    def run(self, stop: StopFlag, prepared: Callable[[], None]) -> StartedShard | None:
        """The shard, ours; None when told to stop. `prepared` is called when only the lease is
        missing, which another process still holds. Raises UnknownLayout.
        """
        while not stop.is_set():
            try:
                with RedisCalls(self._redis, _TIMEOUT) as calls:
                    layouts = settle_layouts(calls, self._place.shards, self._mark)
                    if layouts is None:
                        self._say("a tracker with another number of shards still runs")
                    else:
                        started = self._take_over(calls, layouts, stop, prepared)
                        if started is not None:
                            return started
            except RedisError as fault:
                self._say(fault.text)
            except OSError:
                self._say("Redis cannot be reached")
            time.sleep(_PAUSE)
        return None

    def _say(self, why: str) -> None:
        if why != self._said:
            self._said = why
            self._log("tracker.waiting", why=why, redis=self._redis.place)

    def _take_over(
        self,
        calls: RedisCalls,
        layouts: Sequence[Layout],
        stop: StopFlag,
        prepared: Callable[[], None],
    ) -> StartedShard | None:
        """None where the lease was lost while reading, or a stop was asked for."""
        layout, shard = layouts[-1].number, self._place.shard
        swarms = Swarms(self._peer_life)
        inherited_at = self._inherit(calls, layouts[:-1], swarms, stop)
        stream = stream_name(layout, shard)
        tail = TailReader(stream, swarms)
        lease = ShardLease(layout, shard, self._mark)
        tail.read(calls, stop.is_set)
        told = False
        while (epoch := lease.take(calls)) is None:
            if stop.is_set():
                return None
            self._say("another process holds the shard")
            if not told:
                told = True
                prepared()
            time.sleep(_FOLLOW_PAUSE)
            tail.read(calls, stop.is_set)
        lease.fence(calls, stream, epoch)
        lost = False

        def interrupted() -> bool:
            # Reading an hour of a busy shard outlasts the lease: whoever waits for it would take
            # the shard over, and lose it the same way.
            nonlocal lost
            lost = lost or not lease.keep(calls, time.monotonic())
            return lost or stop.is_set()

        tail.read(calls, interrupted)
        if lost:
            self._say("another process holds the shard")
            return None
        last_at = max(inherited_at, tail.last_at)
        return StartedShard(layout, stream, lease, epoch, last_at, swarms)

    def _inherit(
        self, calls: RedisCalls, older: Sequence[Layout], swarms: Swarms, stop: StopFlag
    ) -> int:
        """Take in what the streams of older layouts still hold of our torrents.

        Gives the time of their newest record, 0 where there is none.
        """
        last_at = 0
        owned = OwnedTorrents(calls, self._place.shard, self._place.shards)
        for layout in older:
            for shard in range(layout.shards):
                stream = stream_name(layout.number, shard)
                tail = TailReader(stream, swarms, owns=owned.owns)
                tail.read(calls, stop.is_set)
                last_at = max(last_at, tail.last_at)
        return last_at
