"""Several shards on one set of ports for tests, each a tracker in a thread of its own."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.listening import open_shard_link
from ops.steering import steer
from tests.tracker.running_tracker import (
    CONNECTION_KEY,
    DEADLINE,
    KID,
    PASSKEY_KEY,
    bind_both,
    body_of,
    escape,
    eventually,
    general_key,
    request,
)
from tracker import wire
from tracker.forwarding import ShardPlace
from tracker.rules import Rules
from tracker.service import TrackerConfig, TrackerService
from tracker.shard import ShardNumbers
from tracker.shard_map import owner_of


def hash_of(shard: int, number: int) -> bytes:
    """A canonical hash that belongs to this shard where there are two."""
    made = bytes((number, 0, 0, shard)) + number.to_bytes(16, "big")
    assert owner_of(made, 2) == shard
    return made


def entry(number: int, shard: int, *, alias: bytes = wire.NO_HASH) -> wire.TorrentEntry:
    """An accepted torrent of this shard, where there are two."""
    return wire.TorrentEntry(number, 1, hash_of(shard, number), alias, wire.TORRENT_ACCEPTED)


class RunningShard:
    """One shard in a thread; `stop` is an orderly end, `serve` starts a process anew."""

    def __init__(
        self, redis_url: str, place: ShardPlace, sockets: Sequence[Sequence[socket.socket]]
    ) -> None:
        """`sockets`: those for HTTP, for UDP, and the link for other shards."""
        self.redis_url = redis_url
        self.place = place
        self.sockets = sockets
        self.events: list[tuple[str, dict[str, object]]] = []
        self.failures: list[BaseException] = []
        self.stop_flag = threading.Event()
        self.ready, self.prepared = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._serve, name=f"shard-{place.shard}")
        self.thread.start()

    def _serve(self) -> None:
        http, udp, links = self.sockets
        config = TrackerConfig(
            redis_url=self.redis_url,
            passkey_keys={KID: PASSKEY_KEY},
            connection_id_keys={1: CONNECTION_KEY},
            place=self.place,
            numbers=ShardNumbers(rules=Rules(announces_per_minute=0)),
            own_process=False,
        )
        self.service = TrackerService(config, http, udp, log=self._log, links=links)
        try:
            self.service.run(self.stop_flag, self.ready.set, self.prepared.set)
        except BaseException as fault:
            self.failures.append(fault)
        finally:
            self.ready.set()

    def _log(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    def heard(self, event: str) -> bool:
        return any(name == event for name, _ in self.events)

    def serves(self) -> None:
        assert self.ready.wait(DEADLINE), self.events
        eventually(lambda: self.heard("access.loaded"), "no access feed")

    def stop(self) -> None:
        self.stop_flag.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive(), "the shard does not stop"
        assert not self.failures, self.failures


class RunningShards:
    """All shards of one layout, and the sockets they share as under `trackarr up`."""

    def __init__(self, redis_url: str, shards: int, folder: Path, *, steered: bool) -> None:
        self.redis_url = redis_url
        self.shards = shards
        self.folder = folder
        self.http = bind_both()
        for listener in self.http:
            listener.listen(64)
        self.own_http = [socket.create_server(("127.0.0.1", 0)) for _ in range(shards)]
        """A port of each shard's own, to choose who accepts."""
        self.udp = _udp_group(shards, steered=steered)
        self.links = [
            [open_shard_link(folder, shard)] if shards > 1 else [] for shard in range(shards)
        ]
        self.port = self.http[0].getsockname()[1]
        self.udp_port = self.udp[0].getsockname()[1]
        self.running = [self.start(shard) for shard in range(shards)]

    def start(self, shard: int) -> RunningShard:
        """A process of this shard, beside one that may run already."""
        place = ShardPlace(shard, self.shards, self.folder)
        return RunningShard(
            self.redis_url,
            place,
            ((*self.http, self.own_http[shard]), [self.udp[shard]], self.links[shard]),
        )

    def announce(
        self, account: int, info_hash: bytes, *, at: int | None = None, **more: object
    ) -> dict[bytes, Any]:
        """Announce over HTTP on a fresh connection, which the shard `at` takes, or any."""
        port = self.port if at is None else self.own_http[at].getsockname()[1]
        return body_of(request(port, announce_target(account, info_hash, **more)))

    def health(self, shard: int) -> dict[str, Any]:
        response = request(self.own_http[shard].getsockname()[1], "/health")
        fields: dict[str, Any] = json.loads(response.partition(b"\r\n\r\n")[2])
        return fields

    def counted(self, name: str) -> int:
        """A counter, summed over the shards."""
        return sum(int(getattr(shard.service.counters, name)) for shard in self.running)

    def close(self) -> None:
        try:
            for shard in self.running:
                shard.stop()
        finally:
            links = [link for links in self.links for link in links]
            for one in (*self.http, *self.own_http, *self.udp, *links):
                one.close()


def announce_target(account: int, info_hash: bytes, **more: object) -> str:
    query: dict[str, object] = {
        "info_hash": escape(info_hash),
        "peer_id": f"-XX0100-{account:012}",
        "port": 5000 + account,
        "uploaded": 0,
        "downloaded": 0,
        "left": 0,
        "compact": 1,
    }
    query.update(more)
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/announce/{general_key(account)}?{words}"


def _udp_group(shards: int, *, steered: bool) -> list[socket.socket]:
    while True:
        group = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(shards)]
        for one in group:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        group[0].bind(("127.0.0.1", 0))
        for one in group[1:]:
            one.bind(group[0].getsockname())
        if shards > 1 and steered:
            assert steer(group[0], shards)
        return group


@contextmanager
def running_shards(
    redis_url: str, shards: int = 2, *, steered: bool = True
) -> Iterator[RunningShards]:
    """Run all shards of a layout until the block ends; a failure of one fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        started = RunningShards(redis_url, shards, Path(folder), steered=steered)
        try:
            for shard in started.running:
                shard.serves()
            yield started
        finally:
            started.close()
