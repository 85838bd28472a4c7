"""Facts a second replayed into a read model, beside a plain COPY of the rows that come out."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import sql

from application.ports import Writes
from domain.kernel import Envelope, Fact, Meta
from domain.sessions import SessionClosed, SessionOpened
from ops.benchmarks.ground import Ground
from ops.benchmarks.report import Figure, paired
from ops.system import system_clock
from projections.engine import drop, install
from projections.history import HistoryProjection
from projections.rebuild import fill

FACTS = 40_000
BATCH = 500
SCHEMA = "history_bench"
COPIED = "history_bench_copy"
AIM = 0.6


def measure(ground: Ground, runs: int) -> list[Figure]:
    """Unseal, decode and fold every fact from position 1 into an empty schema."""
    _record(ground)
    ours, raw, ratio = paired(runs, lambda _: _replay_rate(ground), lambda _: _copy_rate(ground))
    return [
        Figure(
            part="replay",
            name=f"facts replayed, {ground.base.log.head():,} in the log",
            value=ours,
            unit="/s",
            baseline_name="raw COPY of the same rows",
            baseline=raw,
            aim=f">= {AIM:.0%} of raw",
            aim_met=ratio >= AIM,
        )
    ]


def _record(ground: Ground) -> None:
    """Sessions opened and closed, many facts a command."""
    entropy, log = ground.base.entropy, ground.base.log
    for _ in range(FACTS // BATCH):
        command = entropy.uuid()
        meta = Meta(at=system_clock(), actor=entropy.uuid(), command=command, correlation=command)
        envelopes = []
        for _ in range(BATCH // 2):
            session, account = entropy.uuid(), entropy.uuid()
            facts: tuple[Fact, Fact] = (
                SessionOpened(account=account, method="password"),
                SessionClosed(account=account, reason="logout"),
            )
            envelopes += [
                Envelope(originator_id=session, originator_version=version, meta=meta, fact=fact)
                for version, fact in enumerate(facts, 1)
            ]
        log.append(Writes(command_id=command, envelopes=tuple(envelopes)))


def _replay_rate(ground: Ground) -> float:
    head = ground.base.log.head()
    with psycopg.connect(ground.urls.app_url, autocommit=True) as conn:
        drop(conn, SCHEMA)
        install(conn, HistoryProjection(), SCHEMA)
        began = time.perf_counter()
        fill(conn, ground.base.log, HistoryProjection(), SCHEMA, upto=head)
        return head / (time.perf_counter() - began)


def _copy_rate(ground: Ground) -> float:
    """Copy the rows the replay made into the same empty table, in one transaction."""
    with psycopg.connect(ground.urls.app_url, autocommit=True) as conn:
        drop(conn, COPIED)
        install(conn, HistoryProjection(), COPIED)
        rows = _binary_rows(conn)
        into = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(_facts(COPIED))
        began = time.perf_counter()
        with conn.transaction(), conn.cursor() as cursor, cursor.copy(into) as copy:
            for part in rows:
                copy.write(part)
        seconds = time.perf_counter() - began
        row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(_facts(COPIED))).fetchone()
        drop(conn, COPIED)
        drop(conn, SCHEMA)
    return (int(row[0]) if row else 0) / seconds


def _binary_rows(conn: psycopg.Connection[Any]) -> list[bytes]:
    out = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(_facts(SCHEMA))
    with conn.cursor() as cursor, cursor.copy(out) as copy:
        return [bytes(part) for part in copy]


def _facts(schema: str) -> sql.Identifier:
    return sql.Identifier(schema, "facts")
