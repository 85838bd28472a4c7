"""Bringing read models to the head after much was recorded at once, and their statistics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psycopg
from psycopg import sql

from application.ports import EventLogPort
from projections.engine import Connection, Pause, Projection, schema_of, step, tuples
from projections.rebuild import BUILD_LIMIT, Progress

TOGETHER: Final = 3
"""Read models folded at a time: PostgreSQL works for one while we read and unseal for another."""
Report = Callable[[str, Progress], None]
"""(read model, how far it is); never called by two at a time."""


def catch_up(
    connect: Callable[[], Connection],
    log: EventLogPort,
    projections: Sequence[Projection],
    *,
    report: Report,
    limit: int = BUILD_LIMIT,
    together: int = TOGETHER,
) -> dict[str, Pause]:
    """Step each read model to the head in large batches; why each of them stopped there.

    `connect` gives connections in autocommit. Workers may do the same meanwhile: each batch is
    folded by one of us.
    """
    telling = threading.Lock()

    def to_head(projection: Projection) -> Pause:
        began = time.monotonic()
        with connect() as conn:
            while isinstance(reached := step(conn, log, projection, limit=limit), int):
                seconds = time.monotonic() - began
                progress = Progress(
                    position=reached, head=max(reached, log.head()), seconds=seconds
                )
                with telling:
                    report(projection.name, progress)
        return reached

    with ThreadPoolExecutor(together, thread_name_prefix="catch-up") as pool:
        ended = pool.map(to_head, projections)
        return {p.name: pause for p, pause in zip(projections, ended, strict=True)}


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
