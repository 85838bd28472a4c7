"""Appends a second through the event log, beside plain inserts of the same rows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from application.ports import Writes
from domain.kernel import Envelope, Meta
from domain.sessions import SessionOpened
from ops.benchmarks.ground import Ground
from ops.benchmarks.report import Figure, paired
from ops.system import system_clock

APPENDS = 200
TURNS = 6
"""Pairs a run: short turns, so that a disk busy for a second spoils one pair, not the figure."""
WRITERS = (1, 4)
AIM = 0.5
_MAKE = """
CREATE SCHEMA bench;
CREATE TABLE bench.events (LIKE log.events INCLUDING INDEXES);
"""
_TAKE = """
SELECT notification_id, originator_id, originator_version, topic, state, commit, hash
FROM log.events WHERE notification_id > %s ORDER BY notification_id
"""
_INSERT = "INSERT INTO bench.events VALUES (%b, %b, %b, %b, %b, %b, %b)"


def measure(ground: Ground, runs: int) -> list[Figure]:
    """One fact a command, its own transaction each; the rows are then inserted raw."""
    with psycopg.connect(ground.urls.owner_url, autocommit=True) as conn:
        conn.execute(_MAKE)
    return [_measured(ground, runs, writers) for writers in WRITERS]


def _measured(ground: Ground, runs: int, writers: int) -> Figure:
    ours, raw, ratio = paired(
        runs * TURNS,
        lambda _: _append_rate(ground, writers),
        lambda _: _insert_rate(ground, writers),
    )
    return Figure(
        part="log",
        name=f"appends, {writers} writer{'s' if writers > 1 else ''}",
        value=ours,
        unit="/s",
        baseline_name="raw INSERT of the same rows",
        baseline=raw,
        aim=f">= {AIM:.0%} of raw",
        aim_met=ratio >= AIM,
    )


def _append_rate(ground: Ground, writers: int) -> float:
    share = APPENDS // writers
    began = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(_append, ground, share) for _ in range(writers)]:
            done.result()
    return share * writers / (time.perf_counter() - began)


def _append(ground: Ground, count: int) -> None:
    entropy, log = ground.base.entropy, ground.base.log
    for _ in range(count):
        command = entropy.uuid()
        meta = Meta(at=system_clock(), actor=None, command=command, correlation=command)
        fact = SessionOpened(account=entropy.uuid(), method="password")
        envelope = Envelope(
            originator_id=entropy.uuid(), originator_version=1, meta=meta, fact=fact
        )
        log.append(Writes(command_id=command, envelopes=(envelope,)))


def _insert_rate(ground: Ground, writers: int) -> float:
    """Insert the newest rows of the log one by one, each in its own transaction."""
    with psycopg.connect(ground.urls.owner_url, autocommit=True) as conn:
        conn.execute("TRUNCATE bench.events")
        rows = conn.execute(_TAKE, (ground.base.log.head() - APPENDS,)).fetchall()
    shares = [rows[n::writers] for n in range(writers)]
    connections = [psycopg.connect(ground.urls.owner_url, autocommit=True) for _ in range(writers)]
    began = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(_insert, *each) for each in zip(connections, shares, strict=True)]:
            done.result()
    seconds = time.perf_counter() - began
    for conn in connections:
        conn.close()
    return len(rows) / seconds


def _insert(conn: psycopg.Connection[Any], rows: list[Any]) -> None:
    for row in rows:
        conn.execute(_INSERT, row, prepare=True)
