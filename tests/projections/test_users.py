"""Accounts, roles, settings: rows depend on the facts alone, and queries say what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import sql

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain.kernel import Envelope, Fact, Meta
from domain.permissions import ADMINISTRATOR, MODERATOR
from domain.site import SITE, SiteFounded, SiteSettingsChanged
from domain.site_settings import DEFAULTS
from domain.users import AccountRegistered, AccountRoleGranted
from projections import accounting, engine
from projections.account_roles import list_account_roles
from projections.engine import Connection, Projection, schema_of
from projections.member_figures import Transfer, find_member_figures, find_transfer
from projections.rebuild import rebuild
from projections.site import SiteProjection, read_site
from projections.users import (
    UsersProjection,
    find_account,
    find_account_by_name,
)
from tests.projections.catalogue_story import START, Story, named

OURS: tuple[Projection, ...] = (UsersProjection(), SiteProjection())
FOUNDER = named(1, 1)
TABLES = {
    "users": ("accounts", "roles", "role_catalogue", "bans", "uploads"),
    "site": ("settings", "founding"),
}


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry())
    yield opened
    opened.close()


def record(log: EventLog, id: UUID, version: int, *facts: Fact, actor: UUID | None = None) -> None:
    meta = Meta(at=START, actor=actor, command=uuid4(), correlation=uuid4())
    envelopes = tuple(
        Envelope(originator_id=id, originator_version=number, meta=meta, fact=fact)
        for number, fact in enumerate(facts, version)
    )
    log.append(Writes(command_id=meta.command, envelopes=envelopes))


def tell(log: EventLog) -> None:
    """Four members, uploads and withdrawals among them, roles, and settings changed often."""
    for envelope in Story(5).tell(80).envelopes:
        log.append(Writes(command_id=uuid4(), envelopes=(envelope,)))
    random = Random(3)
    record(log, SITE, 1, SiteFounded(founder=FOUNDER), actor=FOUNDER)
    for version in range(2, 20):
        changes: dict[str, Any] = {
            "siteTitle": f"Title {version}",
            "defaultInvites": random.randrange(100),
        }
        if version % 3 == 0:
            changes["registrationOpen"] = version % 2 == 0
        record(log, SITE, version, SiteSettingsChanged(changes=changes), actor=FOUNDER)
    granted = AccountRoleGranted(role=ADMINISTRATOR, reason="first", automatic=False)
    record(
        log, FOUNDER, 2, granted, AccountRoleGranted(role=MODERATOR, reason="too", automatic=False)
    )
    record(
        log,
        named(1, 2),
        2,
        AccountRoleGranted(role=MODERATOR, reason="helps", automatic=False),
        actor=FOUNDER,
    )
    record(
        log,
        named(1, 3),
        2,
        AccountRoleGranted(role=str(uuid4()), reason="other role", automatic=False),
    )


def catch_up(conn: Connection, log: EventLog, limit: int = 500) -> None:
    for projection in OURS:
        engine.install(conn, projection)
        while isinstance(engine.step(conn, log, projection, limit=limit), int):
            pass


def rows(conn: Connection, projection: Projection) -> list[Sequence[Any]]:
    found: list[Sequence[Any]] = []
    for table in TABLES[projection.name]:
        found += conn.execute(
            sql.SQL("SELECT {}, to_jsonb(t)::text FROM {}.{} t ORDER BY 2").format(
                sql.Literal(table), sql.Identifier(schema_of(projection)), sql.Identifier(table)
            )
        ).fetchall()
    return found


@pytest.mark.parametrize("projection", OURS, ids=schema_of)
def test_a_rebuild_equals_what_was_folded_in_any_batches(
    conn: Connection, log: EventLog, projection: Projection
) -> None:
    tell(log)
    seen = []
    for limit in (1, 7, 500):
        engine.drop(conn, schema_of(projection))
        catch_up(conn, log, limit)
        seen.append(rows(conn, projection))
    rebuild(conn, log, projection)
    seen.append(rows(conn, projection))
    assert len(seen[0]) > 3
    assert all(each == seen[0] for each in seen)


def test_an_account_shows_the_roles_it_holds(conn: Connection, log: EventLog) -> None:
    tell(log)
    catch_up(conn, log)
    founder = find_account(conn, FOUNDER)
    assert founder is not None
    assert (founder.is_admin, founder.is_moderator, founder.can_audit) == (True, True, True)
    assert [role.role for role in list_account_roles(conn, FOUNDER)] == [ADMINISTRATOR, MODERATOR]
    moderator = find_account(conn, named(1, 2))
    assert moderator is not None
    assert (moderator.is_admin, moderator.is_moderator) == (False, True)
    assert (moderator.can_upload_without_moderation, moderator.can_audit) == (True, False)
    assert list_account_roles(conn, named(1, 2))[0].granted_by == FOUNDER
    other = find_account(conn, named(1, 3))
    assert other is not None
    assert (other.is_admin, other.is_moderator, other.can_audit) == (False, False, False)
    assert find_account(conn, uuid4()) is None


def test_an_account_is_found_by_name_in_any_case(conn: Connection, log: EventLog) -> None:
    tell(log)
    catch_up(conn, log)
    found = find_account_by_name(conn, "MEMBER2")
    assert found is not None
    assert (found.number, found.username) == (2, "member2")
    assert find_account_by_name(conn, "member9") is None


def test_uploads_are_counted_until_they_are_withdrawn(conn: Connection, log: EventLog) -> None:
    tell(log)
    catch_up(conn, log, 9)
    kept = conn.execute(
        "SELECT account, count(*) FROM users_1.uploads GROUP BY account ORDER BY account"
    ).fetchall()
    counted = conn.execute(
        "SELECT id, uploads FROM users_1.accounts WHERE uploads > 0 ORDER BY id"
    ).fetchall()
    assert counted == kept
    assert kept
    topics = [each.envelope.fact.TOPIC for each in log.read(0, 1000)[0]]
    withdrawn = topics.count("torrent.withdrawn.1")
    assert withdrawn > 0
    assert sum(row[1] for row in kept) == topics.count("torrent.uploaded.1") - withdrawn


def test_settings_are_the_default_until_changed(conn: Connection, log: EventLog) -> None:
    catch_up(conn, log)
    fresh = read_site(conn)
    assert (fresh.settings, fresh.founder) == (DEFAULTS, None)
    tell(log)
    record(log, SITE, 20, SiteSettingsChanged(changes={"siteTitle": "Ж", "goneSetting": None}))
    catch_up(conn, log)
    site = read_site(conn)
    assert site.founder == FOUNDER
    assert site.settings["siteTitle"] == "Ж"
    assert site.settings["siteTagline"] == DEFAULTS["siteTagline"]
    assert site.registration_open is True
    assert site.invite_enabled is False
    assert "goneSetting" not in site.settings


def test_transfer_adds_the_starter_upload(conn: Connection, log: EventLog) -> None:
    account = uuid4()
    record(
        log,
        account,
        1,
        AccountRegistered(number=9, username="a", kid=1, starter_upload=50, invites=0),
    )
    catch_up(conn, log)
    accounting.install(conn)
    assert find_transfer(conn, account) == Transfer(50, 0)
    assert find_member_figures(conn, account).snatches == 0
    conn.execute("INSERT INTO accounting_1.member_totals VALUES (9, 100, 300, 0, 0, 60, 1)")
    assert find_transfer(conn, account) == Transfer(150, 300)
    assert find_transfer(conn, account).ratio == 0.5
    figures = find_member_figures(conn, account)
    assert (figures.seed_seconds, figures.snatches, figures.seeds) == (60, 1, 0)
    assert find_transfer(conn, uuid4()) == Transfer(0, 0)
