"""Accounting tables hold what the reference model knows, whenever and however they are flushed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from domain.credit import MICROSECONDS, SILENT_SECONDS, CreditModel, CreditPolicy, Sums
from projections import accounting, accounting_rows, holdings
from projections.accounting import Position
from projections.accounting_replay import refold, replay
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.digest import digest_tables, find_differences
from projections.peer_ledger import archive
from projections.peer_records import Records, as_kept
from tests.projections.peer_sets import hostile_records, hostile_windows, model_records

POLICY = CreditPolicy(windows=hostile_windows())
POLICIES = StandingPolicy(POLICY)
START = Position(ledger_seq=0, log_position=0)
AT = datetime(2026, 11, 25, tzinfo=UTC)
SIZE = 400


@pytest.fixture
def conn(app_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(app_url, autocommit=True) as connection:
        accounting.install(connection)
        yield connection


def keep(conn: psycopg.Connection, records: Records) -> None:
    """Archive in batches of `SIZE`, in order."""
    for number, first in enumerate(range(0, len(records), SIZE), 1):
        with conn.transaction():
            archive(
                conn,
                records[first : first + SIZE],
                stream="peer-events:{1.0}",
                first_id=f"1-{number}",
                last_id=f"1-{number}",
                log_position=number * 2,
                archived_at=AT,
            )


def model_of(records: Records) -> CreditModel:
    model = CreditModel()
    listed = list(model_records(records))
    for number, first in enumerate(range(0, len(records), SIZE), 1):
        model.fold(listed[first : first + SIZE], POLICY, batch=number)
    model.sweep(max(r.at for r in listed if r.counts) - SILENT_SECONDS * MICROSECONDS)
    return model


def seconds(sums: Sums) -> tuple[int, ...]:
    seeded = sums.seed_time // MICROSECONDS
    raw = (sums.raw_uploaded, sums.raw_downloaded)
    return (sums.uploaded, sums.downloaded, *raw, seeded, sums.snatches)


def assert_tables(conn: psycopg.Connection, model: CreditModel) -> None:
    members = conn.execute("SELECT * FROM accounting_1.member_totals").fetchall()
    torrents = conn.execute("SELECT * FROM accounting_1.torrent_totals").fetchall()
    assert {row[0]: row[1:] for row in members} == {a: seconds(s) for a, s in model.members.items()}
    assert {row[0]: row[1:] for row in torrents} == {
        t: seconds(s) for t, s in model.torrents.items()
    }
    live = conn.execute("SELECT * FROM accounting_1.torrent_live").fetchall()
    assert {row[0]: row[1:] for row in live} == model.live()
    held = conn.execute("SELECT * FROM accounting_1.holdings").fetchall()
    assert {row[:2]: row[2:12] for row in held} == {
        key: (*seconds(h.sums), h.first_at, h.last_at, h.completed_at, h.left)
        for key, h in model.holdings.items()
    }
    flags = conn.execute(
        "SELECT batch, ord, at, account, torrent, uploaded, downloaded"
        " FROM accounting_1.flags ORDER BY batch, ord"
    ).fetchall()
    assert flags == [
        (w.batch, w.ordinal, w.at, w.account, w.torrent, w.uploaded, w.downloaded)
        for w in model.withheld
    ]
    assert flags


def test_tables_hold_what_the_model_knows(conn: psycopg.Connection) -> None:
    records = as_kept(hostile_records(4_000, seed=21))
    keep(conn, records)
    fold, position = CreditFold(seed=1), START
    for upto in (1, 2, 7, 10):
        position = refold(conn, fold, POLICIES, after=position, upto_seq=upto)
        with conn.transaction():
            accounting_rows.flush(conn, fold, position)
        accounting_rows.settle(fold)
    assert accounting.read_position(conn) == Position(ledger_seq=10, log_position=20)
    assert not accounting_rows.count_totals(fold) + accounting_rows.count_live(fold)
    assert not accounting_rows.count_holdings(fold).any()
    assert_tables(conn, model_of(records))


def test_flushing_twice_is_flushing_once(conn: psycopg.Connection) -> None:
    records = as_kept(hostile_records(1_200, seed=22))
    keep(conn, records)
    fold = CreditFold(seed=1)
    position = refold(conn, fold, POLICIES, after=START)
    for _ in range(2):
        with conn.transaction():
            accounting_rows.flush(conn, fold, position)
    assert_tables(conn, model_of(records))


def test_replay_gives_equal_digests_and_finds_a_changed_row(conn: psycopg.Connection) -> None:
    keep(conn, as_kept(hostile_records(4_000, seed=23)))
    fold, position = CreditFold(seed=1), START
    for upto in (3, 4, 10):
        position = refold(conn, fold, POLICIES, after=position, upto_seq=upto)
        with conn.transaction():
            accounting_rows.flush(conn, fold, position)
        accounting_rows.settle(fold)
    told: list[int] = []
    replay(
        conn,
        "accounting_1__next",
        CreditFold(seed=2),
        POLICIES,
        progress=lambda count, _: told.append(count),
    )
    assert told == list(range(SIZE, 4_001, SIZE))
    kind = accounting.Accounting()
    live = digest_tables(conn, kind, "accounting_1")
    assert live == digest_tables(conn, kind, "accounting_1__next")
    changed = conn.execute(
        "UPDATE accounting_1.member_totals SET uploaded = uploaded + 1 WHERE account = 2"
    )
    assert changed.rowcount == 1
    found = find_differences(conn, kind, "accounting_1__next", "accounting_1")
    assert [(d.table, d.key) for d in found] == [("member_totals", ("2",))]
    with pytest.raises(ValueError, match="exists already"):
        replay(conn, "accounting_1__next", CreditFold(seed=3), POLICIES)


def test_replay_stops_where_asked(conn: psycopg.Connection) -> None:
    records = as_kept(hostile_records(2_000, seed=24))
    keep(conn, records)
    position = replay(conn, "beside", CreditFold(seed=1), POLICIES, upto_seq=3)
    assert (
        position
        == accounting.read_position(conn, "beside")
        == Position(ledger_seq=3, log_position=6)
    )
    latest = conn.execute("SELECT max(last_at) FROM beside.holdings").fetchone()
    model = model_of(records[: 3 * SIZE])
    assert latest == (max(holding.last_at for holding in model.holdings.values()),)


def test_queries_read_what_was_flushed(conn: psycopg.Connection) -> None:
    records = as_kept(hostile_records(4_000, seed=25))
    keep(conn, records)
    fold = CreditFold(seed=1)
    position = refold(conn, fold, POLICIES, after=START)
    with conn.transaction():
        accounting_rows.flush(conn, fold, position)
    model = model_of(records)
    totals = holdings.find_member_totals(conn, 2**32 - 1)
    assert totals.uploaded == model.members[2**32 - 1].uploaded > 0
    assert holdings.find_member_totals(conn, 77) == holdings.MemberTotals(account=77)
    by_torrent = holdings.find_torrent_totals(conn, [2**31, 77])
    assert by_torrent[77] == holdings.TorrentTotals(torrent=77)
    assert by_torrent[2**31].snatches == model.torrents[2**31].snatches > 0
    assert (by_torrent[2**31].seeders, by_torrent[2**31].leechers) == model.live()[2**31]
    held = holdings.list_holdings(conn, 1)
    assert [row.torrent for row in held] == [1, 2, 5, 2**31, 2**32 - 1]
    assert [row.torrent for row in holdings.list_holdings(conn, 1, after=2, limit=2)] == [5, 2**31]
    active = holdings.list_holdings(conn, 1, active=True)
    assert active == [row for row in held if row.seeding or row.leeching]
    snatched = holdings.list_snatches(conn, 5)
    assert [row.account for row in snatched] == sorted(
        account
        for (account, torrent), h in model.holdings.items()
        if torrent == 5 and h.completed_at
    )
    flags = holdings.list_flags(conn, 3)
    assert len(flags) == min(100, sum(w.account == 3 for w in model.withheld))
    assert holdings.moment(flags[0].at) == datetime.fromtimestamp(flags[0].at / 1e6, UTC)
    assert holdings.moment(0) is None


def test_install_is_idempotent_and_reads_are_granted(conn: psycopg.Connection) -> None:
    assert not accounting.install(conn)
    assert accounting.read_position(conn) == START
    with pytest.raises(psycopg.errors.UndefinedTable):
        accounting.read_position(conn, "nowhere")
    with pytest.raises(TypeError):
        accounting.Accounting().fold(conn.cursor(), [])
