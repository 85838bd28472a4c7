"""What credit costs: CPU of the whole chain, of fold and archive alone, and of a replay."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from ops.benchmarks.load import Load
from ops.benchmarks.processes import BenchmarkFailed
from ops.benchmarks.rows import Bound, Row
from ops.benchmarks.stage import Stage
from ops.container.auditor import auditor
from projections.accounting import read_position
from projections.accounting_replay import replay
from projections.credit_fold import CreditFold
from projections.engine import drop
from projections.peer_ledger import newest_batch
from tracker.wire import stream_name

FOLD_SECONDS = 300.0
POLL_SECONDS = 0.1
SCRATCH = "accounting_bench"
FOLLOWED = 830
"""Announces a second and core of the system whose interface we follow, as its makers give it."""
Say = Callable[[str], None]


def measure_chain(stage: Stage, *, runs: int, seconds: float, say: Say) -> Row:
    """Announce over HTTP while the worker folds; count all CPU time until the last is credited."""
    results: list[tuple[float, dict[str, float]]] = []
    faults = 0
    stage.resume_worker()
    await_folded(stage)
    for run in range(runs):
        say(f"whole chain, run {run + 1} of {runs}")
        before, folded = stage.server_cpu(), _records(stage)
        faults += stage.run(Load(protocol="http", seconds=seconds)).faults
        await_folded(stage)
        spent = _spent(before, stage.server_cpu())
        records = _records(stage) - folded
        results.append((records / sum(spent.values()), _each(spent, records)))
    return _row(
        "Whole chain over HTTP: announces credited per second and core",
        results,
        unit="/s",
        must=10_000,
        aim=20_000,
        note=f"the system we follow: {FOLLOWED}/s",
        faults=faults,
    )


def measure_fold(stage: Stage, *, runs: int, records: int, say: Say) -> Row:
    """Fill the stream while the worker is paused, then count the CPU time of emptying it."""
    results: list[tuple[float, dict[str, float]]] = []
    faults = 0
    stage.resume_worker()
    for run in range(runs):
        say(f"fold and archive, run {run + 1} of {runs}")
        await_folded(stage)
        stage.pause_worker()
        folded = _records(stage)
        faults += stage.run(Load(protocol="udp", count=records, in_flight=256)).faults
        before = stage.server_cpu()
        stage.resume_worker()
        await_folded(stage)
        spent = _spent(before, stage.server_cpu())
        spent.pop("tracker")
        made = _records(stage) - folded
        results.append((made / sum(spent.values()), _each(spent, made)))
    return _row(
        "Fold and archive alone, per core of worker, PostgreSQL and Valkey",
        results,
        unit="records/s",
        must=40_000,
        aim=100_000,
        note=f"{records:,} records in the stream",
        faults=faults,
    )


def measure_replay(stage: Stage, *, runs: int, say: Say) -> Row:
    """Fold the whole ledger into a scratch schema, as rebuild and `audit verify` do."""
    stage.resume_worker()
    await_folded(stage)
    records = _records(stage)
    stage.pause_worker()
    results: list[tuple[float, dict[str, float]]] = []
    with auditor(stage.settings) as audit:
        for run in range(runs):
            say(f"replay of {records:,} records, run {run + 1} of {runs}")
            with audit.connect() as conn:
                drop(conn, SCRATCH)
                before, own = stage.server_cpu()["postgres"], time.process_time()
                replay(conn, SCRATCH, CreditFold(seed=1), audit.policies)
                spent = {
                    "replay": time.process_time() - own,
                    "postgres": stage.server_cpu()["postgres"] - before,
                }
                results.append((records / sum(spent.values()), _each(spent, records)))
                drop(conn, SCRATCH)
    stage.resume_worker()
    return _row(
        "Replay of the ledger on one core",
        results,
        unit="records/s",
        must=200_000,
        aim=500_000,
        note=f"{records:,} records in rows, the tables written at the end",
    )


def _row(
    name: str,
    results: Sequence[tuple[float, dict[str, float]]],
    *,
    unit: str,
    must: float,
    aim: float,
    note: str,
    faults: int = 0,
) -> Row:
    """The median of the runs, and what its parts cost in the run in the middle."""
    values = tuple(value for value, _ in results)
    median = statistics.median(values)
    _, parts = sorted(results, key=lambda result: result[0])[len(results) // 2]
    return Row(
        name=name,
        value=median,
        unit=unit,
        runs=values,
        bounds=(Bound(value=median, must=must, aim=aim),),
        note=f"{_in_words(parts)}; {note}",
        faults=faults,
    )


@dataclass(frozen=True)
class _Folded:
    last_id: str
    seq: int
    flushed_seq: int


def await_folded(stage: Stage) -> None:
    """Wait until every record of the stream is in the ledger and in the totals.

    Raises BenchmarkFailed where it takes longer than any sound worker needs.
    """
    newest = stage.newest_entry()
    deadline = time.monotonic() + FOLD_SECONDS
    with psycopg.connect(stage.urls.app_url, autocommit=True) as conn:
        while True:
            found = _folded(conn, stage)
            if _number(found.last_id) >= _number(newest) and found.flushed_seq >= found.seq:
                return
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"the fold did not end within {FOLD_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)


def _folded(conn: psycopg.Connection[Any], stage: Stage) -> _Folded:
    stream = stream_name(stage.settings.processes.tracker_shards, 0)
    batch = newest_batch(conn, stream)
    if batch is None:
        return _Folded("0-0", 0, 0)
    try:
        flushed = read_position(conn).ledger_seq
    except psycopg.errors.UndefinedTable:
        flushed = 0
    return _Folded(batch.last_id, batch.seq, flushed)


def _number(entry: str) -> tuple[int, int]:
    epoch, _, number = entry.partition("-")
    return int(epoch), int(number)


def _records(stage: Stage) -> int:
    """Records of the whole ledger."""
    with psycopg.connect(stage.urls.app_url, autocommit=True) as conn:
        row = conn.execute("SELECT coalesce(sum(records), 0) FROM ledger.batches").fetchone()
    return int(row[0]) if row else 0


def _spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before.get(name, 0.0) for name in after}


def _each(spent: dict[str, float], records: int) -> dict[str, float]:
    """Microseconds of CPU a record, by part."""
    return {name: seconds / max(1, records) * 1e6 for name, seconds in spent.items()}


def _in_words(each: dict[str, float]) -> str:
    return ", ".join(f"{name} {cost:.1f} µs" for name, cost in sorted(each.items()))


def fill(stage: Stage, *, torrents: int, peers: int, say: Say) -> int:
    """Let every peer of the load announce once; the number of failed announces."""
    say(f"filling {torrents * peers:,} peers")
    load = Load(protocol="udp", fill=True, torrents=torrents, peers=peers, in_flight=256)
    return stage.run(load).faults
