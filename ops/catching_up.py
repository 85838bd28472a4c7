"""Bringing every read model to the head in large steps, with progress, from a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import Connection

from application.ports import EventLogPort
from ops.progress import ProgressLine
from projections.catch_up import analyze, catch_up
from projections.engine import Pause
from projections.rebuild import Progress
from projections.registry import ALL


def bring_up_to_date(connect: Callable[[], Connection[Any]], log: EventLogPort) -> dict[str, Pause]:
    """Fold what is recorded, and let the planner know; why each read model ended where it is.

    `connect` gives connections in autocommit.
    """
    line = ProgressLine()

    def report(name: str, progress: Progress) -> None:
        line.show(f"{name}: {progress.position:,} of {progress.head:,}, {progress.rate:,.0f}/s")

    try:
        ended = catch_up(connect, log, ALL, report=report)
        line.show("counting the tables …")
        with connect() as conn:
            analyze(conn, ALL)
    finally:
        line.done()
    return ended
