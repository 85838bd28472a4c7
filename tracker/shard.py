"""A started shard: every part wired to one loop, run until told to stop."""

from __future__ import annotations

import math
import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tracker.access import AccessFeed
from tracker.connection_ids import ConnectionIds
from tracker.counters import Counters
from tracker.event_loop import EventLoop
from tracker.event_stream import EventStream, Log
from tracker.forward_server import ForwardServer
from tracker.forwarding import Forwarder, ShardPlace
from tracker.http_pages import HttpPages
from tracker.http_server import HttpLimits, HttpServer
from tracker.logic import Logic
from tracker.metrics import MetricsAccess, MetricsPage, TrackerMetrics
from tracker.protocol.passkeys import PasskeyCheck
from tracker.proxies import TrustedProxies
from tracker.redis_link import RedisLink
from tracker.redis_watch import RedisWatch
from tracker.resp import RedisAddress, Reply
from tracker.rules import Rules
from tracker.scrapes import Scrapes
from tracker.snapshot_folder import SnapshotFolder, SnapshotPlace
from tracker.snapshot_writer import SnapshotWriter
from tracker.start import StartedShard
from tracker.stop import StopFlag
from tracker.udp_server import UdpServer

_SILENCE_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 3.0
_FIRST_REPLIES_SECONDS: Final = 1.0


@dataclass(frozen=True)
class ShardNumbers:
    """Limits of one shard; seconds, connections, answers (design, section 5)."""

    rules: Rules = field(default_factory=Rules)
    limits: HttpLimits = field(default_factory=HttpLimits)
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and ranges (CIDR) whose X-Forwarded-For is believed."""
    pending_answers: int = 8192
    pending_seconds: float = 2.0
    allow_weak_redis: bool = False
    """Whether a Redis may be used that can lose what it acknowledged."""


class Shard:
    """Announces, their stream, the access feed and the lease of one shard."""

    def __init__(
        self,
        *,
        numbers: ShardNumbers,
        place: ShardPlace,
        redis: RedisAddress,
        started: StartedShard,
        snapshots: SnapshotPlace | None,
        clock: Callable[[], int],
        passkeys: PasskeyCheck,
        connection_ids: ConnectionIds,
        metrics_token: bytes | None,
        counters: Counters,
        log: Log,
    ) -> None:
        self._started = started
        self._swarms = swarms = started.swarms
        self._counters = counters
        self._lease = started.lease
        self._clock = clock
        self._log = log
        self._loop = loop = EventLoop()
        self._access = AccessFeed(loop, numbers.rules, log)
        if started.access is not None:
            self._access.adopt(started.access)
        self._stream = EventStream(
            loop,
            stream=started.stream,
            epoch=started.identity.epoch,
            pending_answers=numbers.pending_answers,
            pending_seconds=numbers.pending_seconds,
            counters=counters,
            log=log,
        )
        self._logic = Logic(
            access=self._access,
            swarms=swarms,
            sink=self._stream,
            passkeys=passkeys,
            clock=clock,
            random=random.random,
            counters=counters,
        )
        self._place = place
        self._forwarder: Forwarder | None = None
        if place.shards > 1:
            self._forwarder = Forwarder(
                loop,
                place,
                canonical=self._canonical,
                pending=numbers.pending_answers,
                seconds=numbers.pending_seconds,
                counters=counters,
                log=log,
            )
        scrapes = Scrapes(
            access=self._access,
            swarms=swarms,
            passkeys=passkeys,
            clock=clock,
            forwarder=self._forwarder,
            shard=place.shard,
        )
        metrics = TrackerMetrics(counters, self._gauges, place.shard)
        self._forwarded = ForwardServer(
            loop,
            logic=self._logic,
            stream=self._stream,
            scrapes=scrapes,
            metrics=metrics.render,
            owns=self._owns,
            counters=counters,
            log=log,
        )
        proxies = TrustedProxies(numbers.trusted_proxies)
        self._http = HttpServer(
            loop,
            logic=self._logic,
            stream=self._stream,
            limits=numbers.limits,
            counters=counters,
            pages=HttpPages(
                scrapes=scrapes,
                health=self.health,
                metrics=MetricsPage(metrics, self._forwarder),
                metrics_access=MetricsAccess(proxies, metrics_token),
                rules=lambda: self._access.rules,
                counters=counters,
            ),
            proxies=proxies,
            forwarder=self._forwarder,
        )
        self._udp = UdpServer(
            loop,
            logic=self._logic,
            stream=self._stream,
            ids=connection_ids,
            counters=counters,
            scrapes=scrapes,
            forwarder=self._forwarder,
        )
        # What was gathered in a round leaves after its requests, also the pipelined ones.
        loop.after_round(self._stream.flush)
        self._stream_link = self._link(redis, self._stream_up, self._stream_down)
        self._watch = RedisWatch(
            loop, self._stream_link, self._stream, allow_weak=numbers.allow_weak_redis, log=log
        )
        self._access_link = self._link(redis, self._access.link_up, self._access_down)
        self._stream.attach(self._stream_link)
        self._access.attach(self._access_link)
        self._lease.renew_on(loop, self._stream_link)
        self._snapshots: SnapshotWriter | None = None
        if snapshots is not None:
            identity = started.identity
            self._snapshots = SnapshotWriter(
                loop,
                folder=SnapshotFolder(snapshots, identity.layout, identity.shard),
                identity=identity,
                swarms=swarms,
                stream=self._stream,
                link=self._stream_link,
                clock=clock,
                kept=started.kept,
                seconds=snapshots.seconds,
                log=log,
            )
        loop.on_tick(self._tick)

    def run(
        self,
        stop: StopFlag,
        ready: Callable[[], None],
        sockets: Sequence[socket.socket],
        udp_sockets: Sequence[socket.socket],
        links: Sequence[socket.socket] = (),
    ) -> None:
        """Serve until `stop` is set, then finish what was begun. Raises ShardLost."""
        loop = self._loop
        # Without the access feed, or Redis, every announce would be told to come again; give them
        # a moment.
        limit = time.monotonic() + _FIRST_REPLIES_SECONDS
        while not (self._is_complete or stop.is_set()) and time.monotonic() < limit:
            loop.run_round()
        self._http.listen(sockets)
        self._udp.listen(udp_sockets)
        for link in links:
            self._forwarded.listen(link)
        ready()
        while not stop.is_set():
            loop.run_round()
        self._finish()

    def close(self) -> None:
        """Refuse what still waits and give every descriptor back."""
        self._http.stop_listening()
        self._udp.stop_listening()
        if self._snapshots is not None:
            self._snapshots.close()
        self._stream.close()
        self._stream.refuse_held()
        self._http.close()
        self._forwarded.close()
        if self._forwarder is not None:
            self._forwarder.close()
        self._stream_link.close()
        self._access_link.close()
        self._loop.close()

    def health(self) -> dict[str, object]:
        """The fields of /health: state of Redis and the access feed, sizes and counts."""
        redis = self._stream_link.up and self._stream.accepting
        return {
            "ok": redis and self._access.loaded,
            "redis": redis,
            "redisMemory": self._watch.memory_percent,
            "access": self._access.loaded,
            "accessSeq": self._access.seq,
            "shard": self._place.shard,
            "shards": self._place.shards,
            "layout": self._started.identity.layout,
            "epoch": self._started.identity.epoch,
            "peers": self._swarms.peers,
            "peersMissing": self._clock() < self._started.missing_until,
            "snapshotAge": self._snapshots.age if self._snapshots is not None else None,
            "swarms": len(self._swarms.by_torrent),
            "connections": self._http.open,
            "waiting": self._stream.waiting,
            "forwarding": self._forwarder.waiting if self._forwarder is not None else 0,
            "counters": self._counters.as_fields(),
        }

    def _gauges(self) -> dict[str, tuple[float, str]]:
        """Values of the moment for the metrics, each with its meaning."""
        redis = self._stream_link.up and self._stream.accepting
        forwarding = self._forwarder.waiting if self._forwarder is not None else 0
        memory = self._watch.memory_percent
        age = self._snapshots.age if self._snapshots is not None else None
        return {
            "redis_memory_percent": (_known(memory), "Redis memory used of what it may use."),
            "snapshot_age_seconds": (_known(age), "Time since the swarms were last kept."),
            "peers": (self._swarms.peers, "Peers in all swarms."),
            "swarms": (len(self._swarms.by_torrent), "Torrents with peers."),
            "open_connections": (self._http.open, "Connections open now."),
            "answers_waiting": (self._stream.waiting, "Announces whose record is on its way."),
            "forwarding": (forwarding, "Requests other shards have not answered yet."),
            "redis_up": (redis, "Whether records can be written to Redis."),
            "redis_lag_seconds": (self._stream.lag, "Age of the oldest unacknowledged record."),
            "access_loaded": (self._access.loaded, "Whether members and torrents are known."),
            "access_seq": (self._access.seq, "Change of the access feed known last."),
            "access_age_seconds": (self._access.age, "Time since the access feed was heard."),
        }

    def _link(
        self,
        redis: RedisAddress,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
    ) -> RedisLink:
        return RedisLink(self._loop, redis, silence=_SILENCE_SECONDS, on_up=on_up, on_down=on_down)

    def _stream_up(self) -> None:
        self._watch.link_up()
        self._stream.link_up()

    def _stream_down(self, reason: str) -> None:
        self._log("redis.lost", link="stream", reason=reason)
        self._stream.link_down()
        self._lease.link_down()

    def _access_down(self, reason: str) -> None:
        self._log("redis.lost", link="access", reason=reason)
        self._access.link_down()

    def _canonical(self, info_hash: bytes) -> bytes | None:
        torrent = self._access.table.torrent(info_hash)
        return torrent.canonical if torrent is not None else None

    def _owns(self, info_hash: bytes) -> bool:
        return self._forwarder is None or self._forwarder.owner(info_hash) == self._place.shard

    def _tick(self, _now: float) -> None:
        self._logic.expire()

    def _finish(self) -> None:
        """Answer what was taken, then give the lease back."""
        self._http.stop_listening()
        self._udp.stop_listening()
        self._forwarded.stop_listening()
        limit = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < limit and not self._answered:
            self._loop.run_round()
        released: list[Reply] = []
        if self._lease.release(released.append):
            while not released and time.monotonic() < limit and self._stream_link.up:
                self._loop.run_round()
        if self._snapshots is not None:
            # Only now: who waits for the lease goes on at once, and needs no snapshot.
            self._stream.close()
            self._snapshots.finish()
        self._log("tracker.stopped", settled=self._stream.settled)

    @property
    def _is_complete(self) -> bool:
        return self._access.loaded and self._stream_link.up

    @property
    def _answered(self) -> bool:
        """Whether everything taken is written and told."""
        forwarded = self._forwarder is None or self._forwarder.idle
        return (
            self._stream.settled and not self._http.open and forwarded and self._forwarded.flushed
        )


def _known(value: int | None) -> float:
    """NaN where there is nothing to tell yet, as Prometheus writes it."""
    return math.nan if value is None else value
