"""Rows of the catalogue's benchmark, made of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from ops.benchmarks.catalogue_asks import REALISTIC
from ops.benchmarks.catalogue_growth import Growth
from ops.benchmarks.catalogue_stage import Stage
from ops.benchmarks.catalogue_timing import Timed, percentile
from ops.benchmarks.rows import Bound, Row

AIM_FACTS = 20_000
SEARCH_P95_MS = 30.0
SEARCH_WORST_MS = 2_000.0
SMALLER = 100
"""Growth is measured against a community so many times smaller."""
JUDGED = frozenset({"browse", "detail"})
"""Kinds of asks that are held to a bound each."""
CATALOGUE = JUDGED | {"filter"}
"""Kinds whose first pages must not grow with the catalogue."""


def loading_rows(stage: Stage) -> Iterator[Row]:
    rate = stage.imported_facts / stage.import_seconds
    yield Row(
        name="trackarr import",
        value=rate,
        unit="facts/s",
        note=f"{stage.imported_facts:,} facts in {stage.import_seconds:,.0f} s, start included; "
        f"the aim of {AIM_FACTS:,} is {'met' if rate >= AIM_FACTS else 'missed'}",
    )
    yield Row(
        name="read models caught up",
        value=stage.imported_facts / stage.fold_seconds,
        unit="facts/s",
        note=f"all of them, {stage.fold_seconds:,.0f} s",
    )


def ask_row(timed: Timed) -> Row:
    """One ask: the median of whole requests, and how it stands to the plain statement."""
    ask, spread = timed.ask, [percentile(timed.requests, part) for part in (50, 95, 99)]
    judged = ask.kind in JUDGED
    bound = Bound(value=timed.ratio, must=2, aim=1, kind="<=", of="plain SQL")
    plain, prepared = percentile(timed.plain, 50), percentile(timed.prepared, 50)
    note = (
        f"p95 {spread[1]:.2f}, p99 {spread[2]:.2f}; "
        f"plain SQL {plain:.2f}, kept prepared {prepared:.2f}"
    )
    if not judged:
        note += f", ratio {timed.ratio:.2f}×"
    if timed.refused:
        note += f"; answered {timed.refused[0]}"
    return Row(
        name=ask.name,
        value=spread[0],
        unit="ms",
        bounds=(bound,) if judged else (),
        note=note,
        faults=len(timed.refused),
        load="requests",
    )


def search_rows(asked: Sequence[Timed]) -> Iterator[Row]:
    searches = [timed for timed in asked if timed.ask.kind == "search"]
    all_times = [time for timed in searches for time in timed.requests]
    p95 = percentile(
        [
            time
            for timed in searches
            for time in timed.requests
            if timed.ask.name.startswith(REALISTIC)
        ],
        95,
    )
    yield Row(
        name=f"{REALISTIC}, p95",
        value=p95,
        unit="ms",
        bounds=(Bound(value=p95, must=SEARCH_P95_MS, aim=SEARCH_P95_MS / 2, kind="<="),),
    )
    worst = max(all_times)
    slowest = max(searches, key=lambda timed: max(timed.requests)).ask.name
    yield Row(
        name="all searches, worst",
        value=worst,
        unit="ms",
        bounds=(Bound(value=worst, must=SEARCH_WORST_MS, aim=SEARCH_WORST_MS / 10, kind="<="),),
        note=slowest,
    )


def growth_rows(found: Sequence[Growth]) -> Iterator[Row]:
    """What grew most from the smaller community to this one.

    The catalogue's first pages and a torrent's page are judged; what a member has of his own
    stands beside them.
    """
    for judged in (True, False):
        grown = [each for each in found if (each.kind in CATALOGUE) == judged]
        if not grown:
            continue
        most = max(grown, key=lambda each: each.ratio)
        bound = Bound(value=most.ratio, must=1.5, aim=1.2, kind="<=", of="the smaller")
        what = "first pages and torrents' pages" if judged else "profiles and own favourites"
        each = ", ".join(f"{one.name} {one.ratio:.2f}×" for one in grown)
        yield Row(
            name=f"growth by {SMALLER} of {what}",
            value=statistics.median(one.ratio for one in grown),
            unit="×",
            bounds=(bound,) if judged else (),
            note=f"{most.small:.2f} to {most.large:.2f} ms at most; {each}",
        )
