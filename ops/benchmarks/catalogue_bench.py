"""`./ops/bench catalogue`: browsing, searching and showing a community of any size."""

from __future__ import annotations

import json
import random
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from ops.benchmarks.catalogue_asks import (
    KINDS,
    Ask,
    Kind,
    all_asks,
    cursor_ask,
    deep_page,
    path,
)
from ops.benchmarks.catalogue_counters import CHANGES, Counters, changing
from ops.benchmarks.catalogue_growth import Growth, measure_growth
from ops.benchmarks.catalogue_page import catalogue_part
from ops.benchmarks.catalogue_plain import statement
from ops.benchmarks.catalogue_plans import PlanLog, Scan, explaining, large_scans
from ops.benchmarks.catalogue_rows import SMALLER, ask_row, growth_rows, loading_rows, search_rows
from ops.benchmarks.catalogue_set import SEED, Shape
from ops.benchmarks.catalogue_stage import Stage, open_stage
from ops.benchmarks.catalogue_timing import Client, Timed, measure, percentile
from ops.benchmarks.document import PAGE, write_part
from ops.benchmarks.machine import Machine, this_machine
from ops.benchmarks.processes import BenchmarkFailed, pinned_to
from ops.benchmarks.rows import Bound, Row, table_text
from ops.logs import configure_logging
from projections.catch_up import analyze
from projections.registry import ALL

SHOWN = 200
"""Torrents and members that are looked at one by one."""
SOUGHT = 105
"""Torrents that are looked for by what members would type."""
SCAN_ROWS = 10_000
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long each ask is measured: so many turns, or until the seconds are over."""

    turns: int
    seconds: float


FULL = Effort(turns=400, seconds=10.0)
QUICK = Effort(turns=5, seconds=0.2)


def command(
    *,
    scale: Annotated[
        float,
        typer.Option(
            min=0.0001,
            max=1.0,
            help="Part of 1,000,000 torrents, 100,000 members, 5,000,000 comments and 3,000,000 "
            "favourites.",
        ),
    ] = 1.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few turns: whether it runs, no figures.")
    ] = False,
    kinds: Annotated[
        str, typer.Option(help=f"Comma-separated, of {', '.join(KINDS)}; all when none is given.")
    ] = "",
    growth: Annotated[
        bool, typer.Option(help=f"Also measure a community {SMALLER} times smaller.")
    ] = True,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="A folder for the communities, to measure them again without loading them."
        ),
    ] = None,
    document: Annotated[
        bool, typer.Option("--document", help=f"Also write {PAGE}, which needs the full scale.")
    ] = False,
    output: Annotated[Path, typer.Option("--json", help="Where the figures are written.")] = Path(
        "bench-results/catalogue.json"
    ),
) -> None:
    """Measure whole HTTP requests beside the plain SQL for the same answer, turn by turn.

    The community is made up and goes in by `trackarr import`, into servers of its own.
    """
    wanted = _wanted(kinds)
    if document and (quick or not growth or wanted != KINDS):
        raise typer.BadParameter(
            "The page holds all rows in full: no --quick, no --kinds, no --no-growth."
        )
    configure_logging(level="warning", style="text")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine = this_machine()
    try:
        found = measure_catalogue(
            scale,
            QUICK if quick else FULL,
            kinds=wanted,
            growth=growth,
            keep=keep,
            say=_say,
        )
    except BenchmarkFailed as failure:
        typer.echo(f"bench: {failure}", err=True)
        raise typer.Exit(1) from None
    print(table_text(found))
    _write(found, machine, output, scale=scale, document=document)


def _write(
    found: Sequence[Row], machine: Machine, output: Path, *, scale: float, document: bool
) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    figures = [row.as_json() for row in found]
    output.write_text(
        json.dumps({"machine": machine.as_json(), "scale": scale, "rows": figures}, indent=2) + "\n"
    )
    typer.echo(f"written to {output}", err=True)
    if document:
        write_part("catalogue", catalogue_part(found, machine, Shape.of(scale), scale=scale))
        typer.echo(f"written to {PAGE}", err=True)


def _wanted(kinds: str) -> tuple[Kind, ...]:
    named = [name.strip() for name in kinds.split(",") if name.strip()]
    unknown = [name for name in named if name not in KINDS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is no kind; there are {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in named) or KINDS


def _say(text: str) -> None:
    typer.echo(f"{text} …", err=True)


def measure_catalogue(
    scale: float,
    effort: Effort,
    *,
    kinds: Sequence[Kind],
    growth: bool,
    keep: Path | None = None,
    say: Say,
) -> list[Row]:
    """All rows, in the order of the page."""
    shape = Shape.of(scale)
    say(f"making the community of {shape.torrents:,} torrents")
    with open_stage(shape, kept=keep and keep / "full", say=say) as stage:
        rows = list(loading_rows(stage))
        with _ready(stage, shape, say=say) as ready:
            asked = _asked(ready, effort, kinds, say=say)
            rows += [ask_row(timed) for timed in asked]
            if "search" in kinds:
                rows += search_rows(asked)
            if growth:
                rows += growth_rows(
                    _growths(
                        ready, Shape.of(scale / SMALLER), effort, kinds=kinds, keep=keep, say=say
                    )
                )
            if "browse" in kinds:
                say("changing counters meanwhile")
                rows.append(_changes_row(stage, ready, effort))
        say("reading the plans of all asks")
        rows.append(_plans_row(stage, shape, kinds))
    return rows


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """A signed-in connection to the api, one to the database, and whose community it is."""

    client: Client
    conn: psycopg.Connection[Any]
    shape: Shape


@contextmanager
def _ready(stage: Stage, shape: Shape, *, say: Say | None = None) -> Iterator[_Ready]:
    """The api of a stage runs in this block; with `say` the counters are filled before."""
    with stage.connect() as conn, pinned_to(stage.other_core):
        if say is not None:
            say("filling the live counts")
            Counters(conn, torrents=shape.torrents).fill()
            analyze(conn, ALL)
        stage.start_api()
        try:
            with stage.client() as client:
                yield _Ready(client=client, conn=conn, shape=shape)
        finally:
            stage.stop_api()


def _growths(
    ready: _Ready,
    shape: Shape,
    effort: Effort,
    *,
    kinds: Sequence[Kind],
    keep: Path | None,
    say: Say,
) -> list[Growth]:
    """First pages and single ones beside those of a community of that shape."""
    say(f"making the smaller community of {shape.torrents:,} torrents")
    with (
        open_stage(shape, kept=keep and keep / "smaller", say=say) as stage,
        _ready(stage, shape, say=say) as other,
    ):
        small = {ask.name: ask for ask in _asks(other)}
        found = []
        for ask in _asks(ready):
            if ask.kind in kinds and ask.first and ask.name in small:
                say(f"beside the smaller community: {ask.name}")
                found.append(
                    measure_growth(
                        (other.client, small[ask.name]),
                        (ready.client, ask),
                        turns=effort.turns,
                        seconds=effort.seconds,
                    )
                )
        return found


def _asked(ready: _Ready, effort: Effort, kinds: Sequence[Kind], *, say: Say) -> list[Timed]:
    """Every ask measured."""
    found: list[Timed] = []
    for ask in _asks(ready):
        if ask.kind not in kinds:
            continue
        say(f"asking: {ask.name}")
        found.append(
            measure(ready.client, ready.conn, ask, turns=effort.turns, seconds=effort.seconds)
        )
    return found


def _asks(ready: _Ready) -> Iterator[Ask]:
    client, conn, shape = ready.client, ready.conn, ready.shape
    shuffled = random.Random(SEED)  # noqa: S311 (no secret)
    torrents = conn.execute(
        statement(
            "SELECT info_hash, name FROM {torrents}.torrents"
            " WHERE status = 'accepted' AND NOT withdrawn ORDER BY listed LIMIT 5000"
        ).encode()
    ).fetchall()
    shown = shuffled.sample(torrents, min(SHOWN, len(torrents)))
    sought = shuffled.sample(torrents, min(SOUGHT, len(torrents)))
    members = [
        str(row[0])
        for row in conn.execute(
            statement("SELECT id FROM {users}.accounts ORDER BY number LIMIT %s").encode(), [SHOWN]
        ).fetchall()
    ]
    yield from all_asks(
        shape,
        [str(info_hash) for info_hash, _ in shown],
        [str(name) for _, name in sought],
        members,
    )
    page = client.json(path(sort="recent", page=deep_page(shape)))
    cursor = page.get("nextCursor") or page["pagination"].get("nextCursor")
    if cursor is None:
        raise BenchmarkFailed("the page far down has no cursor")
    yield cursor_ask(shape, cursor, members)


def _changes_row(stage: Stage, ready: _Ready, effort: Effort) -> Row:
    """Browsing by live counts while counters change; the quiet half is measured just before."""
    client, conn, shape = ready.client, ready.conn, ready.shape
    ask = next(ask for ask in _asks(ready) if ask.name == "browse by seeders, page 1")
    # The requests are what counts here, so nothing stands beside them.
    beside = Ask(
        name=ask.name, kind=ask.kind, plain=["SELECT 1"], variants=[(ask.variants[0][0], {})]
    )
    quiet = measure(client, conn, beside, turns=10 * effort.turns, seconds=effort.seconds)
    with changing(stage.urls.app_url, torrents=shape.torrents) as took:
        loud = measure(client, conn, beside, turns=10**9, seconds=max(3.0, effort.seconds))
    before, under = percentile(quiet.requests, 95), percentile(loud.requests, 95)
    return Row(
        name=f"browse by seeders, p95 under {CHANGES:,} counter changes a second",
        value=under,
        unit="ms",
        bounds=(Bound(value=under / before, must=1.5, aim=1.2, kind="<=", of="quiet"),),
        note=f"quiet {before:.2f}; a write took {statistics.median(took) * 1000:,.0f} ms",
        faults=len(quiet.refused) + len(loud.refused),
        load="requests",
    )


def _plans_row(stage: Stage, shape: Shape, kinds: Sequence[Kind]) -> Row:
    """Sequential scans over many rows in anything the asks made the server run."""
    scans: dict[tuple[str, str], Scan] = {}
    plans = 0
    with explaining(stage.superuser_url, stage.database):
        with _ready(stage, shape) as ready:
            asks = [ask for ask in _asks(ready) if ask.kind in kinds]
            log = PlanLog(stage.server_log)
            for ask in asks:
                # Often enough that prepared statements come to their lasting plan.
                for turn in range(12):
                    ready.client.get(ask.variants[turn % len(ask.variants)][0])
        for plan in log.plans():
            plans += 1
            for scan in large_scans(plan, most=SCAN_ROWS):
                scans[scan.table, scan.query] = scan
    if plans == 0:
        raise BenchmarkFailed("the server's log holds no plans")
    worst = sorted(scans.values(), key=lambda scan: -scan.rows)[:3]
    told = "; ".join(f"{scan.table} {scan.rows:,} in {scan.query[:120]}" for scan in worst)
    return Row(
        name=f"sequential scans over more than {SCAN_ROWS:,} rows",
        value=len(scans),
        unit=f"in {plans:,} plans",
        bounds=(Bound(value=len(scans), must=0, aim=0, kind="<="),),
        note=told.replace("|", "/"),
    )
