"""Snapshots of the fold: a start from one equals a start from nothing, or passes it over."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psycopg
import pytest

from application.store.keyring import Key, Keyring
from application.store.sealing import KeyWornOut, Sealer
from domain.credit import CreditPolicy, CreditRules
from interfaces.workers.credit import CreditWorker
from projections.accounting import Accounting, Parts, read_standing
from projections.accounting_replay import START, replay
from projections.accounting_rows import flush
from projections.accounting_snapshots import KEPT, restore_newest, take_snapshot
from projections.accounting_start import Started, start_fold
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.digest import digest_tables
from projections.peer_records import as_kept
from tests.projections.credit_site import AT, Site, add_entry, assert_settled, drain_all
from tests.projections.peer_sets import T0, hostile_records
from tests.projections.run_credit_worker import POLICY, SEALER
from tracker import wire

PIECES = "UPDATE accounting_1.snapshot_pieces"
CHANGED_BYTE = "set_byte(body, 40, get_byte(body, 40) # 1)"
RECORDS = hostile_records(3_000, seed=71)


@pytest.fixture
def site(app_url: str, redis_url: str) -> Iterator[Site]:
    made = Site(app_url, redis_url)
    yield made
    made.close()


@dataclass(frozen=True)
class Start:
    """How a start went, and the digest of the fold that came out."""

    started: Started
    digest: bytes


def start(site: Site, *, policy: CreditPolicy = POLICY, sealer: Sealer = SEALER) -> Start:
    fold = CreditFold(seed=3)
    with site.connect() as conn:
        started = start_fold(conn, fold, StandingPolicy(policy), sealer=sealer)
    return Start(started, fold.digest())


def kept(site: Site) -> list[int]:
    with site.connect() as conn:
        rows = conn.execute("SELECT ledger_seq FROM accounting_1.snapshots ORDER BY 1").fetchall()
    return [int(row[0]) for row in rows]


def change(site: Site, statement: str, *values: object) -> None:
    with site.connect() as conn:
        assert conn.execute(statement.encode(), values).rowcount > 0


def stop_cleanly(worker: CreditWorker) -> None:
    """Let it work until its stream is at its end, then ask it to stop."""
    stop = threading.Event()
    drain_all(worker)
    stop.set()
    worker.run(stop)


def whole_fold() -> bytes:
    """What a fold of the whole ledger gives, in batches as archived or not."""
    fold = CreditFold(seed=8)
    fold.fold(as_kept(RECORDS), POLICY, batch=1)
    return fold.digest()


def test_a_clean_stop_leaves_a_snapshot_of_the_very_end(site: Site) -> None:
    site.send(RECORDS)
    stop_cleanly(site.worker())
    begun = start(site)
    assert begun.started.snapshot == begun.started.position
    assert (begun.started.position.ledger_seq, begun.started.records) == (7, 0)
    assert begun.digest == whole_fold()
    # And nothing more is written by a stop after which nothing was new.
    stop_cleanly(site.worker())
    assert kept(site) == [7]
    assert_settled(site, RECORDS)


def test_a_start_folds_only_what_lies_behind_the_newest_of_two_generations(site: Site) -> None:
    site.send(RECORDS)
    worker = site.worker(snapshot_records=900)
    drain_all(worker)
    assert kept(site) == [4, 6]
    assert len(kept(site)) == KEPT
    begun = start(site)
    assert (begun.started.snapshot.ledger_seq, begun.started.records) == (6, 120)
    assert begun.digest == whole_fold()


@pytest.mark.parametrize(
    ("damage", "newest"),
    [
        ("UPDATE accounting_1.snapshots SET fold = 'credit-0' WHERE ledger_seq = 6", 4),
        ("UPDATE accounting_1.snapshots SET log_position = 2 WHERE ledger_seq = 6", 4),
        ("UPDATE accounting_1.snapshots SET ledger_hash = sha256('') WHERE ledger_seq = 6", 4),
        ("UPDATE accounting_1.snapshots SET policy = sha256('') WHERE ledger_seq = 6", 4),
        ("UPDATE accounting_1.snapshots SET digest = sha256('') WHERE ledger_seq = 6", 4),
        ("DELETE FROM accounting_1.snapshot_pieces WHERE ledger_seq = 6 AND number = 9", 4),
        ("DELETE FROM accounting_1.snapshot_pieces WHERE ledger_seq = 6 AND number > 20", 4),
        (f"{PIECES} SET number = number + 50 WHERE ledger_seq = 6 AND number > 30", 4),
        (f"{PIECES} SET body = {CHANGED_BYTE} WHERE ledger_seq = 6 AND number = 3", 4),
        (f"{PIECES} SET body = ''", 0),
        ("UPDATE accounting_1.snapshots SET ledger_seq = ledger_seq WHERE false", None),
    ],
)
def test_a_snapshot_that_does_not_hold_is_passed_over(
    site: Site, damage: str, newest: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    site.send(RECORDS)
    drain_all(site.worker(snapshot_records=900))
    site.workers[0].close()
    if newest is not None:
        change(site, damage)
    begun = start(site)
    assert begun.started.snapshot.ledger_seq == (6 if newest is None else newest)
    assert ("credit.snapshot_passed_over" in capsys.readouterr().out) == (newest is not None)
    assert begun.digest == whole_fold()


def test_a_snapshot_under_another_policy_or_key_is_passed_over(site: Site) -> None:
    site.send(RECORDS)
    stop_cleanly(site.worker())
    strict = CreditPolicy(rules=CreditRules(max_bytes_per_second=1000))
    assert start(site, policy=strict).started.snapshot.ledger_seq == 0
    other = Sealer(
        Keyring([Key(id=2, purpose="events", material=bytes(32))]), "events", lambda _, n: n
    )
    assert start(site, sealer=other).started.snapshot.ledger_seq == 0


def test_a_snapshot_behind_a_batch_that_was_written_anew_is_passed_over(
    site: Site, database_url: str
) -> None:
    site.send(RECORDS)
    drain_all(site.worker(snapshot_records=900))
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger.batches SET hash = sha256('') WHERE seq = 6")
    with site.connect() as conn:
        position = restore_newest(conn, CreditFold(seed=1), StandingPolicy(POLICY), sealer=SEALER)
    assert position is not None
    assert position.ledger_seq == 4


def test_a_worker_without_any_snapshot_left_starts_from_the_ledger(site: Site) -> None:
    site.send(RECORDS[:2_000])
    drain_all(site.worker(snapshot_records=1))
    change(site, "UPDATE accounting_1.snapshot_pieces SET body = ''")
    site.workers[0].close()
    site.send(RECORDS[2_000:], first=51)
    drain_all(site.worker(snapshot_records=1))
    assert_settled(site, RECORDS)


def test_what_was_not_written_at_the_snapshot_is_written_behind_it(site: Site) -> None:
    """More holdings change than the allowance lets write, so a snapshot must remember them."""
    count = 60_000
    records = np.zeros(count, RECORDS.dtype)
    records["at"] = T0
    records["account"] = np.arange(count) + 1
    records["torrent"] = 1
    records["left"] = 1
    records["event"] = wire.EVENT_STARTED
    add_entry(site.client, records, "1-1")
    # Some claim more than they may: flags, which no snapshot holds.
    records["at"] += 1
    records["up"][:9] = 2**50
    add_entry(site.client, records, "1-2")
    worker = site.worker(batch_records=count, snapshot_records=1)
    worker.step()
    worker.step()
    with site.connect() as conn:
        standing = read_standing(conn)
        assert (standing.ledger_seq, min(standing.holdings_seq)) == (2, 0)
        worker.close()
        seconds = itertools.count(0, 5)
        worker = site.worker(batch_records=count, monotonic=lambda: float(next(seconds)))
        while min(read_standing(conn).holdings_seq) < 2:
            worker.step()
        assert conn.execute("SELECT count(*) FROM accounting_1.flags").fetchone() == (9,)
        replay(conn, "beside", CreditFold(seed=9), StandingPolicy(POLICY))
        kind = Accounting()
        assert digest_tables(conn, kind, "accounting_1") == digest_tables(conn, kind, "beside")


def test_a_snapshot_that_cannot_be_sealed_stops_nothing(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    class Worn(Sealer):
        def seal(self, plain: bytes, place: bytes) -> bytes:
            raise KeyWornOut("worn out")

    site.send(RECORDS)
    drain_all(site.worker(snapshot_records=1, sealer=Worn(Keyring.generate(), "events", max)))
    assert "credit.snapshot_failed" in capsys.readouterr().out
    assert kept(site) == []
    assert_settled(site, RECORDS)


def test_a_replay_believes_no_snapshot(site: Site) -> None:
    """A snapshot of another state, rightly sealed: a worker follows it, a replay tells."""
    site.send(RECORDS)
    stop_cleanly(site.worker())
    wrong = CreditFold(seed=1)
    wrong.fold(as_kept(RECORDS[:1_500]), POLICY, batch=1)
    with site.connect() as conn:
        position = start(site).started.position
        take_snapshot(conn, wrong, position, POLICY, sealer=SEALER, taken_at=AT)
        with conn.transaction():
            flush(conn, wrong, position, parts=Parts(totals=True))
        assert start(site).digest == wrong.digest()
        replay(conn, "beside", CreditFold(seed=9), StandingPolicy(POLICY), like=read_standing(conn))
        kind = Accounting()
        assert digest_tables(conn, kind, "accounting_1") != digest_tables(conn, kind, "beside")


def test_a_snapshot_beyond_the_ledger_is_forgotten(site: Site) -> None:
    site.send(RECORDS)
    stop_cleanly(site.worker())
    with site.connect() as conn:
        conn.execute(
            "INSERT INTO accounting_1.snapshots"
            " SELECT 99, log_position, ledger_hash, fold, policy, digest, taken_at"
            " FROM accounting_1.snapshots"
        )
        assert start(site).started.snapshot.ledger_seq == 7
        fold = CreditFold(seed=2)
        position = start_fold(conn, fold, StandingPolicy(POLICY), sealer=SEALER).position
        take_snapshot(conn, fold, position, POLICY, sealer=SEALER, taken_at=AT)
        with pytest.raises(ValueError, match="behind a batch"):
            take_snapshot(
                conn,
                fold,
                START,
                POLICY,
                sealer=SEALER,
                taken_at=AT,
            )
    assert kept(site) == [7]
