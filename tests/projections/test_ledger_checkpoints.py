"""Checkpoints: what is signed is what a replay gives, and any change of it is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
import zstandard
from psycopg import sql

from application.store.keyring import Keyring
from application.store.ledger_places import checkpoint_place
from application.store.reseal import reseal
from application.store.sealing import Sealer
from domain.credit import CreditPolicy
from projections.accounting import Position
from projections.accounting_replay import refold
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.credit_state import dump_state
from projections.ledger_checkpoints import (
    Checkpoints,
    check_checkpoints,
    gather_sums,
    list_checkpoints,
)
from projections.ledger_days import check_closings, compact_day, list_closings
from projections.ledger_reader import LedgerRetired, read_batches, verify_batches
from projections.ledger_retention import retire_days, retired_to
from projections.peer_ledger import LedgerDamaged
from tests.projections.ledger_kit import MONDAY, NOW, keep, spread_records

POLICIES = StandingPolicy(CreditPolicy())
DAYS = [MONDAY + timedelta(days=n) for n in range(3)]


@pytest.fixture
def ring() -> Keyring:
    return Keyring.generate()


@pytest.fixture
def sealer(ring: Keyring) -> Sealer:
    return Sealer(ring, "events", lambda _key, amount: amount)


@pytest.fixture
def checkpoints(sealer: Sealer, ring: Keyring) -> Checkpoints:
    return Checkpoints(sealer, ring, POLICIES, seed=5)


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def keep_days(conn: psycopg.Connection) -> None:
    records = spread_records(3_000, seed=31, days=2.9)
    keep(conn, records, [500] * 6)


def replayed(conn: psycopg.Connection, sealer: Sealer, upto: int) -> CreditFold:
    fold = CreditFold(seed=9)
    start = Position(ledger_seq=0, log_position=0)
    refold(conn, fold, POLICIES, after=start, upto_seq=upto, sealer=sealer)
    return fold


def test_each_closed_day_is_signed_as_a_replay_from_the_start_gives_it(
    conn: psycopg.Connection, sealer: Sealer, checkpoints: Checkpoints
) -> None:
    keep_days(conn)
    assert checkpoints.advance(conn, NOW) is None
    for count, day in enumerate(DAYS, 1):
        compact_day(conn, sealer, day, now=NOW)
        signed = checkpoints.advance(conn, NOW)
        assert signed is not None
        assert signed.day == day
        assert check_checkpoints(conn, checkpoints) == count
        fold = replayed(conn, sealer, signed.checkpoint.ledger_seq)
        assert fold.digest() == signed.checkpoint.state_digest
        base = checkpoints.newest(conn)
        assert base is not None
        assert base[0].digest() == fold.digest()
        assert gather_sums(base[0]) == gather_sums(fold)
        assert base[1].ledger_seq == signed.checkpoint.ledger_seq
        assert checkpoints.advance(conn, NOW) is None
    # The first of the month and the two newest.
    assert [stored.has_state for stored in list_checkpoints(conn)] == [True, True, True]


def test_states_between_are_forgotten_and_sums_stay(
    conn: psycopg.Connection, sealer: Sealer, checkpoints: Checkpoints
) -> None:
    keep(conn, spread_records(2_500, seed=32, days=4.9), [500] * 5)
    for number in range(5):
        compact_day(conn, sealer, MONDAY + timedelta(days=number), now=NOW)
        checkpoints.advance(conn, NOW)
    states = [stored.has_state for stored in list_checkpoints(conn)]
    assert states == [True, False, False, True, True]
    assert check_checkpoints(conn, checkpoints) == 5
    oldest = checkpoints.newest(conn, oldest_first=True)
    assert oldest is not None
    assert oldest[1].ledger_seq == list_checkpoints(conn)[0].checkpoint.ledger_seq


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("SET ledger_seq = ledger_seq + 1", "signature"),
        ("SET state_digest = sha256('x')", "signature"),
        ("SET signature = set_byte(signature, 3, get_byte(signature, 3) # 1)", "signature"),
        ("SET key_id = 4000", "keyring"),
        ("SET sums = set_byte(sums, 40, get_byte(sums, 40) # 1)", "does not open"),
        ("SET state = set_byte(state, 40, get_byte(state, 40) # 1)", "does not open"),
        ("SET state = sums", "does not open"),
    ],
)
def test_a_changed_checkpoint_is_named_and_not_begun_at(
    conn: psycopg.Connection,
    owner: psycopg.Connection,
    sealer: Sealer,
    checkpoints: Checkpoints,
    *,
    change: str,
    fault: str,
) -> None:
    keep_days(conn)
    compact_day(conn, sealer, MONDAY, now=NOW)
    checkpoints.advance(conn, NOW)
    assert owner.execute(f"UPDATE ledger.checkpoints {change}".encode()).rowcount == 1
    with pytest.raises(LedgerDamaged, match=fault) as damaged:
        check_checkpoints(conn, checkpoints)
    assert str(MONDAY) in damaged.value.reason
    assert checkpoints.newest(conn) is None


@pytest.mark.parametrize("part", ["sums", "states"])
def test_another_content_sealed_in_its_place_is_named(
    conn: psycopg.Connection,
    owner: psycopg.Connection,
    sealer: Sealer,
    checkpoints: Checkpoints,
    part: str,
) -> None:
    keep_days(conn)
    compact_day(conn, sealer, MONDAY, now=NOW)
    checkpoints.advance(conn, NOW)
    other = CreditFold(seed=1)
    forged = {
        "sums": zstandard.ZstdCompressor().compress(gather_sums(other)),
        "states": b"".join(dump_state(other)),
    }[part]
    column = sql.Identifier("sums" if part == "sums" else "state")
    owner.execute(
        sql.SQL("UPDATE ledger.checkpoints SET {} = %s").format(column),
        [sealer.seal(forged, checkpoint_place(1, part))],
    )
    with pytest.raises(LedgerDamaged, match="not match"):
        check_checkpoints(conn, checkpoints)


def test_a_checkpoint_of_another_ledger_is_named(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer, checkpoints: Checkpoints
) -> None:
    keep_days(conn)
    compact_day(conn, sealer, MONDAY, now=NOW)
    signed = checkpoints.advance(conn, NOW)
    assert signed is not None
    owner.execute(
        "UPDATE ledger.batches SET hash = sha256('x') WHERE seq = %s",
        [signed.checkpoint.ledger_seq],
    )
    with pytest.raises(LedgerDamaged, match="another batch"):
        check_checkpoints(conn, checkpoints)


def test_old_days_go_only_behind_a_checkpoint_and_the_rest_is_still_checked(
    conn: psycopg.Connection, sealer: Sealer, checkpoints: Checkpoints
) -> None:
    keep_days(conn)
    for day in DAYS:
        compact_day(conn, sealer, day, now=NOW)
    later = datetime(2025, 4, 10, tzinfo=NOW.tzinfo)
    assert retire_days(conn, 0, later) == []
    assert retire_days(conn, 400, NOW) == []
    # No checkpoint yet: nothing may go.
    assert retire_days(conn, 400, later) == []
    checkpoints.advance(conn, NOW)
    assert retire_days(conn, (later.date() - DAYS[1]).days, later) == [MONDAY]
    border = retired_to(conn)
    assert border == list_closings(conn)[0].last_batch
    with pytest.raises(LedgerRetired) as retired:
        next(read_batches(conn, sealer=sealer))
    assert retired.value.last_batch == border
    assert verify_batches(conn, border, sealer=sealer).batches == 6
    check_closings(conn)
    assert check_checkpoints(conn, checkpoints) == 1


def test_everything_opens_under_new_keys_alone_once_it_is_sealed_anew(
    conn: psycopg.Connection, owner: psycopg.Connection, sealer: Sealer, ring: Keyring
) -> None:
    keep_days(conn)
    before = b"".join(records.tobytes() for _, records in read_batches(conn))
    compact_day(conn, sealer, MONDAY, now=NOW)
    signed = Checkpoints(sealer, ring, POLICIES, seed=5).advance(conn, NOW)
    rotated = ring.rotated("events")
    blocks = conn.execute("SELECT count(*) FROM ledger.blocks").fetchone()
    assert blocks is not None
    assert reseal(owner, rotated) == blocks[0] + 2
    assert reseal(owner, rotated) == 0
    bare = rotated.without(ring.active("events").id)
    opened = Sealer(bare, "events", lambda _key, amount: amount)
    assert b"".join(r.tobytes() for _, r in read_batches(conn, sealer=opened)) == before
    check_closings(conn)
    later = Checkpoints(opened, bare, POLICIES, seed=6)
    assert check_checkpoints(conn, later) == 1
    base = later.newest(conn)
    assert base is not None
    assert signed is not None
    assert base[0].digest() == signed.checkpoint.state_digest


def test_the_database_keeps_young_days_and_the_newest_state(
    conn: psycopg.Connection, sealer: Sealer, checkpoints: Checkpoints
) -> None:
    records = spread_records(300, seed=33)
    today = datetime.now(NOW.tzinfo)
    yesterday = (today - timedelta(days=2)).replace(hour=12)
    records["at"] = int(yesterday.timestamp()) * 1_000_000
    keep(conn, records, [300])
    compact_day(conn, sealer, yesterday.date(), now=today)
    checkpoints.advance(conn, today)
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("SELECT ledger.retire_closing(1, now())")
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("SELECT ledger.forget_state(1)")
