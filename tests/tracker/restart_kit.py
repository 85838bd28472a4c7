"""What restart tests share: tracker processes, swarms as data, rebuilding as a start does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tracker.run_tracker import SNAPSHOT_KEYS
from tests.tracker.running_tracker import (
    DEADLINE,
    announce_path,
    body_of,
    eventually,
    general_key,
    request,
)
from tracker import wire
from tracker.forwarding import ShardPlace
from tracker.layouts import Layout
from tracker.rebuild import ShardRebuild
from tracker.redis_link import RedisCalls
from tracker.resp import parse_redis_url
from tracker.restore import SnapshotSearch
from tracker.rules import Rules
from tracker.snapshot_folder import SnapshotFolder, SnapshotPlace
from tracker.swarms import Swarms
from tracker.tail import TailReader

LIFE = Rules().peer_life
Dump = dict[int, list[tuple[object, ...]]]


class TrackerProcess:
    """A tracker in a process of its own, to be stopped or killed."""

    def __init__(self, redis_url: str, folder: Path, seconds: float) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.tracker.run_tracker",
                redis_url,
                str(folder),
                str(seconds),
            ],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[dict[str, Any]] = []
        self.port = int(self.wait_for("ready")["port"])
        if not self.heard("access.loaded"):
            self.wait_for("access.loaded")

    def heard(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next line of this event."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"the tracker ended before {event}: {self.lines}")

    def announce(self, account: int, torrent: int, name: str, **more: Any) -> dict[bytes, Any]:
        path = announce_path(general_key(account), torrent, name, **more)
        return body_of(request(self.port, path, more.pop("host", "127.0.0.1")))

    def health(self) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
        fields: dict[str, Any] = json.loads(received.partition(b"\r\n\r\n")[2])
        return fields

    def end(self, *, kill: bool) -> None:
        """Kill -9, or stop in order; all it said is in `lines` then."""
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        rest, _ = self.process.communicate(timeout=DEADLINE)
        # A killed process may leave half a line.
        self.lines += [json.loads(text) for text in rest.splitlines() if text.endswith("}")]
        assert kill or self.process.returncode == 0, self.lines


@contextmanager
def tracker_process(
    redis_url: str, folder: Path, seconds: float = 3_600
) -> Iterator[TrackerProcess]:
    """A tracker that ends with the block, if it has not before."""
    running = TrackerProcess(redis_url, folder, seconds)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(kill=True)


def place(folder: Path) -> SnapshotPlace:
    return SnapshotPlace(folder, SNAPSHOT_KEYS)


def files(folder: Path, layout: int = 1, shard: int = 0) -> SnapshotFolder:
    return SnapshotFolder(place(folder), layout, shard)


def dump(swarms: Swarms) -> Dump:
    """Every swarm's peers with their endpoints, in an order of their own."""
    return {
        swarm.torrent: sorted(
            (swarm.peer(slot), tuple(swarm.endpoints(slot))) for slot in range(swarm.size)
        )
        for swarm in swarms.by_torrent.values()
        if swarm.size
    }


def whole_stream(redis_url: str) -> Dump:
    """The swarms after every record of the stream, read from its begin."""
    swarms = Swarms(LIFE)
    with RedisCalls(parse_redis_url(redis_url), DEADLINE) as calls:
        TailReader(wire.stream_name(1, 0), swarms).read(calls, lambda: False)
    return dump(swarms)


class Rebuilt:
    """What a start finds, and what it says."""

    def __init__(
        self,
        redis_url: str,
        folder: Path | None,
        layouts: Sequence[Layout] = (Layout(1, 1),),
        shard: int = 0,
    ) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        search = SnapshotSearch(place(folder) if folder else None, self._log)
        with RedisCalls(parse_redis_url(redis_url), DEADLINE) as calls:
            rebuild = None
            for _ in range(5):
                rebuild = ShardRebuild(
                    calls,
                    layouts,
                    ShardPlace(shard, layouts[-1].shards),
                    peer_life=LIFE,
                    search=search,
                    log=self._log,
                )
                if rebuild.run(lambda: False):
                    break
            else:
                raise AssertionError(f"no start succeeds: {self.events}")
        assert rebuild is not None
        self.rebuild = rebuild
        self.dump = dump(rebuild.swarms)

    def _log(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    def heard(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.events if name == event]


def until_written(folder: Path, number: int) -> None:
    """Wait until the newest snapshot ends with entry `number` or a later one."""
    kept = files(folder)
    eventually(
        lambda: kept.newest.exists() and kept.head(kept.newest).number >= number,
        "no snapshot is written",
    )
