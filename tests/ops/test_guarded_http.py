"""The API's socket: heads in time and within their size, bodies as bytes on the wire."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from interfaces.http.request_guards import BodyLimits, RequestGuards
from ops.container import guarded_http
from ops.container.api import _config

DEADLINE = 10.0
HEAD = b"POST /x HTTP/1.1\r\nHost: t\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: t\r\n"
LARGE = b"x" * 16_000_000


async def application(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    body = b"%d bytes" % len(message.get("body", b""))
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def large_application(_scope: Any, _receive: Any, send: Any) -> None:
    length = (b"content-length", b"%d" % len(LARGE))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": LARGE})


async def streaming_application(_scope: Any, _receive: Any, send: Any) -> None:
    length = (b"content-length", b"%d" % len(LARGE))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    for at in range(0, len(LARGE), 100_000):
        piece = LARGE[at : at + 100_000]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def slow_application(scope: Any, receive: Any, send: Any) -> None:
    """Answers late what was asked at once; tells the path too."""
    await asyncio.sleep(3.0 if scope["path"] == "/slow" else 0.01)
    message = await receive()
    body = b"%s %d\n" % (scope["path"].encode(), len(message.get("body", b"")))
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[guarded_http.GuardedProtocol]:
    """The server's side of each connection made."""
    made: list[guarded_http.GuardedProtocol] = []
    known = guarded_http.GuardedProtocol.connection_made

    def noted(self: guarded_http.GuardedProtocol, transport: Any) -> None:
        made.append(self)
        known(self, transport)

    monkeypatch.setattr(guarded_http.GuardedProtocol, "connection_made", noted)
    return made


@contextmanager
def serving(app: Any = application, *, kept: int = 0, **guards: Any) -> Iterator[int]:
    """The port of a server of ours, whose kernel keeps `kept` bytes ahead; 0 for as it likes."""
    values = {"limits": BodyLimits(100_000), "at_once": 10, "patience": 0.4, **guards}
    server = uvicorn.Server(_config(RequestGuards(app, **values)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if kept:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kept)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            limit = time.monotonic() + DEADLINE
            while not server.started:
                assert time.monotonic() < limit, "the server does not start"
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(DEADLINE)
            assert not thread.is_alive()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "HEAD_SECONDS", 0.4)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)


def rest_of(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def trickle(connection: socket.socket, head: bytes) -> None:
    for letter in head:
        connection.sendall(bytes([letter]))
        time.sleep(0.02)


def takes_all(
    connection: socket.socket, more: bytes, look: Callable[[], None] = lambda: None
) -> bool:
    """Whether the server lets somebody send `more` a thousand times."""
    try:
        for _ in range(1_000):
            connection.sendall(more)
            look()
    except ConnectionError:
        return False
    return True


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    "sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: t\r\nX-A: b\r\n", b"\r\n\r\n"]
)
def test_a_head_that_does_not_come_is_cut(impatient: None, sent: bytes) -> None:
    with serving() as port, connect(port) as slow:
        slow.sendall(sent)
        began = time.monotonic()
        assert status_of(rest_of(slow)) == 408
        assert time.monotonic() - began < 3


def test_a_head_that_trickles_is_cut(impatient: None) -> None:
    with serving() as port, connect(port) as slow:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            trickle(slow, b"GET / HTTP/1.1\r\n" + b"X-Slow: yes\r\n" * 100)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("lines", [b"X-Much: " + b"y" * 10_000 + b"\r\n", b"A: b\r\n" * 2_000])
def test_a_head_without_end_is_refused(lines: bytes) -> None:
    with serving() as port, connect(port) as greedy:
        answer = b""
        try:
            greedy.sendall(b"GET / HTTP/1.1\r\n")
            for _ in range(40):
                greedy.sendall(lines)
                time.sleep(0.005)
        except ConnectionError:
            pass
        answer = rest_of(greedy)
        assert status_of(answer) in {431, 0}
    with serving() as port, connect(port) as fair:
        fair.sendall(b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: " + b"y" * 8_000 + b"\r\n\r\n")
        assert status_of(fair.recv(1_000)) == 200


def test_a_kept_connection_may_wait_but_not_trickle(impatient: None) -> None:
    with serving() as port, connect(port) as kept:
        kept.sendall(HEAD + b"Content-Length: 2\r\n\r\nab")
        assert b"2 bytes" in kept.recv(1_000)
        # Longer than a head may take: waiting between requests is another matter.
        time.sleep(0.8)
        kept.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
        assert b"3 bytes" in kept.recv(1_000)
        kept.sendall(b"POST")
        assert status_of(rest_of(kept)) == 408


def test_a_request_may_take_longer_than_its_head(impatient: None) -> None:
    with serving(patience=5.0) as port, connect(port) as slow:
        slow.sendall(HEAD + b"Content-Length: 4\r\n\r\nab")
        time.sleep(0.9)
        slow.sendall(b"cd")
        assert b"4 bytes" in slow.recv(1_000)


def test_a_body_that_trickles_is_answered_408_and_the_connection_closed() -> None:
    with serving() as port, connect(port) as slow:
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\nab")
        answer = rest_of(slow)
        assert status_of(answer) == 408
        assert b"body_too_slow" in answer


def test_a_body_too_large_is_answered_while_it_is_still_sent() -> None:
    with serving() as port, connect(port) as large:
        large.sendall(HEAD + b"Content-Length: 5000000\r\n\r\n")
        for _ in range(50):
            large.sendall(b"x" * 100_000)
        answer = large.recv(10_000)
        assert status_of(answer) == 413
        large.sendall(HEAD + b"Content-Length: 2\r\n\r\nab")
        assert b"2 bytes" in large.recv(10_000)


def test_who_announces_a_body_too_large_need_not_send_it() -> None:
    with serving() as port, connect(port) as polite:
        polite.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
        assert status_of(polite.recv(10_000)) == 413


def test_the_rest_of_a_refused_body_is_not_waited_for(impatient: None) -> None:
    with serving() as port, connect(port) as slow:
        slow.sendall(HEAD + b"Content-Length: 5000000\r\n\r\n")
        assert status_of(slow.recv(10_000)) == 413
        slow.sendall(b"x")
        began = time.monotonic()
        assert rest_of(slow) == b""
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "target",
    [
        *(b"//api/me", b"/api/../x", b"/%2e%2e/x", b"/\xff\xfe", b"*", b"http://t/x/../y"),
        *(b"/a%00b", b"/a%0ab", b"/a%7fb", b"/a\\b", b"/a%5cb"),
        *(b"/a%ffb", b"/a%c0%afb", b"/a%ed%a0%80b", b"/%c2"),
    ],
)
def test_an_odd_target_is_refused_without_a_fault(target: bytes) -> None:
    with serving() as port, connect(port) as odd:
        odd.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = odd.recv(10_000)
        assert status_of(answer) in {400, 404}, answer


def test_connections_beyond_the_bound_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "CONNECTIONS", 3)
    with serving() as port:
        held = [connect(port) for _ in range(3)]
        time.sleep(0.2)
        with connect(port) as further:
            assert rest_of(further) == b""
        held.pop().close()
        time.sleep(0.2)
        with connect(port) as next_one:
            next_one.sendall(b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n")
            assert status_of(next_one.recv(1_000)) == 200
        for connection in held:
            connection.close()


@pytest.mark.parametrize("sent", [(GET + b"\r\n") * 2, GET + b"Connection: close\r\n\r\n"])
def test_who_does_not_read_keeps_neither_place_nor_connection(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(guarded_http, "UNREAD_SECONDS", 0.4)
    with serving(large_application, at_once=1) as port, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.settimeout(DEADLINE)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(sent)
        time.sleep(1.2)
        monkeypatch.undo()
        with connect(port) as fair:
            fair.sendall(GET + b"Connection: close\r\n\r\n")
            answer = rest_of(fair)
        assert status_of(answer) == 200
        assert len(answer) > len(LARGE)
        assert len(rest_of(deaf)) < len(LARGE)


def test_who_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "UNREAD_SECONDS", 0.3)
    with serving(large_application) as port, connect(port) as slow:
        slow.sendall(GET + b"Connection: close\r\n\r\n")
        received = 0
        began = time.monotonic()
        while piece := slow.recv(1_000_000):
            received += len(piece)
            time.sleep(0.05)
        assert received > len(LARGE)
        assert time.monotonic() - began > 0.6


@pytest.mark.parametrize("app", [large_application, streaming_application])
def test_who_takes_a_little_now_and_then_keeps_no_place(
    monkeypatch: pytest.MonkeyPatch, app: Any
) -> None:
    """Enough to look alive in each stretch of grace, far less than a slow line."""
    monkeypatch.setattr(guarded_http, "UNREAD_SECONDS", 0.5)
    monkeypatch.setattr(guarded_http, "UNREAD_PACE", 4_000_000)
    with serving(app, kept=262_144, at_once=1) as port, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        slow.settimeout(DEADLINE)
        slow.connect(("127.0.0.1", port))
        slow.sendall(GET + b"\r\n")
        received = 0
        with suppress(ConnectionResetError):
            while piece := slow.recv(60_000):
                received += len(piece)
                time.sleep(0.05)
        assert received < len(LARGE) / 2
        monkeypatch.undo()
        with connect(port) as fair:
            fair.sendall(GET + b"Connection: close\r\n\r\n")
            assert len(rest_of(fair)) > len(LARGE)


def test_a_connection_is_not_behind_for_having_been_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "UNREAD_SECONDS", 1.0)
    monkeypatch.setattr(guarded_http, "UNREAD_PACE", 1_000_000)
    with serving(large_application) as port, connect(port) as kept:
        for _ in range(3):
            time.sleep(0.5)
            kept.sendall(GET + b"\r\n")
            time.sleep(0.4)
            received = 0
            while received < len(LARGE):
                received += len(kept.recv(1_000_000))


FLOODS = {
    "a head without end": (b"GET /next HTTP/1.1\r\n", b"A: b\r\n" * 10_000),
    "a line without end": (b"GET /next HTTP/1.1\r\nA: ", b"b" * 60_000),
    "heads one after another": (b"", (GET + b"\r\n") * 2_000),
    "requests one after another": (b"", (HEAD + b"Content-Length: 2\r\n\r\nab") * 1_000),
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("path", [b"/slow", b"/quick"])
def test_heads_without_end_behind_an_answer_are_cut(
    connections: list[guarded_http.GuardedProtocol], flood: str, path: bytes
) -> None:
    begin, more = FLOODS[flood]
    with serving(slow_application) as port, connect(port) as greedy:
        greedy.sendall(b"GET %s HTTP/1.1\r\nHost: t\r\n\r\n" % path)
        time.sleep(0.2)
        began = time.monotonic()
        waiting, lines = [0], [0]

        def look() -> None:
            waiting.append(len(connections[0].pipeline))
            lines.append(len(connections[0].headers or ()))

        greedy.sendall(begin)
        assert not takes_all(greedy, more, look)
        # While the first answer is still being made, and with little taken in.
        assert time.monotonic() - began < 2.5
        assert max(waiting) <= guarded_http.PIPELINED
        assert max(lines) < 100_000
        with connect(port) as fair:
            fair.sendall(GET + b"Connection: close\r\n\r\n")
            assert status_of(rest_of(fair)) == 200


def test_trailers_without_end_are_cut() -> None:
    with serving(patience=5.0) as port, connect(port) as greedy:
        greedy.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n")
        began = time.monotonic()
        assert not takes_all(greedy, b"A: b\r\n" * 10_000)
        assert time.monotonic() - began < 3


def test_a_body_in_many_small_pieces_is_no_head() -> None:
    with serving(patience=5.0) as port, connect(port) as fair:
        fair.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            fair.sendall(b"1\r\na\r\n" * 1_000)
            time.sleep(0.01)
        fair.sendall(b"0\r\nA: b\r\n\r\n")
        assert b"30000 bytes" in fair.recv(1_000)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_few_requests_sent_ahead_are_all_answered_in_their_order(*, at_once: bool) -> None:
    asked = [b"/slow", *(b"/%d" % number for number in range(20))]
    heads = [
        b"POST %s HTTP/1.1\r\nHost: t\r\nCookie: %s\r\nContent-Length: 500\r\n\r\n%s"
        % (path, b"c" * 2_000, b"b" * 500)
        for path in asked
    ]
    heads.append(GET.replace(b"/x", b"/end") + b"Connection: close\r\n\r\n")
    with serving(slow_application) as port, connect(port) as fair:
        if at_once:
            fair.sendall(b"".join(heads))
        else:
            for piece in (b"".join(heads)[at : at + 1_500] for at in range(0, 60_000, 1_500)):
                fair.sendall(piece)
                time.sleep(0.005)
        answer = rest_of(fair)
    told = [line for line in answer.split(b"\n") if line.startswith(b"/")]
    assert told == [*(b"%s 500" % path for path in asked), b"/end 0"]
