"""Announces a second at saturation, beside other trackers under the same load."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ops.benchmarks.load import Load, Measured
from ops.benchmarks.processes import cpu_seconds
from ops.benchmarks.rivals import BITTORRENT_TRACKER, OPENTRACKER, Absent, Rivals
from ops.benchmarks.rows import Beside, Bound, Row
from ops.benchmarks.stage import Stage

Say = Callable[[str], None]
PARTS = 3
"""So many times in a run the servers take turns: a machine shared with others is faster and slower
by the half within seconds, and a ratio should not tell of that."""
SATURATED = 0.85
"""Part of its core a server must have used for its rate to be its own, not the generator's."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A kind of load. `bounds` hold must and aim of the ratio to each rival's rate."""

    name: str
    load: Load
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)


WORKS = {
    "http": Work(
        name="HTTP, new connection each",
        load=Load(protocol="http"),
        bounds={BITTORRENT_TRACKER: (8, 10), OPENTRACKER: (0.4, 0.5)},
    ),
    "keep-alive": Work(
        name="HTTP keep-alive",
        load=Load(protocol="http", keep_alive=True),
        bounds={BITTORRENT_TRACKER: (8, 12)},
    ),
    "udp": Work(name="UDP announce with key", load=Load(protocol="udp")),
    "udp-connect": Work(
        name="UDP connect + announce with key",
        load=Load(protocol="udp", connect_each=True),
        bounds={BITTORRENT_TRACKER: (6, 8), OPENTRACKER: (0.25, 0.4)},
    ),
}


@dataclass
class Turn:
    """One run against one server, in parts, and the CPU time the server took for it, seconds."""

    parts: list[Measured] = field(default_factory=list)
    cpu: float = 0.0

    def add(self, measured: Measured, cpu: float) -> None:
        """Take in another part."""
        self.parts.append(measured)
        self.cpu += cpu

    @property
    def done(self) -> int:
        return sum(part.done for part in self.parts)

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def faults(self) -> int:
        return sum(part.faults for part in self.parts)

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def by_cpu(self) -> float:
        return self.done / self.cpu if self.cpu else 0.0

    @property
    def is_saturated(self) -> bool:
        """Whether the server's core was the limit, not the core of the load."""
        return self.cpu / self.seconds >= SATURATED


def measure_rates(
    stage: Stage,
    rivals: Rivals,
    *,
    works: Sequence[Work],
    runs: int,
    seconds: float,
    say: Say,
) -> list[Row]:
    """Each work in turn, `runs` times; all servers hold the same peers, and take turns in parts."""
    rows = []
    for work in works:
        load = replace(work.load, seconds=seconds / PARTS)
        rows.append(_measure_work(stage, rivals, replace(work, load=load), runs=runs, say=say))
    return rows


def _measure_work(stage: Stage, rivals: Rivals, work: Work, *, runs: int, say: Say) -> Row:
    load, keyless = work.load, replace(work.load, keyless=True)
    beside = [rival for rival in rivals.running if rival.keeps_connections or not load.keep_alive]
    ours: list[Turn] = []
    theirs: dict[str, list[Turn]] = {rival.name: [] for rival in beside}
    for run in range(runs):
        say(f"{work.name}, run {run + 1} of {runs}")
        mine = Turn()
        others = {rival.name: Turn() for rival in beside}
        for _ in range(PARTS):
            _add_part(mine, partial(cpu_seconds, stage.tracker_pid), partial(stage.run, load))
            for rival in beside:
                run_rival = partial(rival.run, stage.generators, keyless, stage.fixture)
                _add_part(others[rival.name], rival.cpu, run_rival)
        ours.append(mine)
        for name, turn in others.items():
            theirs[name].append(turn)
    closing = [
        Absent(rival.name, "closes every connection")
        for rival in rivals.running
        if rival not in beside
    ]
    return _row(work, ours, theirs, [*rivals.absent, *closing])


def _add_part(turn: Turn, cpu: Callable[[], float], run: Callable[[], Measured]) -> None:
    before = cpu()
    measured = run()
    turn.add(measured, cpu() - before)


def _row(
    work: Work, ours: Sequence[Turn], theirs: dict[str, list[Turn]], absent: Sequence[Absent]
) -> Row:
    bounds = []
    for name, (must, aim) in work.bounds.items():
        if turns := theirs.get(name):
            saturated = all(turn.is_saturated for turn in (*ours, *turns))
            ratios = [
                _ratio(mine, other, by_cpu=not saturated)
                for mine, other in zip(ours, turns, strict=True)
            ]
            of = name if saturated else f"{name} by CPU"
            bounds.append(Bound(value=statistics.median(ratios), must=must, aim=aim, of=of))
    beside = [
        Beside(
            name=name,
            value=statistics.median(turn.rate for turn in turns),
            by_cpu=statistics.median(turn.by_cpu for turn in turns),
            note=_faults_of(turns),
        )
        for name, turns in theirs.items()
    ]
    return Row(
        name=work.name,
        value=statistics.median(turn.rate for turn in ours),
        unit="/s",
        runs=tuple(turn.rate for turn in ours),
        bounds=tuple(bounds),
        beside=(*beside, *(Beside(name=each.name, note=each.reason) for each in absent)),
        note="; ".join([_note(ours), *_ratios_by_rate(ours, theirs)]),
        faults=sum(turn.faults for turn in ours),
    )


def _ratio(mine: Turn, other: Turn, *, by_cpu: bool) -> float:
    """Rates of two servers the load could not saturate are compared as of a whole core each."""
    if by_cpu:
        return mine.by_cpu / (other.by_cpu or float("inf"))
    return mine.rate / (other.rate or float("inf"))


def _note(turns: Sequence[Turn]) -> str:
    parts = [part for turn in turns for part in turn.parts]
    p50 = statistics.median(part.p50_us for part in parts) / 1000
    p99 = statistics.median(part.p99_us for part in parts) / 1000
    cost = statistics.median(turn.cpu / max(1, turn.done) for turn in turns) * 1e6
    busy = statistics.median(turn.cpu / turn.seconds for turn in turns)
    by_cpu = statistics.median(turn.by_cpu for turn in turns)
    return (
        f"{cost:.1f} µs CPU an announce (by CPU {by_cpu:,.0f}/s), core {busy:.0%} the tracker's, "
        f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    )


def _ratios_by_rate(ours: Sequence[Turn], theirs: dict[str, list[Turn]]) -> list[str]:
    """The plain ratios too, whatever limited each: nobody has to take our word for which counts."""
    found = []
    for name, turns in theirs.items():
        pairs = zip(ours, turns, strict=True)
        ratio = statistics.median(_ratio(mine, other, by_cpu=False) for mine, other in pairs)
        found.append(f"by plain rate {ratio:.2f}× {name}")
    return found


def _faults_of(turns: Sequence[Turn]) -> str:
    faults = sum(turn.faults for turn in turns)
    return f"{faults} announces failed" if faults else ""
