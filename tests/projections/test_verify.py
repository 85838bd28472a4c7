"""Verifying: equal when nothing was touched; what was touched is named by table, key or position."""

from __future__ import annotations

import pytest

from application.store.heads import sign_head
from application.store.log import EventLog
from projections import accounting, engine
from projections.engine import Connection
from projections.shadows import cast_shadows
from tests.projections.engine_kit import JarClosed, JarOpened, Jars, envelope, jar, story, write
from tests.projections.verify_kit import AT, Site, all_equal_but, outcomes


@pytest.fixture
def site(conn: Connection, log: EventLog, app_url: str, database_url: str) -> Site:
    accounting.install(conn)
    write(log, story(60))
    made = Site(conn, log, app_url, database_url)
    made.catch_up()
    return made


def test_an_untouched_installation_is_equal_in_every_part(site: Site) -> None:
    sign_head(site.log, AT)
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but()
    assert (verdict.exit_code, verdict.position) == (0, 60)
    assert [check.reached for check in verdict.checks[:4]] == [60, 60, 60, 60]


def test_projections_at_different_positions_are_each_compared_at_their_own(site: Site) -> None:
    write(site.log, list(story(75))[60:])
    engine.step(site.conn, site.log, Jars(), limit=7)
    verdict = site.verify()
    assert verdict.exit_code == 0
    assert [check.reached for check in verdict.checks[:4]] == [75, 67, 60, 75]


def test_a_changed_row_is_named_by_table_and_key(site: Site) -> None:
    site.conn.execute("UPDATE jars_1.jars SET marbles = marbles + 1 WHERE id = %s", [jar(11)])
    verdict = site.verify()
    assert verdict.exit_code == 1
    assert outcomes(verdict) == all_equal_but(jars="differs")
    assert site.check("jars").findings == (f"jars_1.jars {jar(11)}: differs",)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("state = set_byte(state, 40, get_byte(state, 40) # 1)", "a sealed value does not open"),
        ("topic = 'jar.closed.1'", "the chain is broken"),
        ("originator_version = 1000", "the chain is broken"),
        ("commit = set_byte(commit, 0, get_byte(commit, 0) # 1)", "the chain is broken"),
        ("hash = set_byte(hash, 0, get_byte(hash, 0) # 1)", "the chain is broken"),
        ("notification_id = 1000", "the fact is missing"),
    ],
)
def test_a_change_in_the_log_is_named_by_its_position(
    site: Site, change: str, finding: str
) -> None:
    site.as_owner(f"UPDATE log.events SET {change} WHERE notification_id = 17")
    verdict = site.verify()
    assert verdict.exit_code == 1
    assert verdict.checks[0].findings == (f"position 17: {finding}",)


def test_a_log_cut_off_behind_a_signed_head_is_found(site: Site) -> None:
    sign_head(site.log, AT)
    site.as_owner("DELETE FROM log.events WHERE notification_id = 60")
    check = site.check("signed heads")
    assert check.outcome == "differs"
    assert check.findings[0].startswith("head at position 60")


def test_signed_heads_that_were_removed_are_missed(site: Site) -> None:
    write(site.log, list(story(700))[60:])
    site.catch_up()
    sign_head(site.log, AT)
    assert site.check("signed heads").reached == 700
    site.as_owner("DELETE FROM log.heads")
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but(signed_heads="unchecked")
    assert verdict.exit_code == 2
    assert "no signed head covers position 1 " in site.check("signed heads").findings[0]


def test_a_position_beyond_the_end_of_the_record_is_found(site: Site) -> None:
    # What comes next would be passed over, and so a log cut off with its signed heads shows too.
    site.conn.execute("UPDATE jars_1.position SET last = last + 5")
    site.conn.execute("UPDATE accounting_1.position SET ledger_seq = ledger_seq + 5")
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but(jars="differs", accounting="differs")
    assert "jars_1.position" in site.check("jars").findings[0]
    assert "accounting_1.position" in site.check("accounting").findings[0]


def test_claims_that_do_not_follow_from_the_facts_are_named(site: Site) -> None:
    site.as_owner("DELETE FROM log.claims WHERE value = (SELECT min(value) FROM log.claims)")
    check = site.check("claims")
    assert check.outcome == "differs"
    assert check.findings[0].startswith("log.claims jar.label/")
    assert check.findings[0].endswith("is missing")


def test_a_claim_nobody_made_is_named(site: Site) -> None:
    site.as_owner(f"INSERT INTO log.claims VALUES ('jar.label', 'x', '{jar(1)}')")
    assert site.check("claims").findings == ("log.claims jar.label/78: should not be there",)


def test_a_claim_given_back_and_taken_by_another_is_no_difference(site: Site) -> None:
    write(site.log, [envelope(jar(500), 1, JarOpened(label="red"))])
    write(site.log, [envelope(jar(500), 2, JarClosed(label="red"))])
    write(site.log, [envelope(jar(501), 1, JarOpened(label="red"))])
    assert site.check("claims").outcome == "equal"


def test_a_projection_that_is_not_installed_could_not_be_checked(site: Site) -> None:
    site.conn.execute("DROP SCHEMA history_2 CASCADE")
    verdict = site.verify()
    assert verdict.exit_code == 2
    assert outcomes(verdict) == all_equal_but(history="unchecked")


def test_a_fact_that_does_not_fold_spoils_only_its_projection(site: Site) -> None:
    write(site.log, list(story(70, bad_at=70))[60:])
    site.catch_up()
    site.conn.execute("UPDATE jars_1.position SET last = 70")
    verdict = site.verify()
    assert outcomes(verdict) == all_equal_but(jars="unchecked")
    assert verdict.exit_code == 2


def test_nothing_is_left_behind_also_after_a_failure(site: Site) -> None:
    def failing(part: str, reached: int, total: int) -> None:
        if part == "read models":
            raise OSError("the terminal went away")

    verdict = site.verify(failing)
    assert outcomes(verdict)["read models"] == "unchecked"
    rows = site.conn.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%shadow%'"
    ).fetchall()
    assert rows == []


def test_shadows_are_gone_after_the_block_whatever_the_connection(site: Site) -> None:
    with cast_shadows(site.conn, site.log, [(Jars(), 60)], upto=60) as shadows:
        schema = shadows[0].schema
        assert engine.is_installed(site.conn, schema)
    assert not engine.is_installed(site.conn, schema)


def test_writers_are_not_held_up_and_do_not_disturb_the_comparison(site: Site) -> None:
    facts = list(story(100))
    written: list[int] = []

    def write_meanwhile(part: str, reached: int, total: int) -> None:
        if part == "read models" and not written:
            site.conn.execute("SET lock_timeout = '1s'")
            write(site.log, facts[60:])
            site.catch_up()
            written.append(site.log.head())

    verdict = site.verify(write_meanwhile)
    assert written == [100]
    assert outcomes(verdict) == all_equal_but()
    assert verdict.position == 60
