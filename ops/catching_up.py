"""Bringing every read model to the head in large steps, with progress, from a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import Connection

from application.ports import EventLogPort
from ops.failures import OperatorError
from ops.progress import ProgressLine
from projections.catch_up import analyze, catch_up
from projections.engine import IDLE
from projections.rebuild import Progress
from projections.registry import ALL


class CatchUpFailed(OperatorError):
    """Some read model could not be brought to the head."""


def bring_up_to_date(connect: Callable[[], Connection[Any]], log: EventLogPort) -> None:
    """Fold what is recorded, and let the planner know.

    `connect` gives connections in autocommit. Raises `CatchUpFailed`, which names the read
    models that are not at the head and why; the others are.
    """
    line = ProgressLine()

    def report(name: str, progress: Progress) -> None:
        line.show(f"{name}: {progress.position:,} of {progress.head:,}, {progress.rate:,.0f}/s")

    def waiting(name: str) -> None:
        line.show(f"{name}: waiting for another worker, who is folding it …")

    try:
        ended = catch_up(connect, log, ALL, report=report, waiting=waiting)
        line.show("counting the tables …")
        with connect() as conn:
            analyze(conn, ALL)
    finally:
        line.done()
    behind = [f"{name} ({pause.value})" for name, pause in ended.items() if pause is not IDLE]
    if behind:
        raise CatchUpFailed(f"Not at the head: {', '.join(behind)}.")
