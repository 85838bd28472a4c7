"""Latency under a load by the clock: at half of saturation, and over ten minutes without a rise."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from ops.benchmarks.chain import await_folded
from ops.benchmarks.load import Load, Measured
from ops.benchmarks.processes import resident_bytes
from ops.benchmarks.rows import Bound, Row
from ops.benchmarks.stage import Stage

Say = Callable[[str], None]
IN_FLIGHT = 1024
"""Enough that a stall delays requests instead of leaving them out."""
FIRST_SETTLING = 8
"""So many times as long as a run lasts, the load goes on before anything is measured."""
SETTLING = 2
"""The same before each later run."""
SECOND_MINUTE = 2


def measure_latency(
    stage: Stage, load: Load, *, name: str, runs: int, seconds: float, say: Say
) -> Row:
    """p99 at half the rate of saturation, which is measured first, under the same conditions.

    The server is on one core, the load with all that may wait on the other: a generator that
    competes for its core sends late, and takes that for the server's time.
    """
    with stage.server_on_one_core():
        return _latency_at_half(stage, load, name=name, runs=runs, seconds=seconds, say=say)


def _latency_at_half(
    stage: Stage, load: Load, *, name: str, runs: int, seconds: float, say: Say
) -> Row:
    found: list[Measured] = []
    turns: list[Measured] = []
    saturations: list[float] = []
    for run in range(runs):
        # Each run has its own: a shared machine may be faster or slower by the half meanwhile.
        say(f"saturation, {name}")
        reached = stage.run(replace(load, seconds=seconds / 2))
        _settle(stage)
        half = replace(load, seconds=seconds, rate=max(1.0, reached.rate / 2), in_flight=IN_FLIGHT)
        settling = FIRST_SETTLING if run == 0 else SETTLING
        say(f"half of saturation, {name}, to begin with")
        before = stage.run(replace(half, seconds=settling * seconds))
        say(f"half of saturation, {name}, run {run + 1} of {runs}")
        turns.append(stage.run(half))
        found += [reached, before]
        saturations.append(reached.rate)
    saturation = statistics.median(saturations)
    values = tuple(turn.p99_us / 1000 for turn in turns)
    value = statistics.median(values)
    p50, p999 = (
        statistics.median(getattr(turn, which) for turn in turns) / 1000
        for which in ("p50_us", "p999_us")
    )
    return Row(
        name=f"p99 at half of saturation, {name}",
        value=value,
        unit="ms",
        runs=values,
        bounds=(Bound(value=value, must=10, aim=5, kind="<="),),
        note=(
            f"at {statistics.median(turn.rate for turn in turns):,.0f}/s of {saturation:,.0f}/s "
            f"with the worker folding; p50 {p50:.2f} ms, p99.9 {p999:.2f} ms"
        ),
        faults=sum(turn.faults for turn in (*found, *turns)),
    )


def _settle(stage: Stage) -> None:
    """Let what came before end, as it is no part of a steady load: records to be folded, and pages
    the system would write by the hundred megabytes half a minute later.
    """
    await_folded(stage)
    os.sync()


def measure_steady(
    stage: Stage, load: Load, *, minutes: int, minute_seconds: float, say: Say
) -> list[Row]:
    """Half of saturation for so many minutes: memory and p99 of the last against the second."""
    say("saturation, for the steady load")
    found = stage.run(replace(load, seconds=3.0))
    _settle(stage)
    memory: list[dict[str, int]] = []
    turns: list[Measured] = []

    def minute_ended(measured: Measured) -> None:
        turns.append(measured)
        memory.append(
            {
                "tracker": resident_bytes(stage.tracker_pid),
                "worker": resident_bytes(stage.worker_pid),
            }
        )
        say(f"steady load, minute {len(turns)} of {minutes}")

    rate = max(1.0, found.rate / 2)
    steady = replace(
        load,
        rate=rate,
        in_flight=IN_FLIGHT,
        # A little longer, so that the last minute is a whole one.
        seconds=minutes * minute_seconds + 1.0,
        window_seconds=minute_seconds,
    )
    whole = stage.run(steady, on_window=minute_ended)
    return [
        _memory_row(memory, minutes, rate),
        _latency_row(turns, minutes, rate, whole.faults),
    ]


def _memory_row(memory: Sequence[dict[str, int]], minutes: int, rate: float) -> Row:
    second, last = memory[SECOND_MINUTE - 1], memory[minutes - 1]
    value = last["tracker"] / second["tracker"]
    mib = {name: (second[name] / 2**20, last[name] / 2**20) for name in last}
    return Row(
        name=f"Tracker memory after minute {minutes} against minute {SECOND_MINUTE}",
        value=value,
        unit="×",
        bounds=(Bound(value=value, must=1.05, aim=1.05, kind="<="),),
        note=f"{rate:,.0f} announces/s; "
        + ", ".join(f"{name} {old:.0f} → {new:.0f} MiB" for name, (old, new) in mib.items()),
    )


def _latency_row(turns: Sequence[Measured], minutes: int, rate: float, faults: int) -> Row:
    second, last = turns[SECOND_MINUTE - 1].p99_us / 1000, turns[minutes - 1].p99_us / 1000
    value = last / second
    each = ", ".join(f"{turn.p99_us / 1000:.1f}" for turn in turns)
    return Row(
        name=f"p99 of minute {minutes} against minute {SECOND_MINUTE}",
        value=value,
        unit="×",
        bounds=(Bound(value=value, must=1.2, aim=1.2, kind="<="),),
        note=f"{rate:,.0f} announces/s; {second:.2f} ms → {last:.2f} ms; each minute: {each} ms",
        faults=faults,
    )
