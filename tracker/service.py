"""The tracker as a service: take the shard over, rebuild its swarms, serve until told to stop."""

from __future__ import annotations

import gc
import resource
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tracker.clock import ShardClock
from tracker.connection_ids import ConnectionIds
from tracker.counters import Counters
from tracker.event_stream import Log
from tracker.forwarding import ShardPlace
from tracker.lease import process_mark
from tracker.protocol.passkeys import PasskeyCheck
from tracker.proxies import TrustedProxies
from tracker.resp import parse_redis_url
from tracker.restore import SnapshotSearch
from tracker.rules import SEATS_LIMIT
from tracker.shard import Shard, ShardNumbers
from tracker.snapshot_folder import SnapshotPlace
from tracker.start import ShardStart
from tracker.stop import StopFlag

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
    metrics_token: bytes | None = field(default=None, repr=False)
    """What /metrics asks for; without one only this machine and trusted proxies may read it."""
    place: ShardPlace = field(default_factory=ShardPlace)
    numbers: ShardNumbers = field(default_factory=ShardNumbers)
    snapshots: SnapshotPlace | None = None
    """Without one, a start reads the whole stream, which then keeps a peer's life of records."""
    own_process: bool = True
    """Whether collector and limits of this process may be set for a tracker."""

    def __post_init__(self) -> None:
        if not 1 <= self.numbers.rules.seats <= SEATS_LIMIT:
            raise ValueError(f"seats must be 1 to {SEATS_LIMIT}")
        parse_redis_url(self.redis_url)
        TrustedProxies(self.numbers.trusted_proxies)


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
        self.counters = Counters()

    def run(
        self,
        stop: StopFlag,
        ready: Callable[[], None],
        prepared: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve until `stop` is set; `ready` is called once announces are accepted.

        `prepared` is called when all is loaded and only the process before us is in the way.
        Raises ShardLost when another process has taken the shard over, UnknownLayout when its
        stream is from another version.
        """
        config = self._config
        life = config.numbers.rules.peer_life
        start = ShardStart(
            self._redis,
            config.place,
            peer_life=life,
            mark=process_mark(),
            search=SnapshotSearch(config.snapshots, self._log),
            allow_weak=config.numbers.allow_weak_redis,
            log=self._log,
        )
        if config.own_process:
            # A start makes millions of objects and no cycles: a collector would only look at them.
            gc.disable()
        started = start.run(stop, prepared)
        if started is None:
            return
        self._log(
            "tracker.started",
            layout=started.identity.layout,
            shard=config.place.shard,
            epoch=started.identity.epoch,
            peers=started.swarms.peers,
        )
        if self._config.own_process:
            _tune_process(self._config.numbers.limits.connections)
        shard = Shard(
            numbers=self._config.numbers,
            place=self._config.place,
            redis=self._redis,
            started=started,
            snapshots=self._config.snapshots,
            clock=ShardClock(started.last_at).now,
            passkeys=PasskeyCheck(self._config.passkey_keys),
            connection_ids=ConnectionIds(self._config.connection_id_keys, time.time),
            metrics_token=self._config.metrics_token,
            counters=self.counters,
            log=self._log,
        )
        try:
            shard.run(stop, ready, self._sockets, self._udp_sockets, self._links)
        finally:
            shard.close()


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
    gc.enable()
