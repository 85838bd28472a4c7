"""Verifying a ledger whose days are closed: from the start, from a checkpoint, and after days went."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from application.store.heads import sign_head
from application.store.log import EventLog
from domain.credit import CreditPolicy, CreditRules
from projections import accounting
from projections.accounting_replay import START, refold, replay
from projections.accounting_rows import flush
from projections.accounting_start import start_fold
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.engine import Connection
from projections.ledger_checkpoints import Checkpoints
from projections.ledger_days import compact_day
from projections.ledger_retention import retire_days
from projections.verify_ledger import Start
from tests.projections.engine_kit import story, write
from tests.projections.ledger_kit import MONDAY, NOW, keep, spread_records
from tests.projections.verify_kit import POLICIES, Site, all_equal_but, outcomes

TUESDAY = MONDAY + timedelta(days=1)
STARTS: tuple[Start, ...] = ("start", "checkpoint")


@pytest.fixture
def site(conn: Connection, log: EventLog, app_url: str, database_url: str) -> Site:
    """Two days closed and signed, and half a day of rows behind them."""
    write(log, story(20))
    made = Site(conn, log, app_url, database_url)
    made.catch_up()
    keep(conn, spread_records(3_000, seed=41, days=2.5), [500] * 6)
    replay(conn, accounting.SCHEMA, CreditFold(seed=7), POLICIES)
    checkpoints = Checkpoints(log.event_sealer, log.keyring, POLICIES, seed=3)
    for day in (MONDAY, TUESDAY):
        compact_day(conn, log.event_sealer, day, now=NOW, segment_records=700)
        assert checkpoints.advance(conn, NOW) is not None
    sign_head(log, NOW)
    return made


@pytest.mark.parametrize("start", STARTS)
def test_closed_days_and_their_credit_are_equal(site: Site, start: Start) -> None:
    verdict = site.verify(start=start)
    assert outcomes(verdict) == all_equal_but(), verdict
    assert [check.reached for check in verdict.checks[4:6]] == [6, 6]


@pytest.mark.parametrize("start", STARTS)
def test_a_changed_total_is_named(site: Site, start: Start) -> None:
    site.conn.execute(
        "UPDATE accounting_1.member_totals SET uploaded = uploaded + 1 WHERE account = 2"
    )
    assert outcomes(site.verify(start=start)) == all_equal_but(accounting="differs")


def test_a_changed_byte_of_a_block_is_named_by_day_and_number(site: Site) -> None:
    site.as_owner(
        "UPDATE ledger.blocks SET body = set_byte(body, 70, get_byte(body, 70) # 1)"
        " WHERE day = '2024-03-05' AND segment = 1 AND kind = 'sorted'"
    )
    finding = next(c for c in site.verify().checks if c.part == "peer ledger").findings[0]
    assert "sorted block 1" in finding
    assert "2024-03-05 segment 1" in finding


def test_a_checkpoint_signed_over_another_state_is_named(site: Site, conn: Connection) -> None:
    """A scheduler that signs what was never so is caught by whoever reads from the start."""
    site.as_owner("DELETE FROM ledger.checkpoints")
    other = StandingPolicy(CreditPolicy(rules=CreditRules(max_bytes_per_second=1)))
    forger = Checkpoints(site.log.event_sealer, site.log.keyring, other, seed=3)
    assert forger.advance(conn, NOW) is not None
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but(accounting="differs")
    assert verdict.checks[5].findings == (f"the checkpoint behind {TUESDAY} signs another state",)
    assert outcomes(site.verify(start="checkpoint")) == all_equal_but(accounting="differs")


def test_days_that_went_are_begun_behind(site: Site, conn: Connection) -> None:
    later = datetime(2025, 4, 9, tzinfo=NOW.tzinfo)
    assert retire_days(conn, 400, later) == [MONDAY]
    for start in STARTS:
        assert outcomes(site.verify(start=start)) == all_equal_but()
    site.as_owner("UPDATE ledger.batches SET log_position = 99 WHERE seq = 1")
    checks = {check.part: check for check in site.verify().checks}
    assert checks["peer ledger"].findings[0].startswith("batch 1: ")


def test_days_that_went_without_a_state_behind_them_could_not_be_checked(
    site: Site, conn: Connection
) -> None:
    retire_days(conn, 400, datetime(2025, 4, 10, tzinfo=NOW.tzinfo))
    site.as_owner("UPDATE ledger.checkpoints SET state = NULL")
    assert outcomes(site.verify())["accounting"] == "unchecked"


def test_tables_made_anew_after_days_went_begin_at_a_checkpoint(
    site: Site, conn: Connection
) -> None:
    whole = CreditFold(seed=2)
    refold(conn, whole, POLICIES, after=START, sealer=site.log.event_sealer)
    retire_days(conn, 400, datetime(2025, 4, 9, tzinfo=NOW.tzinfo))
    conn.execute("DROP SCHEMA accounting_1 CASCADE")
    accounting.install(conn)
    fold = CreditFold(seed=4)
    started = start_fold(conn, fold, POLICIES, sealer=site.log.event_sealer)
    assert started.position.ledger_seq == 6
    with conn.transaction():
        flush(conn, fold, started.position)
    assert fold.digest() == whole.digest()
    assert outcomes(site.verify()) == all_equal_but()
