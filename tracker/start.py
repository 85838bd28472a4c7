"""The start of a shard: settle the layout, rebuild the swarms, take the lease over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tracker.access_load import LoadedAccess, load_access
from tracker.event_stream import Log
from tracker.forwarding import ShardPlace
from tracker.layouts import Layout, known_layouts, settle_layouts
from tracker.lease import ShardLease
from tracker.rebuild import ShardRebuild
from tracker.redis_link import RedisCalls
from tracker.redis_watch import weak_settings
from tracker.resp import RedisAddress, RedisError
from tracker.restore import SnapshotSearch
from tracker.snapshot_writer import KeptSnapshot, ShardIdentity
from tracker.stop import StopFlag
from tracker.swarms import Swarms
from tracker.wire import stream_name

_PAUSE: Final = 0.1
_FOLLOW_PAUSE: Final = 0.02
_STAND_BY_PAUSE: Final = 0.25
_HAND_OVER_SECONDS: Final = 30.0
_TIMEOUT: Final = 5.0


class StartedShard(NamedTuple):
    """What a start found: our stream and lease with its epoch, the last time known, swarms.

    `kept` is the snapshot that was loaded; `missing_until` tells up to which shard time
    (microseconds) peers may be missing, 0 where none are. `access` is None while none is published.
    """

    identity: ShardIdentity
    stream: str
    lease: ShardLease
    last_at: int
    swarms: Swarms
    kept: KeptSnapshot | None
    missing_until: int
    access: LoadedAccess | None


class ShardStart:
    """Waits for Redis and for the holder before us, reading along what that one writes.

    So when the lease is free there is next to nothing left to read, and a hand-over from one
    process to the next takes a moment only.
    """

    def __init__(
        self,
        redis: RedisAddress,
        place: ShardPlace,
        *,
        peer_life: int,
        mark: str,
        search: SnapshotSearch,
        allow_weak: bool,
        log: Log,
    ) -> None:
        """`mark` names this process; `peer_life` in seconds."""
        self._redis = redis
        self._place = place
        self._peer_life = peer_life
        self._mark = mark
        self._allow_weak = allow_weak
        self._search = search
        self._log = log
        self._said = ""

    def run(self, stop: StopFlag, prepared: Callable[[], None]) -> StartedShard | None:
        """The shard, ours; None when told to stop. `prepared` is called when only the lease is
        missing, which another process still holds. Raises UnknownLayout.
        """
        while not stop.is_set():
            try:
                with RedisCalls(self._redis, _TIMEOUT) as calls:
                    weak = [] if self._allow_weak else weak_settings(calls)
                    if weak:
                        self._say(f"Redis may lose acknowledged announces: {', '.join(weak)}")
                        time.sleep(_PAUSE)
                        continue
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
        rebuild = ShardRebuild(
            calls,
            layouts,
            self._place,
            peer_life=self._peer_life,
            search=self._search,
            log=self._log,
        )
        if not rebuild.run(stop.is_set):
            return None
        began = time.monotonic()
        access = load_access(calls)
        self._log("access.read", seconds=round(time.monotonic() - began, 3))
        lease = ShardLease(layout, shard, self._mark)
        told = False
        while (epoch := lease.take(calls)) is None:
            if stop.is_set():
                return None
            self._say("another process holds the shard")
            if not told:
                told = True
                prepared()
            # A hand-over takes a moment, a stand-by may wait for days.
            waited = time.monotonic() - began
            time.sleep(_FOLLOW_PAUSE if waited < _HAND_OVER_SECONDS else _STAND_BY_PAUSE)
            rebuild.follow(stop.is_set)
        if known_layouts(calls)[-1:] != [layouts[-1]]:
            # Made by another while we waited: this layout's streams are closed for ever.
            lease.give_back(calls)
            return None
        stream = stream_name(layout, shard)
        lease.fence(calls, stream, epoch)
        lost = False

        def interrupted() -> bool:
            # Reading an hour of a busy shard outlasts the lease: whoever waits for it would take
            # the shard over, and lose it the same way.
            nonlocal lost
            lost = lost or not lease.keep(calls, time.monotonic())
            return lost or stop.is_set()

        rebuild.follow(interrupted)
        if lost:
            self._say("another process holds the shard")
            return None
        return StartedShard(
            identity=ShardIdentity(layout, shard, rebuild.history, epoch),
            stream=stream,
            lease=lease,
            last_at=rebuild.last_at,
            swarms=rebuild.swarms,
            kept=rebuild.kept,
            missing_until=rebuild.missing_until,
            access=access,
        )
