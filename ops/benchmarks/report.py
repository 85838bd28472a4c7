"""Figures of a benchmark beside their baselines: a table for people, JSON for machines."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value; `baseline` was measured in the same run, turn by turn with it.

    `aim` says what we want of it in words, `aim_met` whether it is so.
    """

    part: str
    name: str
    value: float
    unit: str
    baseline_name: str = ""
    baseline: float | None = None
    aim: str = ""
    aim_met: bool | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


def paired(
    runs: int, ours: Callable[[int], float], baseline: Callable[[int], float]
) -> tuple[float, float, float]:
    """Medians of both and of the ratio pair by pair; the two are measured in turn.

    Machines are noisy: what slows one turn slows both of its pair.
    """
    pairs = [(ours(run), baseline(run)) for run in range(runs)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[0] / pair[1] for pair in pairs),
    )


def durability(conn: psycopg.Connection[Any]) -> str:
    """How this server makes a commit durable; stands beside every figure that depends on it."""
    names = ("fsync", "synchronous_commit", "wal_sync_method", "full_page_writes")
    found = []
    for name in names:
        row = conn.execute("SELECT current_setting(%s)", (name,)).fetchone()
        found.append(f"{name}={row[0] if row else '?'}")
    return ", ".join(found)


def print_table(figures: Sequence[Figure], *, setting: str) -> None:
    table = Table(title=f"Medians; {setting}", title_justify="left")
    for column in ("part", "figure", "value", "baseline", "ratio", "aim"):
        table.add_column(column, justify="right" if column in {"value", "ratio"} else "left")
    for figure in figures:
        beside = ""
        if figure.baseline is not None:
            beside = f"{_shown(figure.baseline)} {figure.unit} {figure.baseline_name}"
        verdict = "" if figure.aim_met is None else (" met" if figure.aim_met else " missed")
        table.add_row(
            figure.part,
            figure.name,
            f"{_shown(figure.value)} {figure.unit}",
            beside,
            f"{figure.ratio:.2f}" if figure.ratio else "",
            figure.aim + verdict,
        )
    Console(width=140).print(table)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
