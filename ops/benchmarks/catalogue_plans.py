"""The plans PostgreSQL really used for what the API asked, read from its log (auto_explain)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_PRELOAD = "session_preload_libraries"
_SETTINGS = {
    _PRELOAD: "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_nested_statements": "on",
}
SCANS = frozenset({"Seq Scan", "Parallel Seq Scan"})


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A sequential scan: of which table, and how many rows it read, also those it threw away."""

    table: str
    rows: int
    query: str


@contextmanager
def explaining(superuser_url: str, database: str) -> Iterator[None]:
    """New connections to `database` log the plan of everything they run."""
    with psycopg.connect(superuser_url, autocommit=True) as conn:
        for name, value in _SETTINGS.items():
            conn.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(database), sql.SQL(name), sql.Literal(value)
                )
            )
        try:
            yield
        finally:
            conn.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(database)))


class PlanLog:
    """The server's log from now on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._begin = log.stat().st_size

    def plans(self) -> list[Mapping[str, Any]]:
        """Every plan logged since."""
        with self._log.open("rb") as file:
            file.seek(self._begin)
            text = file.read().decode(errors="replace")
        return list(read_plans(text))


def read_plans(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON objects that stand behind `plan:` in a server's log."""
    decoder = json.JSONDecoder()
    for entry in text.split(" plan:\n")[1:]:
        # Continued lines of an entry begin with a tab.
        body = entry.replace("\n\t", "\n").lstrip()
        try:
            plan, _ = decoder.raw_decode(body)
        except ValueError:
            # Cut off: the server is still writing it.
            continue
        yield plan


def large_scans(plan: Mapping[str, Any], *, most: int) -> Iterator[Scan]:
    """Sequential scans in a plan that read more than `most` rows."""
    query = " ".join(str(plan.get("Query Text", "")).split())
    waiting = [plan["Plan"]] if "Plan" in plan else []
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", ())
        if node.get("Node Type") not in SCANS:
            continue
        rows = int(node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0))
        if rows > most:
            yield Scan(table=str(node.get("Relation Name", "?")), rows=rows, query=query)
