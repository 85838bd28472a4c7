"""The rows of the tracker's benchmark: a figure, what it must be, what we aim at, who is beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

PASS, MISSED = "PASS", "missed"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What is demanded: `value` at least, or at most, `must`; better `aim`.

    `value` is in the unit of the row, or a ratio where `of` names a rival or a moment.
    """

    value: float
    must: float
    aim: float
    kind: Literal[">=", "<="] = ">="
    of: str = ""

    @property
    def must_met(self) -> bool:
        return self._within(self.must)

    @property
    def aim_met(self) -> bool:
        return self._within(self.aim)

    def _within(self, limit: float) -> bool:
        return self.value >= limit if self.kind == ">=" else self.value <= limit


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a rival did of the same work in the same run; `note` says why there is no figure."""

    name: str
    value: float | None = None
    by_cpu: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure with its verdict.

    `runs` are the single measurements `value` is the median of. `note` tells what belongs to the
    figure, faults of the load above all; `load` is what the load consists of.
    """

    name: str
    value: float
    unit: str
    runs: tuple[float, ...] = ()
    bounds: tuple[Bound, ...] = ()
    beside: tuple[Beside, ...] = ()
    note: str = ""
    faults: int = 0
    load: str = "announces"

    @property
    def must_met(self) -> bool | None:
        """None where nothing is demanded, or what it is compared with is absent."""
        return self._verdict([bound.must_met for bound in self.bounds])

    @property
    def aim_met(self) -> bool | None:
        return self._verdict([bound.aim_met for bound in self.bounds])

    def _verdict(self, met: Sequence[bool]) -> bool | None:
        if self.faults:
            return False
        return all(met) if met else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "must_met": self.must_met, "aim_met": self.aim_met}


def shown(value: float) -> str:
    """A figure as people read it."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def verdict_of(met: bool | None) -> str:  # noqa: FBT001 (what it words)
    return "" if met is None else PASS if met else MISSED


def cells(row: Row) -> tuple[str, ...]:
    """The columns of `HEADINGS` of one row."""
    value = f"{shown(row.value)} {row.unit}"
    if len(row.runs) > 1:
        value += f" ({shown(min(row.runs))}–{shown(max(row.runs))})"
    beside = [_beside(each) for each in row.beside]
    must = [_bound(bound, bound.must) for bound in row.bounds]
    aim = [_bound(bound, bound.aim) for bound in row.bounds]
    ratios = [f"{shown(bound.value)}×" for bound in row.bounds if bound.of]
    note = "; ".join(
        part for part in (row.note, f"{row.faults} {row.load} failed" if row.faults else "") if part
    )
    return (
        row.name,
        value,
        "; ".join(beside),
        "; ".join(ratios),
        "; ".join(must),
        verdict_of(row.must_met),
        "; ".join(aim),
        verdict_of(row.aim_met),
        note,
    )


HEADINGS = ("Work", "Trackarr", "Beside it", "Ratio", "Must", "", "Aim", "", "Notes")


def _bound(bound: Bound, limit: float) -> str:
    sign = {">=": "≥", "<=": "≤"}[bound.kind]
    return f"{sign} {limit:,g}" + (f"× {bound.of}" if bound.of else "")


def _beside(beside: Beside) -> str:
    if beside.value is None:
        return f"{beside.name}: {beside.note}"
    by_cpu = f" (by CPU {shown(beside.by_cpu)})" if beside.by_cpu else ""
    return f"{beside.name} {shown(beside.value)}{by_cpu}"


def table_text(rows: Sequence[Row]) -> str:
    """A Markdown table, for the page and for the terminal."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines)
