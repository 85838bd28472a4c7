"""Whole HTTP requests on one connection, and plain statements beside them, turn by turn."""

from __future__ import annotations

import gc
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import psycopg

from ops.benchmarks.catalogue_asks import Ask
from ops.benchmarks.processes import BenchmarkFailed

WAIT_SECONDS = 30.0
IDLE_SECONDS = 1.0
LEAST = 5
"""So many times plain SQL is measured, however long it takes; for searches, which read the whole
table, no more."""
LEAST_REQUESTS = 100
PLAIN_SECONDS = 0.5
"""So long plain SQL is measured in a round, one statement at least."""
ROUND = 20
"""So many requests, then as many plain statements: each warm, as where somebody uses the site."""
LISTS = frozenset({"browse", "filter", "favorites"})
_END = b"\r\n\r\n"


class Client:
    """One kept-alive connection to the API; sends little, so that the server is what is timed."""

    def __init__(self, port: int, cookie: str) -> None:
        self._port = port
        self._host = f"localhost:{port}"
        self._cookie = cookie
        self._used_at = time.monotonic()
        self._socket = self._connect()
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def renew(self) -> None:
        """Connect anew where the server may have closed what nobody used."""
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self._socket.close()
            self._socket, self._buffer = self._connect(), b""
            self._used_at = time.monotonic()

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nCookie: {self._cookie}\r\n\r\n".encode()
        )
        head = self._until_end_of_head()
        status = int(head[9:12])
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        while len(self._buffer) < length:
            self._receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        self._used_at = time.monotonic()
        return status, body

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self._port), timeout=WAIT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def json(self, path: str) -> Any:
        """The answer. Raises `BenchmarkFailed` for any but a good one."""
        self.renew()
        status, body = self.get(path)
        if status != 200:
            raise BenchmarkFailed(f"GET {path} was answered {status}: {body[:200].decode()}")
        return json.loads(body)

    def _until_end_of_head(self) -> bytes:
        while _END not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(_END)
        return head

    def _receive(self) -> None:
        part = self._socket.recv(262_144)
        if not part:
            raise BenchmarkFailed("the API closed the connection")
        self._buffer += part


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Milliseconds of each request and of the plain SQL beside it; what was answered but 200.

    `prepared` are those of the plain SQL kept prepared, which need not be planned each time.
    """

    ask: Ask
    requests: Sequence[float]
    plain: Sequence[float]
    prepared: Sequence[float]
    refused: Sequence[int]

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return percentile(self.requests, 50) / percentile(self.plain, 50)


def percentile(values: Sequence[float], part: float) -> float:
    """The value `part` per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))]


def measure(
    client: Client, conn: psycopg.Connection[Any], ask: Ask, *, turns: int, seconds: float
) -> Timed:
    """Both by turns, `ROUND` of each, `turns` times or until `seconds` are over.

    What comes first warms what both need, so each variant is asked once before. Raises
    `BenchmarkFailed` where the answers of a list are not the same work.
    """
    requests: list[float] = []
    plain: list[float] = []
    prepared: list[float] = []
    refused: list[int] = []
    for path, values in ask.variants[:50]:
        client.renew()
        status, body = client.get(path)
        if status == 200 and ask.kind in LISTS:
            require_as_much(ask.name, body, _run(conn, ask.plain, values, prepare=True))

    def request(path: str, _: Any) -> None:
        status, _ = client.get(path)
        if status != 200:
            refused.append(status)

    variants = itertools.cycle(ask.variants)
    least = min(LEAST_REQUESTS, turns)
    end = time.perf_counter() + seconds
    runs = [
        (times, partial(_run_variant, conn, ask.plain, prepare=prepare))
        for times, prepare in ((plain, False), (prepared, True))
    ]
    gc.disable()
    try:
        while len(requests) < turns and (time.perf_counter() < end or len(requests) < least):
            chosen = list(itertools.islice(variants, min(ROUND, turns - len(requests))))
            client.renew()
            time_each(request, chosen, requests)
            for times, run in runs:
                if ask.kind != "search":
                    time_each(run, chosen, times, seconds=PLAIN_SECONDS)
        for times, run in runs:
            time_each(run, itertools.islice(variants, max(0, LEAST - len(times))), times)
    finally:
        gc.enable()
    return Timed(ask=ask, requests=requests, plain=plain, prepared=prepared, refused=refused)


def time_each(
    work: Callable[[str, Any], None],
    chosen: Iterable[tuple[str, Any]],
    times: list[float],
    *,
    seconds: float = float("inf"),
) -> None:
    """Do the work of each variant, and add its milliseconds; of slow ones fewer than chosen."""
    end = time.perf_counter() + seconds
    for path, values in chosen:
        began = time.perf_counter()
        work(path, values)
        done = time.perf_counter()
        times.append((done - began) * 1000)
        if done > end:
            return


def _run_variant(
    conn: psycopg.Connection[Any], queries: Sequence[str], _: str, values: Any, *, prepare: bool
) -> None:
    _run(conn, queries, values, prepare=prepare)


def require_as_much(name: str, body: bytes, rows: int) -> None:
    """Raise `BenchmarkFailed` where a list shows fewer rows than the plain statement finds.

    A member also sees his own that wait for a moderator, so there may be more.
    """
    shown = len(json.loads(body)["data"])
    if shown < rows:
        raise BenchmarkFailed(f"{name}: the API shows {shown} rows, plain SQL finds {rows}")


def _run(
    conn: psycopg.Connection[Any], queries: Sequence[str], values: Any, *, prepare: bool
) -> int:
    """How many rows the first of these statements gives."""
    with conn.cursor(binary=True) as cursor:
        rows = [
            len(cursor.execute(query.encode(), values, prepare=prepare).fetchall())
            for query in queries
        ]
    return rows[0]
