"""Connections of the announce port: kept, closed, partial, too many, too slow."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tests.tracker.announcer import Announcer
from tests.tracker.running_tracker import (
    Feed,
    RunningTracker,
    account,
    announce_path,
    body_of,
    eventually,
    general_key,
    read_all,
    request,
    running_tracker,
    torrent,
)
from tracker.counters import Counters
from tracker.event_loop import READABLE, EventLoop
from tracker.event_stream import EventStream
from tracker.http_connection import HttpConnection
from tracker.http_pages import HttpPages
from tracker.http_server import HttpLimits, HttpServer, counted_address
from tracker.outlets import Outlet
from tracker.proxies import TrustedProxies
from tracker.shard import ShardNumbers

PATH = announce_path(general_key(1), 10)
LIMITS = HttpLimits(header_seconds=1.5, idle_seconds=1.5, connections=12, connections_per_address=8)


@pytest.fixture
def tracker(redis_url: str) -> Iterator[RunningTracker]:
    Feed(redis_url).publish([account(1)], [torrent(10)])
    with running_tracker(redis_url, ShardNumbers(limits=LIMITS)) as tracker:
        yield tracker


@pytest.fixture
def connection(tracker: RunningTracker) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=10) as connection:
        yield connection


def read_response(connection: socket.socket, received: bytes = b"") -> tuple[bytes, bytes]:
    """One response by its Content-Length, and what came after it."""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    head, _, rest = received.partition(b"\r\n\r\n")
    size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    while len(rest) < size:
        rest += connection.recv(65536)
    return head + b"\r\n\r\n" + rest[:size], rest[size:]


def get(path: str, version: str = "1.1", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", *headers, "", ""]).encode()


def test_connection_is_kept_and_then_closed_on_wish(connection: socket.socket) -> None:
    for _ in range(3):
        connection.sendall(get(PATH))
        response, rest = read_response(connection)
        assert body_of(response)[b"complete"] == 1
        assert rest == b""
    connection.sendall(get(PATH, "1.1", "Connection: close"))
    assert b"\r\nConnection: close\r\n" in read_all(connection)


def test_old_version_closes_unless_asked(tracker: RunningTracker) -> None:
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=10) as old:
        old.sendall(get(PATH, "1.0", "Connection: keep-alive"))
        response, _ = read_response(old)
        assert b"\r\nConnection: keep-alive\r\n" in response
        old.sendall(get(PATH, "1.0"))
        assert b"complete" in read_all(old)


def test_request_in_pieces(connection: socket.socket) -> None:
    raw = get(PATH, "1.1", "Connection: close")
    for start in range(0, len(raw), 40):
        connection.sendall(raw[start : start + 40])
    assert body_of(read_all(connection))[b"complete"] == 1


def test_requests_in_one_piece_are_answered_in_turn(connection: socket.socket) -> None:
    refused = get(announce_path("0" * 32, 10))
    connection.sendall(get(PATH) + refused * 5 + get("/health") + get(PATH))
    rest = b""
    bodies = []
    for _ in range(8):
        response, rest = read_response(connection, rest)
        bodies.append(response.partition(b"\r\n\r\n")[2])
    assert b"complete" in bodies[0]
    assert all(b"Invalid passkey" in body for body in bodies[1:6])
    assert bodies[6].startswith(b"{")
    assert b"complete" in bodies[7]


class HeldAnswers:
    """Stands for the stream, so that a test chooses when records are durable."""

    def outlet(
        self,
        deliver: Callable[[list[HttpConnection]], None],
        refuse: Callable[[list[HttpConnection]], None],
    ) -> Outlet[HttpConnection]:
        self.made = Outlet(deliver, refuse)
        return self.made


def test_no_announce_is_taken_before_the_one_ahead_is_answered() -> None:
    """An answer is out and the next request has come in one piece with the one before it; more
    comes in the same round. Two in work at once would share one prepared answer: one would be
    lost, and one could leave before its record is durable.
    """
    loop, stream, announcer = EventLoop(), HeldAnswers(), Announcer()
    server = HttpServer(
        loop,
        logic=announcer.logic,
        stream=cast("EventStream", stream),
        limits=LIMITS,
        counters=Counters(),
        pages=cast("HttpPages", None),
        proxies=TrustedProxies(),
    )
    reading, writing = os.pipe()

    def deliver(_descriptor: int, _bits: int) -> None:
        os.read(reading, 1)
        stream.made.take().deliver()

    def taken() -> bool:
        loop.run_round()
        return len(stream.made) > 0

    loop.watch(reading, READABLE, deliver)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.listen([listener])
        with socket.create_connection(listener.getsockname(), timeout=10) as client:
            client.sendall(get(PATH))
            eventually(taken, "not taken")
            os.write(writing, b"1")
            loop.run_round()
            assert read_response(client)[1] == b""
            client.sendall(get(PATH) * 2)
            eventually(taken, "not taken")
            # Nothing happens, so that events come in the order of their causes from here on.
            loop.run_round()
            os.write(writing, b"1")
            client.sendall(get(PATH))
            loop.run_round()
            assert len(stream.made) == 1
            assert len(announcer.sink.records) == 3
            for _ in range(2):
                os.write(writing, b"1")
                loop.run_round()
            rest = b""
            for _ in range(3):
                response, rest = read_response(client, rest)
                assert b"complete" in response
        server.close()
    loop.close()
    os.close(reading)
    os.close(writing)


def test_many_small_requests_in_one_piece(tracker: RunningTracker) -> None:
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=10) as connection:
        one = b"GET /announce HTTP/1.1\r\n\r\n"
        connection.sendall(one * 400)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).count(b"Missing info_hash") == 400


def test_client_that_does_not_read_blocks_nobody(tracker: RunningTracker) -> None:
    count = 20_000
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=10) as lazy:
        sender = threading.Thread(
            target=lazy.sendall, args=(b"GET /announce HTTP/1.1\r\n\r\n" * count,)
        )
        sender.start()
        assert body_of(request(tracker.port, PATH))[b"complete"] == 1
        received = b""
        while received.count(b"Missing info_hash") < count:
            chunk = lazy.recv(1 << 20)
            assert chunk
            received += chunk
        sender.join()


def test_half_closed_client_gets_its_answer(connection: socket.socket) -> None:
    connection.sendall(get(PATH))
    connection.shutdown(socket.SHUT_WR)
    assert body_of(read_all(connection))[b"complete"] == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /announce HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /scraped HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /announcer HTTP/1.1\r\n\r\n", b"404"),
        (b"GET / HTTP/3\r\n\r\n", b"505"),
        (b"GET /" + b"x" * 4096 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"\x16\x03\x01" + bytes(5000), b"431"),
    ],
)
def test_other_requests_get_a_status_and_the_end(
    connection: socket.socket, raw: bytes, status: bytes
) -> None:
    connection.sendall(raw)
    assert read_all(connection).startswith(b"HTTP/1.1 " + status + b" ")


def test_key_in_path_and_query_is_refused(tracker: RunningTracker) -> None:
    answer = body_of(request(tracker.port, PATH + "&passkey=" + general_key(1)))
    assert answer == {b"failure reason": b"Passkey given twice"}


def test_slow_request_and_idle_connection_are_dropped(tracker: RunningTracker) -> None:
    slow = socket.create_connection(("127.0.0.1", tracker.port), timeout=10)
    idle = socket.create_connection(("127.0.0.1", tracker.port), timeout=10)
    with slow, idle:
        slow.sendall(b"GET /ann")
        idle.sendall(get(PATH))
        read_response(idle)
        assert slow.recv(1) == b""
        assert idle.recv(1) == b""
    assert body_of(request(tracker.port, PATH))[b"complete"] == 1


def test_kept_connections_get_answers_at_once(connection: socket.socket) -> None:
    started = time.monotonic()
    for _ in range(20):
        connection.sendall(get(PATH))
        read_response(connection)
    # Were they held back for a full packet (tcp(7), TCP_CORK), each would take 0.2 s.
    assert time.monotonic() - started < 3


def test_client_that_takes_no_answer_is_dropped(tracker: RunningTracker) -> None:
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        lazy.settimeout(0.5)
        lazy.connect(("127.0.0.1", tracker.port))
        with contextlib.suppress(OSError):
            while True:
                lazy.send(get("/metrics") * 100)
        eventually(lambda: open_connections(tracker) == 1, "the connection is kept")


def open_connections(tracker: RunningTracker) -> int:
    fields = json.loads(request(tracker.port, "/health").partition(b"\r\n\r\n")[2])
    return int(fields["connections"])


def test_one_ipv6_network_counts_as_one_address() -> None:
    assert counted_address(bytes(range(16))) == bytes(range(8))
    assert counted_address(bytes(4)) == bytes(4)
    assert counted_address(b"") == b""


def test_one_address_cannot_take_all_connections(tracker: RunningTracker) -> None:
    held = []
    for _ in range(8):
        connection = socket.create_connection(("127.0.0.1", tracker.port), timeout=10)
        connection.sendall(b"GET ")
        held.append(connection)
    eventually(
        lambda: tracker.service.counters.connections >= 8, "the connections are not accepted"
    )
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=10) as refused:
        refused.sendall(get(PATH))
        assert is_closed(refused)
    assert body_of(request(tracker.port, PATH, "::1"))[b"complete"] == 1
    for connection in held:
        connection.close()
    eventually(
        lambda: b"complete" in try_request(tracker.port), "closed connections are not given back"
    )


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def try_request(port: int) -> bytes:
    try:
        return request(port, PATH)
    except OSError:
        return b""


def test_without_a_spare_descriptor_bad_requests_are_still_refused(
    tracker: RunningTracker, connection: socket.socket
) -> None:
    connection.sendall(get("/health"))
    read_response(connection)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    spare: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                spare.append(os.dup(connection.fileno()))
        connection.sendall(b"nonsense\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")
    finally:
        for descriptor in spare:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not tracker.failures
    assert request(tracker.port, "/health")
