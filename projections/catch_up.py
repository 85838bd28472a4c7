"""Bringing read models to the head after much was recorded at once, and their statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import repeat
from queue import SimpleQueue
from threading import Lock
from typing import Final, Protocol, runtime_checkable

import psycopg
from psycopg import sql

from application.ports import EventLogPort
from projections.engine import (
    BUSY,
    Connection,
    Pause,
    Projection,
    Reads,
    schema_of,
    standings,
    step,
    tuples,
)
from projections.rebuild import BUILD_LIMIT, Progress
from projections.shared_reads import SharedReads

TOGETHER: Final = 3
"""Read models folded at a time: PostgreSQL works for one while we make statements for another."""
PATIENCE: Final = 60.0
"""Seconds a read model may stand still in the hands of another worker before we go without it."""
BETWEEN_TRIES: Final = 0.2
MANY: Final = 50_000
"""Facts behind from which tables are worth preparing."""
Report = Callable[[str, Progress], None]
"""(read model, how far it is); never called by two at a time."""


@runtime_checkable
class Heavy(Protocol):
    """A projection with indexes that take many rows faster in another way of working."""

    def expect_many(self, conn: Connection, schema: str) -> None:
        """Change to it; not in a transaction."""

    def expect_few(self, conn: Connection, schema: str) -> None:
        """Change back, and leave nothing that slows down who reads."""


def catch_up(
    connect: Callable[[], Connection],
    log: EventLogPort,
    projections: Sequence[Projection],
    *,
    report: Report,
    waiting: Callable[[str], None] = lambda _: None,
    limit: int = BUILD_LIMIT,
    together: int = TOGETHER,
    patience: float = PATIENCE,
) -> dict[str, Pause]:
    """Step each read model to the head in large batches; why each of them stopped there.

    `connect` gives connections in autocommit. Workers may do the same meanwhile: each batch is
    folded by one of us. While another has a read model, `waiting` is told its name; one that
    nobody moves for `patience` seconds ends as `BUSY`.
    """
    with ExitStack() as stack:
        connections: SimpleQueue[Connection] = SimpleQueue()
        for _ in range(max(1, min(together, len(projections)))):
            conn = stack.enter_context(connect())
            _settle_in(conn)
            connections.put(conn)
        runners = _runners(connections, projections)
        stack.enter_context(_expecting_many(connections, runners, log.head()))
        shared = stack.enter_context(SharedReads(log))
        pool = stack.enter_context(ThreadPoolExecutor(together, thread_name_prefix="catch-up"))
        telling, began = Lock(), time.monotonic()

        def advance(runner: _Runner, reads: Reads, head: int) -> None:
            conn = connections.get()
            try:
                reached = step(conn, reads, runner.projection, limit=limit)
                if reached is BUSY:
                    with telling:
                        waiting(runner.projection.name)
                    runner.wait(conn, patience)
                elif isinstance(reached, Pause):
                    runner.ended = reached
                else:
                    runner.moved(reached)
                    seconds = time.monotonic() - began
                    progress = Progress(position=reached, head=max(reached, head), seconds=seconds)
                    with telling:
                        report(runner.projection.name, progress)
            finally:
                connections.put(conn)

        while going := [runner for runner in runners if runner.ended is None]:
            group = _next_group(going, limit)
            reads: Reads = log
            if len(group) > 1:
                shared.wants(runner.projection.topics for runner in group)
                reads = shared
            # All of a round, so that the facts it reads are needed no more.
            list(pool.map(advance, group, repeat(reads), repeat(log.head())))
        return {r.projection.name: r.ended for r in runners if r.ended is not None}


class _Runner:
    """One read model on its way."""

    def __init__(self, projection: Projection, position: int) -> None:
        self.projection = projection
        self.position = position
        self.ended: Pause | None = None
        self.not_before = 0.0
        self._moved = time.monotonic()

    def moved(self, position: int) -> None:
        self.position = position
        self._moved = time.monotonic()

    def wait(self, conn: Connection, patience: float) -> None:
        """Another worker has it: look whether it comes on, and try again a little later."""
        (standing,) = standings(conn, 0, [self.projection]).values()
        now = time.monotonic()
        if standing.position is not None and standing.position > self.position:
            self.moved(standing.position)
        elif now - self._moved > patience:
            self.ended = BUSY
        self.not_before = now + BETWEEN_TRIES


def _runners(
    connections: SimpleQueue[Connection], projections: Sequence[Projection]
) -> list[_Runner]:
    conn = connections.get()
    try:
        seen = standings(conn, 0, projections)
    finally:
        connections.put(conn)
    return [_Runner(p, seen[p.name].position or 0) for p in projections]


def _next_group(going: Sequence[_Runner], limit: int) -> list[_Runner]:
    """The hindmost that nobody else has, with those near them: they read the same facts."""
    now = time.monotonic()
    while not (free := [runner for runner in going if runner.not_before <= now]):
        time.sleep(max(0.0, min(runner.not_before for runner in going) - now))
        now = time.monotonic()
    hindmost = min(runner.position for runner in free)
    return [runner for runner in free if runner.position < hindmost + limit]


def _settle_in(conn: Connection) -> None:
    """What suits large batches; a plan made while a table was empty must not be kept."""
    conn.execute("SET plan_cache_mode = force_custom_plan")
    conn.execute("SET work_mem = '64MB'")
    conn.execute("SET gin_pending_list_limit = '16MB'")


@contextmanager
def _expecting_many(
    connections: SimpleQueue[Connection], runners: Sequence[_Runner], head: int
) -> Iterator[None]:
    """In this block the tables of those far behind are made ready for many rows."""
    conn = connections.get()
    for runner in runners:
        if isinstance(runner.projection, Heavy) and head - runner.position >= MANY:
            runner.projection.expect_many(conn, schema_of(runner.projection))
    connections.put(conn)
    try:
        yield
    finally:
        # Of all, as one that was killed may have left theirs as they were.
        conn = connections.get()
        for runner in runners:
            if isinstance(runner.projection, Heavy):
                runner.projection.expect_few(conn, schema_of(runner.projection))


def analyze(conn: Connection, projections: Sequence[Projection]) -> None:
    """Let the planner know what the tables hold now; the server's own look may come minutes late."""
    for projection in projections:
        schema = schema_of(projection)
        rows = (
            tuples(conn)
            .execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
            .fetchall()
        )
        for (table,) in rows:
            try:
                conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, table)))
            except psycopg.errors.UndefinedTable:
                # A rebuild swapped it away: its own loading told the planner nothing either way.
                continue
