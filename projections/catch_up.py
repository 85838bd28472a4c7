"""Bringing read models to the head after much was recorded at once, and their statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from application.ports import EventLogPort
from projections.engine import Connection, Pause, Projection, schema_of, step, tuples
from projections.rebuild import BUILD_LIMIT, Progress

Report = Callable[[str, Progress], None]
"""(read model, how far it is)"""


def catch_up(
    conn: Connection,
    log: EventLogPort,
    projections: Sequence[Projection],
    *,
    report: Report,
    limit: int = BUILD_LIMIT,
) -> dict[str, Pause]:
    """Step each read model to the head in large batches; why each of them stopped there.

    Workers may do the same meanwhile: each batch is folded by one of us.
    """
    ended: dict[str, Pause] = {}
    for projection in projections:
        began = time.monotonic()
        while isinstance(reached := step(conn, log, projection, limit=limit), int):
            seconds = time.monotonic() - began
            head = max(reached, log.head())
            report(projection.name, Progress(position=reached, head=head, seconds=seconds))
        ended[projection.name] = reached
    return ended


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
