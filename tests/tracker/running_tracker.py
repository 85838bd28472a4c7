"""A real tracker on real sockets for tests: the feed it reads, requests to it, records it wrote."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bencodepy
import redis

from domain.passkeys import PasskeyScope, make_passkey
from tracker import wire
from tracker.service import TrackerConfig, TrackerService
from tracker.shard import ShardNumbers
from tracker.snapshot_folder import SnapshotPlace

PASSKEY_KEY = bytes(range(32))
CONNECTION_KEY = bytes(range(32, 64))
KID = 3
FULL_RIGHTS = wire.ACCOUNT_MAY_ANNOUNCE | wire.ACCOUNT_MAY_DOWNLOAD
STREAM = wire.stream_name(1, 0)
DEADLINE = 10.0


def eventually(check: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    """Poll until `check` holds; fail with `what` after the deadline."""
    limit = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < limit, what
        threading.Event().wait(0.01)


def info_hash(torrent: int) -> bytes:
    """The canonical hash of a test torrent; holds bytes that need escaping."""
    return b"\x00% &+=?/" + torrent.to_bytes(4, "big") + b"\xff\xfe\xfd~()!*"


def peer_id(name: str) -> bytes:
    return f"-XX0100-{name:_<12}".encode()


def general_key(account: int, epoch: int = 0) -> str:
    return make_passkey(PASSKEY_KEY, account, scope=PasskeyScope.ANNOUNCE, epoch=epoch)


def torrent_key(account: int, torrent: int, epoch: int = 0) -> str:
    return make_passkey(
        PASSKEY_KEY, account, scope=PasskeyScope.TORRENT, epoch=epoch, torrent=torrent
    )


def account(number: int, flags: int = FULL_RIGHTS, epoch: int = 0) -> wire.AccountEntry:
    return wire.AccountEntry(number, KID, flags, epoch, 0, 0, 0)


def torrent(
    number: int, state: int = wire.TORRENT_ACCEPTED, uploader: int = 1, alias: bytes = wire.NO_HASH
) -> wire.TorrentEntry:
    return wire.TorrentEntry(number, uploader, info_hash(number), alias, state)


class Feed:
    """Publishes the access feed as the workers do."""

    def __init__(self, redis_url: str) -> None:
        self.redis = redis.Redis.from_url(redis_url)
        self.seq = 0

    def publish(self, accounts: list[wire.AccountEntry], torrents: list[wire.TorrentEntry]) -> None:
        """Write chunks holding these entries, and the sequence."""
        for number in {entry.number >> wire.CHUNK_SHIFT for entry in accounts}:
            chosen = [e for e in accounts if e.number >> wire.CHUNK_SHIFT == number]
            packed = b"".join(wire.pack_account(entry) for entry in chosen)
            self.redis.set(f"{wire.ACCESS_ACCOUNTS}{number}", packed)
        for number in {entry.number >> wire.CHUNK_SHIFT for entry in torrents}:
            packed = b"".join(
                wire.pack_torrent(e) for e in torrents if e.number >> wire.CHUNK_SHIFT == number
            )
            self.redis.set(f"{wire.ACCESS_TORRENTS}{number}", packed)
        self.redis.set(wire.ACCESS_SEQ, self.seq)

    def change(self, kind: bytes, entry: bytes) -> None:
        """Append one change to the stream; the chunks stay as they were."""
        self.seq += 1
        self.redis.xadd(
            wire.ACCESS_CHANGES,
            {wire.CHANGE_KIND: kind, wire.CHANGE_ENTRY: entry},
            id=f"{self.seq}-0",
        )

    def change_account(self, entry: wire.AccountEntry) -> None:
        self.change(wire.CHANGE_ACCOUNT, wire.pack_account(entry))

    def change_torrent(self, entry: wire.TorrentEntry) -> None:
        self.change(wire.CHANGE_TORRENT, wire.pack_torrent(entry))

    def records(self) -> list[wire.PeerRecord]:
        """Every record of the stream, in order."""
        found: list[wire.PeerRecord] = []
        for _, fields in self.redis.xrange(STREAM):
            assert fields[wire.FIELD_VERSION] == wire.VERSION
            found.extend(wire.unpack_records(fields[wire.FIELD_RECORDS]))
        return found


def escape(raw: bytes) -> str:
    return "".join(f"%{byte:02X}" for byte in raw)


def announce_path(
    passkey: str, torrent: int, name: str = "a", *, port: int = 5001, **parameters: object
) -> str:
    """The target of an announce; `parameters` replace or add query parameters."""
    query: dict[str, object] = {
        "info_hash": escape(info_hash(torrent)),
        "peer_id": escape(peer_id(name)),
        "port": port,
        "uploaded": 0,
        "downloaded": 0,
        "left": 0,
        "compact": 1,
    }
    query.update(parameters)
    return f"/announce/{passkey}?" + "&".join(f"{name}={value}" for name, value in query.items())


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def request(port: int, path: str, host: str = "127.0.0.1") -> bytes:
    """The whole response to one GET on its own connection."""
    with socket.create_connection((host, port), timeout=DEADLINE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        return read_all(connection)


def body_of(response: bytes) -> dict[bytes, Any]:
    """The decoded bencoded body of a 200 response."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), response
    decoded: dict[bytes, Any] = bencodepy.Bencode().decode(body)
    return decoded


@dataclass
class RunningTracker:
    """A tracker in a thread, listening on 127.0.0.1 and ::1 at the same ports."""

    port: int
    udp_port: int
    service: TrackerService
    stop_flag: threading.Event
    thread: threading.Thread
    events: list[tuple[str, dict[str, object]]]
    failures: list[BaseException] = field(default_factory=list)

    def announce(
        self, passkey: str, torrent: int, name: str = "a", *, host: str = "127.0.0.1", **more: Any
    ) -> dict[bytes, Any]:
        """Announce on a fresh connection; the decoded answer."""
        return body_of(request(self.port, announce_path(passkey, torrent, name, **more), host))

    def stop(self) -> None:
        self.stop_flag.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive(), "the tracker does not stop"


def bind_both(
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> tuple[socket.socket, socket.socket]:
    """Sockets on 127.0.0.1 and ::1 with one free port."""
    while True:
        v4 = socket.socket(socket.AF_INET, kind)
        v4.bind(("127.0.0.1", 0))
        v6 = socket.socket(socket.AF_INET6, kind)
        v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            v6.bind(("::1", v4.getsockname()[1]))
        except OSError:
            v4.close()
            v6.close()
            continue
        return v4, v6


@contextmanager
def running_tracker(
    redis_url: str,
    numbers: ShardNumbers | None = None,
    *,
    more_sockets: Sequence[socket.socket] = (),
    snapshots: SnapshotPlace | None = None,
    passkey_keys: Mapping[int, bytes] | None = None,
) -> Iterator[RunningTracker]:
    """Run a tracker until the block ends; a failure of its thread fails the test.

    `more_sockets` are served over HTTP too and stay the caller's to close.
    """
    sockets = bind_both()
    udp_sockets = bind_both(socket.SOCK_DGRAM)
    config = TrackerConfig(
        redis_url=redis_url,
        passkey_keys=passkey_keys or {KID: PASSKEY_KEY},
        connection_id_keys={1: CONNECTION_KEY},
        numbers=numbers or ShardNumbers(),
        snapshots=snapshots,
        own_process=False,
    )
    events: list[tuple[str, dict[str, object]]] = []
    service = TrackerService(
        config,
        (*sockets, *more_sockets),
        udp_sockets,
        log=lambda event, **fields: events.append((event, fields)),
    )
    stop_flag, ready = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            service.run(stop_flag, ready.set)
        except BaseException as fault:
            failures.append(fault)
            ready.set()

    thread = threading.Thread(target=serve, name="tracker")
    thread.start()
    running = RunningTracker(
        sockets[0].getsockname()[1],
        udp_sockets[0].getsockname()[1],
        service,
        stop_flag,
        thread,
        events,
        failures,
    )
    try:
        assert ready.wait(DEADLINE), events
        with redis.Redis.from_url(redis_url) as client:
            published = client.exists(wire.ACCESS_SEQ)
        if published:
            # A busy machine may let the tracker start before it has read the feed.
            eventually(
                lambda: any(event == "access.loaded" for event, _ in events), "no access feed"
            )
        yield running
    finally:
        running.stop()
        for listener in (*sockets, *udp_sockets):
            listener.close()
