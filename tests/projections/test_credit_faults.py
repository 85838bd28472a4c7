"""The credit worker under faults: nothing lost, nothing twice, wherever it is interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import redis

from domain.credit import CreditPolicy
from interfaces.workers.peer_stream import PeerStream
from projections.accounting_start import start_fold
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.peer_records import Records
from tests.projections.credit_site import (
    AT,
    ENTRY,
    OneStream,
    Site,
    assert_settled,
    drain_all,
    wait_until,
)
from tests.projections.peer_sets import hostile_records
from tests.projections.run_credit_worker import POLICY, SEALER, STREAM
from tracker import wire

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(app_url: str, redis_url: str) -> Iterator[Site]:
    made = Site(app_url, redis_url)
    yield made
    made.close()


class Broken(Exception):
    """What the tests throw."""


class FailingFold(CreditFold):
    """Fails after folding: records are copied, arrays moved, nothing is committed."""

    def fold(self, records: Records, policy: CreditPolicy, *, batch: int) -> None:
        super().fold(records, policy, batch=batch)
        if batch == 3:
            raise Broken


class UntrimmableStream(PeerStream):
    """Fails between commit and trim."""

    def trim(self, passed: wire.StreamPoint | None, *, archived: str) -> None:
        raise Broken


def test_a_failure_between_copy_and_commit_leaves_no_trace(site: Site) -> None:
    records = hostile_records(2_000, seed=40)
    site.send(records)
    folds = iter([FailingFold(seed=1), CreditFold(seed=2)])
    worker = site.worker(new_fold=lambda: next(folds))
    assert [worker.step(), worker.step()] == [480, 480]
    with pytest.raises(Broken):
        worker.step()
    assert len(site.archived()) == 960 * wire.RECORD_SIZE
    assert drain_all(worker) == 1_040
    assert_settled(site, records)


def test_a_failure_between_commit_and_trim_archives_nothing_twice(site: Site) -> None:
    records = hostile_records(2_000, seed=41)
    site.send(records)
    site.now = AT + timedelta(days=30)
    worker = site.worker(layouts=OneStream(UntrimmableStream(site.client, 1, 0)))
    for _ in range(2):
        with pytest.raises(Broken):
            worker.step()
    assert site.client.xlen(STREAM) == 50
    worker.close()
    assert drain_all(site.worker()) == 2_000 - 960
    assert_settled(site, records)


def test_a_connection_cut_before_commit_is_taken_up_again(site: Site, database_url: str) -> None:
    class CuttingFold(CreditFold):
        """The server ends the worker's connection in the middle of its transaction."""

        def fold(self, records: Records, policy: CreditPolicy, *, batch: int) -> None:
            super().fold(records, policy, batch=batch)
            if batch == 2:
                with site.connect() as conn:
                    conn.execute(
                        "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
                        " WHERE application_name = 'trackarr credit'"
                        " AND datname = current_database()"
                    )

    records = hostile_records(1_500, seed=42)
    site.send(records)
    folds = iter([CuttingFold(seed=1), CreditFold(seed=2)])
    worker = site.worker(new_fold=lambda: next(folds))
    assert worker.step() == 480
    with pytest.raises(psycopg.OperationalError):
        worker.step()
    drain_all(worker)
    assert_settled(site, records)


def test_run_waits_for_servers_and_stops_when_asked(site: Site) -> None:
    records = hostile_records(600, seed=43)
    site.send(records)
    troubles = [redis.ConnectionError(), psycopg.OperationalError(), OSError()]

    class Shaky(PeerStream):
        def raise_epoch(self, last_id: str) -> None:
            if troubles:
                raise troubles.pop()

    worker = site.worker(layouts=OneStream(Shaky(site.client, 1, 0)))
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: not troubles and site.batch_count() == 2)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    # The lease is free again.
    drain_all(site.worker())
    assert_settled(site, records)


@pytest.mark.parametrize(
    ("batch_records", "snapshot_records"), [(ENTRY, 10**9), (ENTRY, 200), (7 * ENTRY, 1)]
)
def test_killed_workers_lose_nothing_and_count_nothing_twice(
    site: Site, batch_records: int, snapshot_records: int
) -> None:
    chance = random.Random(44)
    records = hostile_records(6_000, seed=44)
    number = 1
    for sent in range(0, len(records), 3_000):
        number = site.send(records[sent : sent + 3_000], first=number)
        target = site.batch_count() + chance.randrange(1, 1_200 // batch_records)
        process = start_worker(site, batch_records=batch_records, snapshot_records=snapshot_records)
        wait_until(lambda target=target: site.batch_count() >= target)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert len(site.archived()) < len(records) * wire.RECORD_SIZE
    drain_all(site.worker())
    assert_settled(site, records)


def test_a_worker_killed_while_it_writes_a_snapshot_starts_from_the_one_before(
    site: Site,
) -> None:
    records = hostile_records(2_000, seed=48)
    site.send(records)
    # A state of so few rows has less than fifty pieces: the second snapshot is cut off.
    process = start_worker(site, batch_records=ENTRY, snapshot_records=400, die_at=60)
    assert process.wait(60) == -signal.SIGKILL
    assert site.batch_count() == 20
    with site.connect() as conn:
        kept = conn.execute("SELECT ledger_seq FROM accounting_1.snapshots").fetchall()
        pieces = conn.execute(
            "SELECT DISTINCT ledger_seq FROM accounting_1.snapshot_pieces"
        ).fetchall()
        assert kept == pieces == [(10,)]
        started = start_fold(conn, CreditFold(seed=1), StandingPolicy(POLICY), sealer=SEALER)
    assert (started.snapshot.ledger_seq, started.position.ledger_seq) == (10, 20)
    drain_all(site.worker())
    assert_settled(site, records)


def test_a_failure_between_snapshot_and_commit_goes_on_from_the_snapshot(site: Site) -> None:
    records = hostile_records(2_000, seed=49)
    site.send(records)
    folds = iter([FailingFold(seed=1), CreditFold(seed=2)])
    worker = site.worker(new_fold=lambda: next(folds), snapshot_records=1)
    assert [worker.step(), worker.step()] == [480, 480]
    with pytest.raises(Broken):
        worker.step()
    with site.connect() as conn:
        started = start_fold(conn, CreditFold(seed=3), StandingPolicy(POLICY), sealer=SEALER)
    assert started.snapshot == started.position
    assert started.position.ledger_seq == 2
    assert drain_all(worker) == 1_040
    assert_settled(site, records)


def start_worker(
    site: Site, *, batch_records: int, snapshot_records: int, die_at: int = 0
) -> subprocess.Popen[bytes]:
    numbers = (batch_records, snapshot_records, die_at)
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.projections.run_credit_worker",
            site.app_url,
            site.redis_url,
            *map(str, numbers),
        ],
        cwd=ROOT,
    )
