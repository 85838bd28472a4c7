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
PLAIN_SEARCHES = 20
"""So many times the whole table is read for a search, and the rest of the time goes to requests."""
LEAST = 5
"""So many times each is measured, however long it takes."""
ROUND = 20
"""So many requests, then as many plain statements: each warm, as where somebody uses the site."""
LISTS = frozenset({"browse", "filter", "favorites"})
_END = b"\r\n\r\n"


class Client:
    """One kept-alive connection to the API; sends little, so that the server is what is timed."""

    def __init__(self, port: int, cookie: str) -> None:
        self._host = f"localhost:{port}"
        self._cookie = cookie
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        return status, body

    def json(self, path: str) -> Any:
        """The answer. Raises `BenchmarkFailed` for any but a good one."""
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
        status, body = client.get(path)
        rows = _run(conn, ask.plain, values, prepare=True)
        if status == 200 and ask.kind in LISTS:
            require_as_much(ask.name, body, rows)

    def request(path: str, _: Any) -> None:
        status, _ = client.get(path)
        if status != 200:
            refused.append(status)

    variants = itertools.cycle(ask.variants)
    end = time.perf_counter() + seconds
    most_plain = PLAIN_SEARCHES if ask.kind == "search" else turns
    gc.disable()
    try:
        while len(requests) < turns and (time.perf_counter() < end or len(requests) < LEAST):
            chosen = list(itertools.islice(variants, ROUND))
            _time(request, chosen, requests, most=turns, end=end)
            for times, prepare in ((plain, False), (prepared, True)):
                run = partial(_run_variant, conn, ask.plain, prepare=prepare)
                _time(run, chosen, times, most=most_plain, end=end)
    finally:
        gc.enable()
    return Timed(ask=ask, requests=requests, plain=plain, prepared=prepared, refused=refused)


def _time(
    work: Callable[[str, Any], None],
    chosen: Iterable[tuple[str, Any]],
    times: list[float],
    *,
    most: int,
    end: float,
) -> None:
    """Do the work of each variant, and add its milliseconds, until there are enough."""
    for path, values in chosen:
        began = time.perf_counter()
        if len(times) >= most or (began > end and len(times) >= LEAST):
            return
        work(path, values)
        times.append((time.perf_counter() - began) * 1000)


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
