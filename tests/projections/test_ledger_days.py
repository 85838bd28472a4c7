"""Closing days: nothing is lost or doubled at any point, and blocks read like rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pytest

from application.store.sealing import Sealer
from projections import ledger_days
from projections.ledger_days import (
    CompactionBusy,
    DayOpen,
    check_closings,
    closable_days,
    compact_day,
    list_closings,
)
from projections.ledger_reader import held_ledger, read_batches, verify_batches
from projections.ledger_rows import row_days
from projections.ledger_segments import LedgerSealed, list_segments
from projections.peer_ledger import LedgerDamaged
from tests.projections.ledger_kit import (
    DAY,
    MONDAY,
    NOW,
    keep,
    make_sealer,
    spread_records,
    whole_ledger,
)

TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def sealer() -> Sealer:
    return make_sealer()


def test_days_read_the_same_before_and_after_they_are_closed(
    conn: psycopg.Connection, sealer: Sealer
) -> None:
    records = spread_records(6_000, seed=1, days=2.5)
    # Midnight lies inside batches, of both streams.
    keep(conn, records, [700, 1, 1_299, 2_000, 1_100, 900], streams=2)
    before = whole_ledger(conn, sealer)
    assert before == records.tobytes()
    assert closable_days(conn, NOW) == [MONDAY, TUESDAY, WEDNESDAY]
    for closed, day in enumerate((MONDAY, TUESDAY, WEDNESDAY), 1):
        done = compact_day(conn, sealer, day, now=NOW, segment_records=1_000)
        assert done.closing == closed
        assert done.segments > 1
        assert whole_ledger(conn, sealer) == before
        assert [batch.seq for batch, _ in read_batches(conn, 2, upto_seq=4, sealer=sealer)] == [
            3,
            4,
        ]
    assert row_days(conn) == []
    assert sum(closing.records for closing in list_closings(conn)) == 6_000
    assert verify_batches(conn, sealer=sealer).records == 6_000
    assert check_closings(conn) == list_closings(conn)[-1].hash


def test_a_day_closed_while_another_is_open_and_days_out_of_turn(
    conn: psycopg.Connection, sealer: Sealer
) -> None:
    records = spread_records(4_000, seed=2, days=3)
    keep(conn, records, [1_000] * 4)
    compact_day(conn, sealer, TUESDAY, now=NOW)
    assert whole_ledger(conn, sealer) == records.tobytes()
    later = spread_records(500, seed=3)
    later["at"] += 8 * DAY
    keep(conn, later, [500])
    assert whole_ledger(conn, sealer) == records.tobytes() + later.tobytes()


def test_records_that_come_late_close_their_day_again(
    conn: psycopg.Connection, sealer: Sealer
) -> None:
    early, late = spread_records(900, seed=4), spread_records(300, seed=5)
    keep(conn, early, [500, 400])
    compact_day(conn, sealer, MONDAY, now=NOW)
    keep(conn, late, [300])
    assert whole_ledger(conn, sealer) == early.tobytes() + late.tobytes()
    again = compact_day(conn, sealer, MONDAY, now=NOW)
    assert (again.closing, again.records) == (2, 300)
    assert whole_ledger(conn, sealer) == early.tobytes() + late.tobytes()
    check_closings(conn)


def test_a_day_too_young_or_without_rows_is_refused(
    conn: psycopg.Connection, sealer: Sealer
) -> None:
    keep(conn, spread_records(100, seed=6), [100])
    midnight = datetime(2024, 3, 5, tzinfo=UTC)
    young = midnight + timedelta(minutes=59)
    assert closable_days(conn, young) == []
    with pytest.raises(DayOpen):
        compact_day(conn, sealer, MONDAY, now=young)
    with pytest.raises(DayOpen):
        compact_day(conn, sealer, TUESDAY, now=NOW)
    assert compact_day(conn, sealer, MONDAY, now=midnight + timedelta(hours=1)).closing == 1


def test_the_database_itself_refuses_a_day_that_is_not_over(
    conn: psycopg.Connection, sealer: Sealer
) -> None:
    records = spread_records(10, seed=6)
    today = datetime.now(UTC)
    records["at"] = int(today.timestamp()) * 1_000_000
    keep(conn, records, [10])
    with pytest.raises(psycopg.errors.CheckViolation):
        compact_day(conn, sealer, today.date(), now=today + timedelta(days=3))
    assert whole_ledger(conn, sealer) == records.tobytes()


def test_rows_stay_while_somebody_reads_at_length(
    conn: psycopg.Connection, sealer: Sealer, app_url: str
) -> None:
    records = spread_records(800, seed=7)
    keep(conn, records, [800])
    with psycopg.connect(app_url, autocommit=True) as reader, held_ledger(reader):
        assert compact_day(conn, sealer, MONDAY, now=NOW).closing is None
        assert whole_ledger(conn, sealer) == records.tobytes()
    # The draft is taken up, not made again.
    assert compact_day(conn, sealer, MONDAY, now=NOW).closing == 1
    assert len(list_segments(conn)) == 1
    assert whole_ledger(conn, sealer) == records.tobytes()


def waits_for_a_lock(conn: psycopg.Connection, pid: int) -> bool:
    row = conn.execute(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [pid]
    ).fetchone()
    return bool(row and row[0])


def test_records_archived_at_the_last_moment_keep_the_day_open(
    conn: psycopg.Connection, sealer: Sealer, app_url: str
) -> None:
    early, late = spread_records(900, seed=4), spread_records(300, seed=5)
    keep(conn, early, [500, 400])
    with (
        psycopg.connect(app_url, autocommit=True) as archiver,
        psycopg.connect(app_url, autocommit=True) as compactor,
        ThreadPoolExecutor(1) as pool,
    ):
        with archiver.transaction():
            keep(archiver, late, [300])
            closing = pool.submit(compact_day, compactor, sealer, MONDAY, now=NOW)
            deadline = time.monotonic() + 20
            while not waits_for_a_lock(conn, compactor.info.backend_pid):
                assert time.monotonic() < deadline
                assert not closing.done()
        # Counted before it waited, and the rows are more now.
        assert closing.result(20).closing is None
    assert whole_ledger(conn, sealer) == early.tobytes() + late.tobytes()
    assert compact_day(conn, sealer, MONDAY, now=NOW).records == 1_200
    assert whole_ledger(conn, sealer) == early.tobytes() + late.tobytes()


def test_a_batch_being_archived_is_not_waited_for_at_length(
    conn: psycopg.Connection, sealer: Sealer, app_url: str
) -> None:
    early, next_day = spread_records(900, seed=4), spread_records(300, seed=5)
    next_day["at"] += 8 * DAY
    keep(conn, early, [900])
    with psycopg.connect(app_url, autocommit=True) as archiver, archiver.transaction():
        keep(archiver, next_day, [300])
        assert compact_day(conn, sealer, MONDAY, now=NOW).closing is None
    assert whole_ledger(conn, sealer) == early.tobytes() + next_day.tobytes()
    assert compact_day(conn, sealer, MONDAY, now=NOW).closing == 1


def test_one_process_compacts_at_a_time(
    conn: psycopg.Connection, sealer: Sealer, app_url: str
) -> None:
    keep(conn, spread_records(100, seed=7), [100])
    with psycopg.connect(app_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(4711, 6)")
        with pytest.raises(CompactionBusy):
            compact_day(conn, sealer, MONDAY, now=NOW)
    assert row_days(conn) == [MONDAY]


@pytest.mark.parametrize("step", range(1, 8))
def test_a_connection_lost_at_any_step_loses_nothing(
    conn: psycopg.Connection, sealer: Sealer, app_url: str, step: int
) -> None:
    records = spread_records(3_000, seed=8, days=1.2)
    keep(conn, records, [750] * 4)
    told = 0

    def lose(_work: str, _done: int, _of: int) -> None:
        nonlocal told
        told += 1
        if told == step:
            conn.execute("SELECT pg_terminate_backend(%s)", [worker.info.backend_pid])

    with (
        psycopg.connect(app_url, autocommit=True) as worker,
        pytest.raises(psycopg.OperationalError),
    ):
        compact_day(worker, sealer, MONDAY, now=NOW, segment_records=800, progress=lose)
    assert whole_ledger(conn, sealer) == records.tobytes()
    assert row_days(conn) == [MONDAY, TUESDAY]
    assert compact_day(conn, sealer, MONDAY, now=NOW, segment_records=800).closing == 1
    assert whole_ledger(conn, sealer) == records.tobytes()
    check_closings(conn)


def test_drafts_that_do_not_give_the_batches_back_are_thrown_away(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer
) -> None:
    records = spread_records(1_000, seed=9)
    keep(conn, records, [500, 500])
    with held_ledger(owner):
        compact_day(conn, sealer, MONDAY, now=NOW)
    flip_body(owner, "sorted")
    with pytest.raises(LedgerDamaged) as damaged:
        compact_day(conn, sealer, MONDAY, now=NOW)
    assert "sorted block 1" in damaged.value.reason
    assert list_segments(conn) == []
    assert row_days(conn) == [MONDAY]
    assert compact_day(conn, sealer, MONDAY, now=NOW).closing == 1


def test_damaged_rows_are_not_closed(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer
) -> None:
    keep(conn, spread_records(1_000, seed=9), [500, 500])
    owner.execute("UPDATE ledger.records SET up = up + 1 WHERE batch = 2 AND ord = 7")
    with pytest.raises(LedgerDamaged) as damaged:
        compact_day(conn, sealer, MONDAY, now=NOW)
    assert damaged.value.batch == 2
    assert row_days(conn) == [MONDAY]


def flip_body(owner: psycopg.Connection, kind: str) -> None:
    changed = owner.execute(
        "UPDATE ledger.blocks SET body = set_byte(body, 60, get_byte(body, 60) # 1)"
        " WHERE kind = %s AND number = 1",
        [kind],
    )
    assert changed.rowcount == 1


@pytest.mark.parametrize("kind", ["order", "sorted"])
def test_a_changed_byte_names_its_block_and_day(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer, kind: str
) -> None:
    keep(conn, spread_records(1_000, seed=10), [500, 500])
    compact_day(conn, sealer, MONDAY, now=NOW)
    flip_body(owner, kind)
    with pytest.raises(LedgerDamaged) as damaged:
        verify_batches(conn, sealer=sealer)
    assert f"{kind} block 1: " in damaged.value.reason
    assert str(MONDAY) in damaged.value.reason


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM ledger.blocks WHERE kind = 'sorted' AND number = 1",
        "UPDATE ledger.blocks SET digest = sha256('x') WHERE kind = 'order'",
        "UPDATE ledger.segments SET digest = sha256('x')",
        "UPDATE ledger.closings SET records = records - 1",
        "UPDATE ledger.closings SET day = day + 1",
        "UPDATE ledger.closings SET previous = sha256('x')",
    ],
)
def test_a_change_of_what_was_closed_is_found(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer, change: str
) -> None:
    keep(conn, spread_records(1_000, seed=10), [1_000])
    compact_day(conn, sealer, MONDAY, now=NOW)
    check_closings(conn)
    assert owner.execute(change.encode()).rowcount == 1
    with pytest.raises(LedgerDamaged):
        check_closings(conn)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM ledger.blocks WHERE kind = 'sorted'", "sorted blocks are missing"),
        ("DELETE FROM ledger.blocks WHERE kind = 'order'", "order blocks are missing"),
        ("UPDATE ledger.segments SET digest = sha256('x')", "do not match its digest"),
    ],
)
def test_blocks_that_are_not_those_of_their_segment_are_found_by_whoever_reads(
    conn: psycopg.Connection,
    owner: psycopg.Connection,
    sealer: Sealer,
    *,
    change: str,
    reason: str,
) -> None:
    keep(conn, spread_records(1_000, seed=10), [1_000])
    compact_day(conn, sealer, MONDAY, now=NOW)
    assert owner.execute(change.encode()).rowcount == 1
    with pytest.raises(LedgerDamaged, match=reason):
        verify_batches(conn, sealer=sealer)


def test_blocks_without_keys_are_not_read(conn: psycopg.Connection, sealer: Sealer) -> None:
    keep(conn, spread_records(100, seed=11), [100])
    compact_day(conn, sealer, MONDAY, now=NOW)
    with pytest.raises(LedgerSealed):
        verify_batches(conn)
    with pytest.raises(LedgerDamaged):
        verify_batches(conn, sealer=make_sealer())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger.blocks",
        "UPDATE ledger.blocks SET records = 1",
        "DELETE FROM ledger.segments",
        "DELETE FROM ledger.closings",
        "DELETE FROM ledger.checkpoints",
        "DROP TABLE ledger.records_20240304",
        "TRUNCATE ledger.records_20240304",
    ],
)
def test_the_login_of_the_processes_cannot_drop_what_is_kept(
    conn: psycopg.Connection, statement: str
) -> None:
    keep(conn, spread_records(100, seed=11), [100])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement.encode())


def test_rows_are_not_dropped_for_blocks_that_hold_less(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer
) -> None:
    records = spread_records(1_000, seed=12)
    keep(conn, records, [500, 500])
    with held_ledger(owner):
        compact_day(conn, sealer, MONDAY, now=NOW)
    owner.execute("UPDATE ledger.segments SET records = records - 1")
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("SELECT ledger.close_day(%s, %s)", [MONDAY, NOW])
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("SELECT ledger.close_day(%s, %s)", [date(2024, 3, 5), NOW])
    conn.execute("SELECT ledger.discard_drafts(%s)", [MONDAY])
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("SELECT ledger.close_day(%s, %s)", [MONDAY, NOW])
    assert whole_ledger(conn, sealer) == records.tobytes()


def test_rows_out_of_order_in_the_heap_are_read_in_order(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer
) -> None:
    records = spread_records(160_000, seed=13)
    keep(conn, records, [20_000] * 8)
    # The first batch moves behind all others, further than a reader looks ahead.
    owner.execute("UPDATE ledger.records SET batch = batch WHERE batch = 1")
    assert whole_ledger(conn, sealer) == records.tobytes()
    assert np.array_equal([b.seq for b, _ in read_batches(conn, 1, upto_seq=2)], [2])
    assert compact_day(conn, sealer, MONDAY, now=NOW).records == 160_000
    assert whole_ledger(conn, sealer) == records.tobytes()
    assert ledger_days.list_closings(conn)[0].records == 160_000
