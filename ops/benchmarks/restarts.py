"""What a restart costs: seconds until the tracker is ready again, and answers a snapshot holds up."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import redis

from ops.benchmarks.fixture import publish
from ops.benchmarks.load import Load
from ops.benchmarks.processes import BenchmarkFailed
from ops.benchmarks.rows import Bound, Row
from ops.benchmarks.stage import Stage
from ops.container.foundation import foundation
from projections.access import AccessProjection
from projections.engine import schema_of, use_schema
from tracker.wire import ACCESS_SEQ, ACCOUNT_MAY_ANNOUNCE, ACCOUNT_MAY_DOWNLOAD, TORRENT_ACCEPTED

Say = Callable[[str], None]
SNAPSHOT_SECONDS = 5
"""The least an operator may set: a run waits for one."""
PATIENCE = 60.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Known:
    """How much the tracker knows when it is killed."""

    torrents: int
    members: int
    peers: int


def measure_restart(
    stage: Stage, known: Known, *, runs: int, seconds: float, say: Say
) -> list[Row]:
    """Kill the loaded tracker, start it again; each run also waits for a snapshot.

    The peers are to be there already; torrents and members are added to what trackers are told.
    """
    say(f"telling the tracker of {known.members:,} members and {known.torrents:,} torrents")
    _tell_of_more(stage, known)
    _start(stage)
    load = Load(protocol="udp", seconds=seconds)
    faults = 0
    times: list[float] = []
    rates: list[float] = []
    for run in range(runs):
        say(f"restart, run {run + 1} of {runs}")
        _await_snapshot(stage)
        measured = stage.run(load)
        stage.kill_tracker()
        faults += measured.faults
        rates.append(measured.rate)
        began = time.monotonic()
        _start(stage)
        times.append(time.monotonic() - began)
        found = _last(stage, "tracker.started")["peers"]
        if found < known.peers:
            raise BenchmarkFailed(f"of {known.peers:,} peers {found:,} came back")
    pauses = [entry["pause_ms"] for entry in _entries(stage, "snapshot.written")]
    size = f"{known.peers:,} peers, {known.torrents:,} torrents, {known.members:,} members"
    ready = statistics.median(times)
    loaded = _last(stage, "snapshot.loaded")["seconds"]
    return [
        Row(
            name="Ready again after kill -9",
            value=ready,
            unit="s",
            runs=tuple(times),
            bounds=(Bound(value=ready, must=5, aim=3, kind="<="),),
            note=(
                f"{size}; {loaded:.2f} s of it for the peers of the snapshot, and some for up to "
                f"{SNAPSHOT_SECONDS} s of {statistics.median(rates):,.0f} announces/s behind it"
            ),
            faults=faults,
        ),
        Row(
            name="Longest time a snapshot stops answers",
            value=max(pauses),
            unit="ms",
            bounds=(Bound(value=max(pauses), must=20, aim=10, kind="<="),),
            note=f"{size}; {len(pauses)} snapshots under load and without",
        ),
    ]


def _tell_of_more(stage: Stage, known: Known) -> None:
    """Fill the read model trackers are told from; as facts that many would take half an hour."""
    rights = ACCOUNT_MAY_ANNOUNCE | ACCOUNT_MAY_DOWNLOAD
    # Far from the numbers of what the fixture made.
    first = 1 << 20
    with psycopg.connect(stage.urls.app_url) as conn:
        use_schema(conn.cursor(), schema_of(AccessProjection()))
        conn.execute(
            """
            INSERT INTO accounts
            SELECT %s + n, gen_random_uuid(), kid, %s, 1, 1, 1, 1, seq
            FROM generate_series(1, %s - (SELECT count(*) FROM accounts)) n,
                (SELECT kid, seq FROM accounts LIMIT 1) like_this
            """,
            [first, rights, known.members],
        )
        conn.execute(
            """
            INSERT INTO torrents
            SELECT %s + n, gen_random_uuid(), uploader, substr(sha256(int8send(n)), 1, 20), alias,
                %s, false, seq
            FROM generate_series(1, %s - (SELECT count(*) FROM torrents)) n,
                (SELECT uploader, alias, seq FROM torrents LIMIT 1) like_this
            """,
            [first, TORRENT_ACCEPTED, known.torrents],
        )
    with redis.Redis.from_url(stage.urls.redis_url) as client:
        # So the whole is told anew, as to an emptied Redis.
        client.delete(ACCESS_SEQ)
    with foundation(stage.settings, name="bench") as base:
        publish(base)


def _start(stage: Stage) -> None:
    stage.stop_tracker()
    stage.start_tracker(
        TRACKARR_TRACKER_SNAPSHOT_SECONDS=str(SNAPSHOT_SECONDS), TRACKARR_LOG_LEVEL="info"
    )


def _await_snapshot(stage: Stage) -> None:
    """Wait for the next one. Raises BenchmarkFailed."""
    before = len(list(_entries(stage, "snapshot.written")))
    deadline = time.monotonic() + PATIENCE
    while len(list(_entries(stage, "snapshot.written"))) == before:
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"no snapshot was written within {PATIENCE:.0f} s")
        time.sleep(POLL_SECONDS)


def _last(stage: Stage, event: str) -> dict[str, Any]:
    entries = list(_entries(stage, event))
    if not entries:
        raise BenchmarkFailed(f"the tracker did not log {event}")
    return entries[-1]


def _entries(stage: Stage, event: str) -> Iterator[dict[str, Any]]:
    """The tracker's log lines of one kind, oldest first."""
    for line in stage.tracker_log.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry["event"] == event:
            yield entry
