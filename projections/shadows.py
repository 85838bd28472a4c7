"""Shadows: projections folded anew from the first fact, in a transaction that is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg

from application.ports import EventLogPort
from domain.kernel import Recorded
from projections.engine import (
    Connection,
    Cursor,
    FoldFailed,
    Projection,
    fold,
    install,
    schema_of,
    tuples,
    use_schema,
)
from projections.ledger_reader import held_ledger
from projections.rebuild import BUILD_LIMIT, Progress, Report, read_ahead

Also = Callable[[Sequence[Recorded]], None]
"""Given every fact in order too, so that one reading of the log serves all who fold it."""


class Shadow:
    """One projection built again up to `upto`; `failure` says why it could not be."""

    def __init__(self, projection: Projection, upto: int, suffix: str) -> None:
        self.projection = projection
        self.upto = upto
        self.schema = f"{schema_of(projection)}__{suffix}"
        self.failure: str | None = None

    def wanted(self, batch: Sequence[Recorded]) -> list[Recorded]:
        """The facts of `batch` this projection folds."""
        topics = self.projection.topics
        return [
            recorded
            for recorded in batch
            if recorded.position <= self.upto
            and (topics is None or recorded.envelope.fact.TOPIC in topics)
        ]

    def fold(self, conn: Connection, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Fold `batch` unless an earlier one failed; a failure spoils this shadow only."""
        wanted = self.wanted(batch)
        if self.failure is not None or not wanted:
            return
        try:
            with conn.transaction():
                use_schema(cursor, self.schema)
                fold(cursor, self.projection, wanted)
        except FoldFailed as failed:
            self.failure = f"{failed}: {type(failed.__cause__).__name__}"


@contextmanager
def cast_shadows(
    conn: Connection,
    log: EventLogPort,
    wanted: Sequence[tuple[Projection, int]],
    *,
    upto: int,
    also: Also | None = None,
    report: Report | None = None,
    limit: int = BUILD_LIMIT,
) -> Iterator[list[Shadow]]:
    """Build each projection to its position from one reading of the log up to `upto`.

    Everything happens in the caller's transaction or one of its own and is rolled back at
    the end of the block, however that ends: a killed process leaves nothing behind. Raises
    what reading the log raises.
    """
    suffix = f"shadow_{conn.info.backend_pid}"
    shadows = [Shadow(projection, position, suffix) for projection, position in wanted]
    with conn.transaction(force_rollback=True):
        for shadow in shadows:
            install(conn, shadow.projection, shadow.schema)
        began = time.monotonic()
        for batch, last in read_ahead(log.read, upto=upto, limit=limit):
            for shadow in shadows:
                shadow.fold(conn, tuples(conn), batch)
            if also is not None:
                also(batch)
            if report is not None:
                seconds = time.monotonic() - began
                report(Progress(position=last, head=upto, seconds=seconds))
        yield shadows


@contextmanager
def snapshot(conninfo: str) -> Iterator[Connection]:
    """A connection in one REPEATABLE READ transaction, rolled back at the end.

    No day of the ledger is closed meanwhile.
    """
    with psycopg.connect(conninfo, autocommit=True) as conn, held_ledger(conn):
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with conn.transaction(force_rollback=True):
            conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            conn.execute("SET LOCAL statement_timeout = 0")
            yield conn
