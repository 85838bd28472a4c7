"""The credit worker: nothing lost, nothing twice, wherever it is interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest
import redis

from domain.credit import MICROSECONDS, CreditPolicy
from interfaces.workers.credit import CreditWorker
from interfaces.workers.peer_stream import PeerStream, StreamWentBack, connect_stream
from projections import accounting, peer_ledger
from projections.accounting_replay import replay
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource, StandingPolicy
from projections.digest import digest_tables
from projections.peer_records import Records, UnreadableRecords, as_kept
from tests.projections.peer_sets import T0, hostile_records
from tests.projections.run_credit_worker import POLICY, STREAM, month_key
from tracker import wire

ROOT = Path(__file__).resolve().parents[2]
ENTRY = 40
AT = datetime.fromtimestamp(T0 / MICROSECONDS, UTC)


class Site:
    """A database, a stream, and workers made for them."""

    def __init__(self, app_url: str, redis_url: str) -> None:
        self.app_url = app_url
        self.redis_url = redis_url
        self.client = connect_stream(redis_url)
        self.now = AT
        self.head = 3
        self.workers: list[CreditWorker] = []

    def worker(
        self,
        *,
        streams: Sequence[PeerStream] = (),
        new_fold: Callable[[], CreditFold] = lambda: CreditFold(seed=5),
        policies: PolicySource | None = None,
        batch_records: int = 500,
    ) -> CreditWorker:
        worker = CreditWorker(
            conninfo=self.app_url,
            streams=streams or [PeerStream(self.client, STREAM)],
            head=lambda: self.head,
            policies=policies or StandingPolicy(POLICY),
            address_key=month_key,
            new_fold=new_fold,
            clock=lambda: self.now,
            batch_records=batch_records,
        )
        self.workers.append(worker)
        return worker

    def send(
        self, records: Records, *, epoch: int = 1, first: int = 1, stream: str = STREAM
    ) -> int:
        """Add entries of up to `ENTRY` records; gives the next number."""
        number = first
        for start in range(0, len(records), ENTRY):
            add_entry(self.client, records[start : start + ENTRY], f"{epoch}-{number}", stream)
            number += 1
        return number

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.app_url, autocommit=True)

    def archived(self) -> bytes:
        with self.connect() as conn:
            return b"".join(records.tobytes() for _, records in peer_ledger.read_batches(conn))

    def batch_count(self) -> int:
        with self.connect() as conn:
            newest = peer_ledger.newest_batch(conn)
        return newest.seq if newest else 0

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.client.close()


def add_entry(client: redis.Redis, records: Records, entry_id: str, stream: str = STREAM) -> None:
    client.xadd(
        stream,
        {wire.FIELD_VERSION: wire.VERSION, wire.FIELD_RECORDS: records.tobytes()},
        id=entry_id,
    )


@pytest.fixture
def site(app_url: str, redis_url: str) -> Iterator[Site]:
    made = Site(app_url, redis_url)
    yield made
    made.close()


def expected_bytes(records: Records) -> bytes:
    """What the ledger must hold of `records`, byte for byte."""
    return peer_ledger.AddressHasher(month_key).hash_addresses(as_kept(records)).tobytes()


def assert_settled(site: Site, sent: Records) -> None:
    """The ledger holds exactly what was sent, and the tables equal one uninterrupted fold."""
    assert site.archived() == expected_bytes(sent)
    with site.connect() as conn:
        conn.execute("DROP SCHEMA IF EXISTS beside CASCADE")
        position = replay(conn, "beside", CreditFold(seed=9), StandingPolicy(POLICY))
        assert accounting.read_position(conn) == position
        kind = accounting.Accounting()
        assert digest_tables(conn, kind, "accounting_1") == digest_tables(conn, kind, "beside")
        totals = conn.execute(
            "SELECT account, uploaded, downloaded, seed_seconds, snatches"
            " FROM accounting_1.member_totals ORDER BY account"
        ).fetchall()
    whole = CreditFold(seed=1)
    whole.fold(as_kept(sent), POLICY, batch=1)
    columns = [whole.members[name] for name in ("uploaded", "downloaded", "seed_time", "snatches")]
    assert totals == sorted(
        (int(key), int(up), int(down), int(seed) // MICROSECONDS, int(done))
        for key, up, down, seed, done in zip(
            whole.members.keys(0), *(c[: len(whole.members)] for c in columns), strict=True
        )
    )
    assert any(row[1] for row in totals)


def drain_all(worker: CreditWorker) -> int:
    """Step until two steps in a row find nothing; gives the records moved."""
    moved, idle = 0, 0
    while idle < 2:
        step = worker.step()
        moved, idle = moved + step, 0 if step else idle + 1
    return moved


def test_a_drained_stream_is_archived_and_accounted(site: Site) -> None:
    records = hostile_records(2_000, seed=31)
    site.send(records)
    assert drain_all(site.worker()) == 2_000
    assert_settled(site, records)
    with site.connect() as conn:
        batches = peer_ledger.list_batches(conn, 0)
        assert [batch.records for batch in batches] == [480, 480, 480, 480, 80]
        assert {batch.log_position for batch in batches} == {3}
        assert (batches[0].first_id, batches[-1].last_id) == ("1-1", "1-50")


def test_an_entry_larger_than_a_batch_is_taken_whole(site: Site) -> None:
    records = hostile_records(300, seed=32)
    site.send(records)
    worker = site.worker(batch_records=10)
    assert worker.step() == ENTRY
    drain_all(worker)
    assert_settled(site, records)


def test_policy_means_as_known_when_the_batch_was_archived(site: Site) -> None:
    class Growing:
        """Windows become known at log position 10."""

        topics: frozenset[str] = frozenset()

        def upto(self, position: int) -> CreditPolicy:
            return POLICY if position >= 10 else CreditPolicy()

    records = hostile_records(2_000, seed=33)
    site.send(records[:1_000])
    worker = site.worker(policies=Growing())
    drain_all(worker)
    site.head = 10
    site.send(records[1_000:], first=26)
    drain_all(worker)
    with site.connect() as conn:
        replay(conn, "beside", CreditFold(seed=9), Growing())
        kind = accounting.Accounting()
        assert digest_tables(conn, kind, "accounting_1") == digest_tables(conn, kind, "beside")
        replay(conn, "late", CreditFold(seed=9), StandingPolicy(POLICY))
        assert digest_tables(conn, kind, "accounting_1") != digest_tables(conn, kind, "late")


def test_a_busy_shard_gathers_rows_and_writes_them_when_idle(site: Site) -> None:
    count = 12_000
    records = np.zeros(count, hostile_records(1, seed=1).dtype)
    records["at"] = T0
    records["account"] = np.arange(count) % 6_000 + 1
    records["torrent"] = 1
    records["left"] = 1
    records["event"] = wire.EVENT_STARTED
    for start in range(0, count, 6_000):
        add_entry(site.client, records[start : start + 6_000], f"1-{start + 1}")
    worker = site.worker(batch_records=6_000)
    worker.step()
    with site.connect() as conn:
        first = accounting.read_position(conn).ledger_seq
        worker.step()
        assert first == accounting.read_position(conn).ledger_seq == 1
        # Interrupted here, the next worker marks what lies behind the tables' position.
        worker.close()
        site.worker().step()
        assert accounting.read_position(conn).ledger_seq == 2
        row = conn.execute("SELECT leechers FROM accounting_1.torrent_live").fetchone()
    assert row == (6_000,)


def test_what_a_tracker_may_need_stays_in_the_stream(site: Site) -> None:
    records = hostile_records(2_000, seed=34)
    records["at"] = T0 + np.arange(2_000) * 4 * MICROSECONDS
    site.send(records)
    site.now = AT + timedelta(seconds=2_000 * 4)
    worker = site.worker()
    drain_all(worker)
    # 480 records a batch, 12 entries, 1920 s; the tail of 3900 s begins inside the third.
    ids = [entry_id.decode() for entry_id, _ in site.client.xrange(STREAM)]
    assert (ids[0], ids[-1]) == ("1-24", "1-50")
    site.now += timedelta(seconds=10_000)
    worker.close()
    # A new worker knows from the ledger what it may remove.
    site.worker().step()
    assert [entry_id for entry_id, _ in site.client.xrange(STREAM)] == [b"1-50"]
    assert_settled(site, records)


def test_nothing_is_trimmed_before_it_is_archived(site: Site) -> None:
    records = hostile_records(1_000, seed=35)
    site.send(records)
    site.now = AT + timedelta(days=30)
    worker = site.worker()
    worker.step()
    remaining = [entry_id.decode() for entry_id, _ in site.client.xrange(STREAM)]
    assert remaining[:2] == ["1-12", "1-13"]
    drain_all(worker)
    assert_settled(site, records)


def test_unknown_versions_stop_the_worker_after_what_came_before(site: Site) -> None:
    records = hostile_records(400, seed=36)
    following = site.send(records)
    site.client.xadd(STREAM, {b"v": b"2", b"b": b"x" * 96}, id=f"1-{following}")
    worker = site.worker()
    assert worker.step() == 400
    for _ in range(2):
        with pytest.raises(UnreadableRecords, match="version b'2'"):
            worker.step()
    with pytest.raises(UnreadableRecords):
        worker.run(threading.Event())
    assert_settled(site, records)


def test_a_stream_that_starts_anew_is_told(site: Site) -> None:
    records = hostile_records(200, seed=37)
    site.send(records, epoch=4)
    worker = site.worker()
    drain_all(worker)
    site.client.delete(STREAM)
    assert worker.step() == 0
    site.send(records, epoch=1)
    with pytest.raises(StreamWentBack, match="before 4-5"):
        worker.step()
    # The shard's next epoch is above what the ledger holds: all is well again.
    site.client.delete(STREAM)
    again = hostile_records(200, seed=38)
    again["at"] += records["at"].max() - again["at"].min()
    site.send(again, epoch=5)
    drain_all(worker)
    assert_settled(site, np.concatenate([records, again]))


def test_one_worker_at_a_time(site: Site) -> None:
    records = hostile_records(1_000, seed=39)
    site.send(records)
    first, second = site.worker(), site.worker()
    assert first.step() == 480
    assert second.step() == 0
    first.close()
    assert drain_all(second) == 520
    assert first.step() == 0
    assert_settled(site, records)


def test_shards_are_folded_into_one_account(site: Site) -> None:
    records = hostile_records(2_000, seed=45)
    names = [wire.stream_name(2, shard) for shard in range(2)]
    for shard, name in enumerate(names):
        site.send(records[records["torrent"] % 2 == shard], stream=name)
    streams = [PeerStream(site.client, name) for name in names]
    worker = site.worker(streams=streams)
    assert 0 < worker.step() <= 960
    worker.close()
    drain_all(site.worker(streams=streams))
    with site.connect() as conn:
        parts = dict.fromkeys(names, b"")
        for batch, kept in peer_ledger.read_batches(conn):
            parts[batch.stream] += kept.tobytes()
        totals = dict(
            conn.execute("SELECT account, uploaded FROM accounting_1.member_totals").fetchall()
        )
    for shard, name in enumerate(names):
        assert parts[name] == expected_bytes(records[records["torrent"] % 2 == shard])
    whole = CreditFold(seed=1)
    whole.fold(as_kept(records), POLICY, batch=1)
    uploaded = whole.members["uploaded"][: len(whole.members)]
    assert totals == dict(zip(whole.members.keys(0).tolist(), uploaded.tolist(), strict=True))


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

    def trim(self, keep_from: str) -> None:
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
    worker = site.worker(streams=[UntrimmableStream(site.client, STREAM)])
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
    troubles = iter([redis.ConnectionError(), psycopg.OperationalError(), OSError()])

    class Shaky(PeerStream):
        def check(self, last_id: str) -> None:
            for trouble in troubles:
                raise trouble

    worker = site.worker(streams=[Shaky(site.client, STREAM)])
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: next(troubles, None) is None and site.batch_count() == 2)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    # The lease is free again.
    drain_all(site.worker())
    assert_settled(site, records)


def wait_until(met: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_workers_lose_nothing_and_count_nothing_twice(site: Site) -> None:
    chance = random.Random(44)
    records = hostile_records(6_000, seed=44)
    number = 1
    for sent in range(0, len(records), 3_000):
        number = site.send(records[sent : sent + 3_000], first=number)
        target = site.batch_count() + chance.randrange(1, 30)
        process = start_worker(site, batch_records=ENTRY)
        wait_until(lambda target=target: site.batch_count() >= target)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert len(site.archived()) < len(records) * wire.RECORD_SIZE
    drain_all(site.worker())
    assert_settled(site, records)


def start_worker(site: Site, *, batch_records: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.projections.run_credit_worker",
            site.app_url,
            site.redis_url,
            str(batch_records),
        ],
        cwd=ROOT,
    )
