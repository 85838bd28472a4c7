"""Migrations run once, in order, and refuse what they can't handle."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from application.store.keyring import Keyring
from application.store.log import EventLog
from ops.migrations import DatabaseTooNew, MigrationError, migrate
from ops.migrations.migrate import migrations
from tests.application.store.shelves import ShelfOpened, envelopes, shelf_registry, writes


@pytest.fixture
def password(app_url: str) -> str:
    """The application login's password; one for the whole cluster of the tests."""
    return str(conninfo_to_dict(app_url)["password"])


def versions(url: str) -> list[int]:
    with psycopg.connect(url) as owner:
        rows = owner.execute("SELECT version FROM log.migrations ORDER BY version").fetchall()
    return [row[0] for row in rows]


def test_a_fresh_database_is_brought_to_the_newest_version_once(
    empty_database_url: str, password: str
) -> None:
    first = migrate(empty_database_url, app_password=password)
    assert first.applied == tuple(m.version for m in migrations())
    assert first.protected
    assert conninfo_to_dict(first.app_conninfo)["user"] == "trackarr_app"
    again = migrate(empty_database_url, app_password=password)
    assert (again.applied, again.version) == ((), first.version)
    assert versions(empty_database_url) == list(first.applied)


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_many_at_once_apply_each_migration_once(empty_database_url: str, password: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(lambda _: migrate(empty_database_url, app_password=password), range(4))
        )
    assert sorted(len(r.applied) for r in results) == [0, 0, 0, len(migrations())]


def test_appends_do_not_depend_on_the_server_s_isolation(
    empty_database_url: str, password: str
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        strict = "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'"
        owner.execute(sql.SQL(strict).format(name))
    migrated = migrate(empty_database_url, app_password=password)
    log = EventLog(migrated.app_conninfo, Keyring.generate(), shelf_registry())

    def append(writer: int) -> None:
        for number in range(20):
            shelf = ShelfOpened(name=f"{writer}-{number}")
            log.append(writes(*envelopes(uuid4(), 0, shelf)))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(append, range(6)))
    assert log.head() == 120
    log.close()


def test_a_newer_database_is_refused(database_url: str, password: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute("INSERT INTO log.migrations VALUES (9999, 'future', '')")
    with pytest.raises(DatabaseTooNew, match="9999"):
        migrate(database_url, app_password=password)


def test_a_migration_with_other_content_is_refused(database_url: str, password: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE log.migrations SET digest = '' WHERE version = 1")
    with pytest.raises(MigrationError, match="never changes"):
        migrate(database_url, app_password=password)


def test_lost_rights_are_given_again(database_url: str, app_url: str, password: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute("REVOKE USAGE ON SCHEMA log FROM trackarr_app")
    with psycopg.connect(app_url) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("SELECT FROM log.events")
    migrate(database_url, app_password=password)
    with psycopg.connect(app_url) as app:
        app.execute("SELECT FROM log.events")


def test_a_login_that_could_rewrite_the_log_is_not_called_protected(
    database_url: str, password: str
) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute("GRANT UPDATE ON log.events TO trackarr_app")
    migrated = migrate(database_url, app_password=password)
    assert not migrated.protected


@pytest.fixture
def humble_url(empty_database_url: str) -> Iterator[str]:
    """An owner who may use his database, and make no roles."""
    name, secret = f"humble_{secrets.token_hex(4)}", secrets.token_hex(8)
    database = sql.Identifier(str(conninfo_to_dict(empty_database_url)["dbname"]))
    role = sql.Identifier(name)
    with psycopg.connect(empty_database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(secret)))
        owner.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, role))
    yield make_conninfo(empty_database_url, user=name, password=secret)
    with psycopg.connect(empty_database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
        owner.execute(sql.SQL("DROP OWNED BY {}").format(role))
        owner.execute(sql.SQL("DROP ROLE {}").format(role))


def test_without_the_right_to_make_roles_the_log_works_unprotected(humble_url: str) -> None:
    migrated = migrate(humble_url, app_password="not the password of that role")
    assert not migrated.protected
    assert migrated.app_conninfo == humble_url
    log = EventLog(migrated.app_conninfo, Keyring.generate(), shelf_registry())
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a"))))
    assert log.head() == 1
    log.close()


def test_without_the_right_to_hand_on_schemas_the_log_works_unprotected(
    humble_url: str, password: str
) -> None:
    """The restricted login exists, but not even this database's owner gave it CREATE."""
    migrated = migrate(humble_url, app_password=password)
    assert not migrated.protected
    assert migrated.app_conninfo == humble_url
