"""The tracker as a service: take the shard over, rebuild its swarms, serve until told to stop."""

from __future__ import annotations

import gc
import resource
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracker.clock import ShardClock
from tracker.connection_ids import ConnectionIds
from tracker.counters import Counters
from tracker.event_stream import Log
from tracker.forwarding import ShardPlace
from tracker.lease import ShardLease, process_mark
from tracker.protocol.passkeys import PasskeyCheck
from tracker.redis_link import RedisCalls
from tracker.resp import RedisError, parse_redis_url
from tracker.rules import SEATS_LIMIT
from tracker.shard import Shard, ShardNumbers, StopFlag
from tracker.swarms import Swarms
from tracker.tail import read_tail
from tracker.wire import stream_name

_START_PAUSE: Final = 0.1
_START_TIMEOUT: Final = 5.0
_GC_THRESHOLD: Final = 100_000
_SPARE_DESCRIPTORS: Final = 64


@dataclass(frozen=True)
class TrackerConfig:
    """What a shard needs to know: 32-byte keys by their ids, numbers, its place.

    Raises ValueError for a number out of bounds or a Redis URL it cannot use.
    """

    redis_url: str = field(repr=False)
    passkey_keys: Mapping[int, bytes] = field(repr=False)
    connection_id_keys: Mapping[int, bytes] = field(repr=False)
    layout: int = 1
    place: ShardPlace = field(default_factory=ShardPlace)
    numbers: ShardNumbers = field(default_factory=ShardNumbers)
    own_process: bool = True
    """Whether collector and limits of this process may be set for a tracker."""

    def __post_init__(self) -> None:
        if not 1 <= self.numbers.rules.seats <= SEATS_LIMIT:
            raise ValueError(f"seats must be 1 to {SEATS_LIMIT}")
        parse_redis_url(self.redis_url)


class _Start(NamedTuple):
    """What a start found: the epoch of our lease, the last record's time, the swarms."""

    epoch: int
    last: int
    swarms: Swarms


class TrackerService:
    """Runs in the calling thread until told to stop."""

    def __init__(
        self,
        config: TrackerConfig,
        sockets: Sequence[socket.socket],
        udp_sockets: Sequence[socket.socket],
        *,
        log: Log,
        links: Sequence[socket.socket] = (),
    ) -> None:
        """`sockets` are bound TCP sockets, `links` listening unix sockets for other shards.

        All sockets stay open for their owner.
        """
        self._links = links
        self._config = config
        self._sockets = sockets
        self._udp_sockets = udp_sockets
        self._log = log
        self._redis = parse_redis_url(config.redis_url)
        self._stream = stream_name(config.layout, config.place.shard)
        self._lease = ShardLease(config.layout, config.place.shard, process_mark())
        self.counters = Counters()

    def run(self, stop: StopFlag, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set; `ready` is called once announces are accepted.

        Raises ShardLost when another process has taken the shard over, UnknownLayout when its
        stream is from another version.
        """
        start = self._start(stop)
        if start is None:
            return
        self._log("tracker.started", epoch=start.epoch, peers=start.swarms.peers)
        if self._config.own_process:
            _tune_process(self._config.numbers.limits.connections)
        shard = Shard(
            numbers=self._config.numbers,
            place=self._config.place,
            redis=self._redis,
            stream=self._stream,
            epoch=start.epoch,
            lease=self._lease,
            swarms=start.swarms,
            clock=ShardClock(start.last).now,
            passkeys=PasskeyCheck(self._config.passkey_keys),
            connection_ids=ConnectionIds(self._config.connection_id_keys, time.time),
            counters=self.counters,
            log=self._log,
        )
        try:
            shard.run(stop, ready, self._sockets, self._udp_sockets, self._links)
        finally:
            shard.close()

    def _start(self, stop: StopFlag) -> _Start | None:
        """Take the lease and read the stream; waits for Redis and for the holder before us."""
        said = ""
        while not stop.is_set():
            try:
                with RedisCalls(self._redis, _START_TIMEOUT) as calls:
                    start = self._take_over(calls, stop)
                    if start is not None:
                        return start
                why = "another process holds the shard"
            except RedisError as fault:
                why = fault.text
            except OSError:
                why = "Redis cannot be reached"
            if why != said:
                said = why
                self._log("tracker.waiting", why=why, redis=self._redis.place)
            time.sleep(_START_PAUSE)
        return None

    def _take_over(self, calls: RedisCalls, stop: StopFlag) -> _Start | None:
        """None while another process holds the shard, or took it from us."""
        epoch = self._lease.take(calls)
        if epoch is None:
            return None
        self._lease.fence(calls, self._stream, epoch)
        swarms = Swarms(self._config.numbers.rules.peer_life)
        lost = False

        def interrupted() -> bool:
            # Reading an hour of a busy shard outlasts the lease: whoever waits for it would take
            # the shard over, and lose it the same way.
            nonlocal lost
            lost = lost or not self._lease.keep(calls, time.monotonic())
            return lost or stop.is_set()

        last = read_tail(calls, self._stream, swarms, interrupted)
        return None if lost else _Start(epoch, last, swarms)


def _tune_process(connections: int) -> None:
    """Let as many connections be open as we allow, and keep the collector out of the way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    # What is alive now stays: keep it out of every collection from here on. New objects make
    # no cycles, so rare collections are enough.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 50, 100)
