"""Verifying ledger and credit: a changed byte names its batch, a changed total its row."""

from __future__ import annotations

import pytest

from application.store.heads import sign_head
from application.store.log import EventLog
from projections.engine import Connection
from tests.projections.engine_kit import story, write
from tests.projections.verify_kit import AT, Site, all_equal_but, outcomes


@pytest.fixture
def site(conn: Connection, log: EventLog, app_url: str, database_url: str) -> Site:
    write(log, story(20))
    made = Site(conn, log, app_url, database_url)
    made.catch_up()
    made.keep_batches(3)
    sign_head(log, AT)
    return made


def test_an_untouched_ledger_and_its_credit_are_equal(site: Site) -> None:
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but()
    assert [check.reached for check in verdict.checks[4:6]] == [3, 3]


def test_a_changed_total_is_named_by_table_and_key(site: Site) -> None:
    site.conn.execute("UPDATE accounting_1.member_totals SET uploaded = 1 WHERE account = 2")
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but(accounting="differs")
    assert site.check("accounting").findings == ("accounting_1.member_totals 2: differs",)


def test_a_changed_byte_in_the_ledger_is_named_by_its_batch(site: Site) -> None:
    site.as_owner("UPDATE ledger.records SET up = up # 1 WHERE batch = 2 AND ord = 7")
    verdict = site.verify()
    assert verdict.exit_code == 1
    assert outcomes(verdict)["peer ledger"] == "differs"
    finding = site.check("peer ledger").findings[0]
    assert finding == "batch 2: its records do not match its digest"
    assert "batch 2" in site.check("accounting").findings[0]


def test_batches_cut_off_behind_a_signed_head_are_found(site: Site) -> None:
    site.as_owner("DELETE FROM ledger.records WHERE batch = 3")
    site.as_owner("DELETE FROM ledger.batches WHERE seq = 3")
    verdict = site.verify()
    assert outcomes(verdict)["peer ledger"] == "equal"
    assert outcomes(verdict)["signed heads"] == "differs"


def test_credit_never_installed_could_not_be_checked(site: Site) -> None:
    site.conn.execute("DROP SCHEMA accounting_1 CASCADE")
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but(accounting="unchecked")
    assert site.check("accounting").findings == ("its tables are not installed",)
