"""`./ops/bench tracker`: what the tracker must be able to do, measured beside other trackers."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from ops.benchmarks.chain import await_folded, fill, measure_chain, measure_fold, measure_replay
from ops.benchmarks.document import PAGE, write_part
from ops.benchmarks.load import CompilerMissing, Load
from ops.benchmarks.machine import Machine, this_machine
from ops.benchmarks.paced import measure_latency, measure_steady
from ops.benchmarks.page import COMMAND, tracker_part
from ops.benchmarks.processes import BenchmarkFailed
from ops.benchmarks.rates import WORKS, measure_rates
from ops.benchmarks.restarts import Known, measure_restart
from ops.benchmarks.rivals import open_rivals
from ops.benchmarks.rows import Row, table_text
from ops.benchmarks.stage import Stage, open_stage
from ops.benchmarks.swarms import MEMBERS, PEERS, measure_memory, measure_swarm_size
from ops.logs import configure_logging

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything; the figures of the documents are of `FULL`."""

    torrents: int
    members: int
    runs: int
    seconds: float
    fold_records: int
    memory_torrents: int
    large_swarm: int
    known_torrents: int
    known_members: int
    minute_seconds: float


FULL = Scale(
    torrents=10_000,
    members=10_000,
    runs=3,
    seconds=3.0,
    fold_records=500_000,
    memory_torrents=20_000,
    large_swarm=50_000,
    known_torrents=1_000_000,
    known_members=100_000,
    minute_seconds=60.0,
)
QUICK = Scale(
    torrents=50,
    members=50,
    runs=1,
    seconds=0.5,
    fold_records=5_000,
    memory_torrents=50,
    large_swarm=500,
    known_torrents=1_000,
    known_members=1_000,
    minute_seconds=1.0,
)
FOLDED = ("fold", "chain", "replay")
PACED = ("latency-http", "latency-udp")
ALONE = ("memory", "swarm-size", "restart")
ROWS = (*WORKS, *FOLDED, *PACED, *ALONE)


def command(
    *,
    rows: Annotated[
        str, typer.Option(help=f"Comma-separated, of {', '.join(ROWS)}; all when none is given.")
    ] = "",
    steady: Annotated[
        int,
        typer.Option(min=0, max=600, help="Also load it steadily, so many minutes, 2 at least."),
    ] = 0,
    runs: Annotated[int, typer.Option(min=0, max=50, help="Turns of each; 0 is 3.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small and short: whether it runs, no figures.")
    ] = False,
    document: Annotated[
        bool, typer.Option("--document", help=f"Also write {PAGE}, which needs all rows.")
    ] = False,
    output: Annotated[Path, typer.Option("--json", help="Where the figures are written.")] = Path(
        "bench-results/tracker.json"
    ),
) -> None:
    """Measure a private installation in a temporary folder: tracker on one core, load on another.

    Other trackers (opentracker, bittorrent-tracker) are loaded the same way where installed.
    """
    wanted = _wanted(rows)
    if steady == 1:
        raise typer.BadParameter("The second minute is compared with the last: give 2 or more.")
    if document and (quick or set(wanted) != set(ROWS)):
        raise typer.BadParameter("The page holds all rows at full size: no --rows, no --quick.")
    configure_logging(level="warning", style="text")
    # So that a terminated benchmark, too, ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scale = QUICK if quick else FULL
    scale = replace(scale, runs=runs or scale.runs)
    machine = this_machine()
    try:
        found = list(_measured(wanted, scale, steady=steady, say=_say))
    except (BenchmarkFailed, CompilerMissing) as failure:
        typer.echo(f"bench: {failure}", err=True)
        raise typer.Exit(1) from None
    _write(found, machine, output, document=document, steady=steady)


def _write(
    found: Sequence[Row], machine: Machine, output: Path, *, document: bool, steady: int
) -> None:
    print(table_text(found))
    output.parent.mkdir(parents=True, exist_ok=True)
    figures = [row.as_json() for row in found]
    output.write_text(json.dumps({"machine": machine.as_json(), "rows": figures}, indent=2) + "\n")
    typer.echo(f"written to {output}", err=True)
    if document:
        told = f"{COMMAND} --steady {steady} --document" if steady else f"{COMMAND} --document"
        write_part("tracker", tracker_part(found, machine, command=told))
        typer.echo(f"written to {PAGE}", err=True)


def _wanted(rows: str) -> list[str]:
    wanted = [name.strip() for name in rows.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ROWS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is no row; there are {', '.join(ROWS)}.")
    return wanted or list(ROWS)


def _say(text: str) -> None:
    typer.echo(f"{text} …", err=True)


def _measured(wanted: Sequence[str], scale: Scale, *, steady: int, say: Say) -> Iterator[Row]:
    """The rows in the order of `ROWS`.

    What is loaded by the clock has an installation of its own, before all others: millions of
    records are written to the disk for minutes, and given back to it when their files go. Neither
    is part of a steady load.
    """
    paced = list(_paced_rows(wanted, scale, steady=steady, say=say))
    if set(wanted) & {*WORKS, *FOLDED}:
        with _filled_stage(scale, say) as stage:
            yield from _rate_rows(stage, wanted, scale, say)
            yield from _folded_rows(stage, wanted, scale, say)
    yield from paced
    if set(wanted) & set(ALONE):
        yield from _swarm_rows(wanted, scale, say)


@contextmanager
def _filled_stage(scale: Scale, say: Say) -> Iterator[Stage]:
    """An installation with all its peers; its worker is there and paused."""
    say(f"making {scale.members:,} members and {scale.torrents:,} torrents")
    with open_stage(torrents=scale.torrents, members=scale.members) as stage:
        stage.start_worker()
        await_folded(stage)
        stage.pause_worker()
        _require_sound(fill(stage, torrents=scale.torrents, peers=PEERS, say=say))
        yield stage


def _rate_rows(stage: Stage, wanted: Sequence[str], scale: Scale, say: Say) -> Iterator[Row]:
    works = [work for name, work in WORKS.items() if name in wanted]
    if not works:
        return
    with open_rivals(stage.folder, stage.fixture) as rivals:
        for rival in rivals.running:
            say(f"filling {rival.name}")
            filling = Load(protocol="udp", fill=True, keyless=True)
            rival.run(stage.generators, filling, stage.fixture)
        yield from measure_rates(
            stage, rivals, works=works, runs=scale.runs, seconds=scale.seconds, say=say
        )


def _folded_rows(stage: Stage, wanted: Sequence[str], scale: Scale, say: Say) -> Iterator[Row]:
    """Those the worker is part of; it goes on working afterwards."""
    stage.resume_worker()
    if "fold" in wanted:
        yield measure_fold(stage, runs=scale.runs, records=scale.fold_records, say=say)
    if "chain" in wanted:
        yield measure_chain(stage, runs=scale.runs, seconds=2 * scale.seconds, say=say)
    if "replay" in wanted:
        yield measure_replay(stage, runs=scale.runs, say=say)


def _paced_rows(wanted: Sequence[str], scale: Scale, *, steady: int, say: Say) -> Iterator[Row]:
    """Loaded by the clock, while the worker folds."""
    if not (steady or set(wanted) & set(PACED)):
        return
    with _filled_stage(scale, say) as stage:
        stage.resume_worker()
        await_folded(stage)
        for name, load, words in (
            ("latency-http", Load(protocol="http"), "HTTP, new connection each"),
            ("latency-udp", Load(protocol="udp", connect_each=True), "UDP connect + announce"),
        ):
            if name in wanted:
                seconds = 2 * scale.seconds
                yield measure_latency(
                    stage, load, name=words, runs=scale.runs, seconds=seconds, say=say
                )
        if steady:
            load, minute = Load(protocol="http"), scale.minute_seconds
            yield from measure_steady(stage, load, minutes=steady, minute_seconds=minute, say=say)


def _swarm_rows(wanted: Sequence[str], scale: Scale, say: Say) -> Iterator[Row]:
    say(f"making {MEMBERS:,} members and {scale.memory_torrents:,} torrents")
    members = min(MEMBERS, scale.large_swarm)
    with open_stage(torrents=scale.memory_torrents, members=members) as stage:
        if "memory" in wanted:
            yield measure_memory(stage, torrents=scale.memory_torrents, say=say)
        if "swarm-size" in wanted:
            yield measure_swarm_size(
                stage, runs=scale.runs, seconds=scale.seconds, large=scale.large_swarm, say=say
            )
        if "restart" in wanted:
            if "memory" not in wanted:
                _require_sound(fill(stage, torrents=scale.memory_torrents, peers=PEERS, say=say))
            known = Known(
                torrents=scale.known_torrents,
                members=scale.known_members,
                peers=scale.memory_torrents * PEERS,
            )
            yield from measure_restart(
                stage, known, runs=scale.runs, seconds=4 * scale.seconds, say=say
            )


def _require_sound(faults: int) -> None:
    if faults:
        raise BenchmarkFailed(f"{faults} announces failed while the swarms were filled")
