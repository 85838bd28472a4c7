"""Brings a database to the version this code needs, once, however many processes ask."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources

import psycopg
from psycopg import Connection, sql

from ops.migrations.roles import (
    app_conninfo,
    can_rewrite_log,
    ensure_role,
    login_works,
    may_hold_read_models,
)

OLDEST_SERVER = 150000
LOCK = 4711_000
"""Advisory lock of the database being migrated, held for the connection."""

_NAME = re.compile(r"(\d{4})_\w+\.sql")
_VERSIONS = """
CREATE SCHEMA IF NOT EXISTS log;
CREATE SCHEMA IF NOT EXISTS vault;
CREATE SCHEMA IF NOT EXISTS ledger;
CREATE TABLE IF NOT EXISTS log.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""


class MigrationError(Exception):
    """The database can't be brought to the version this code needs."""


class DatabaseTooNew(MigrationError):
    """A newer Trackarr has already changed this database."""


class ServerTooOld(MigrationError):
    """The PostgreSQL server lacks what the store needs."""


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    text: str

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True)
class Migrated:
    """What `migrate` found and did; `app_conninfo` is the login the processes use.

    `protected` is False when the server would not let us make the restricted login: the
    processes then use the owner's, and nothing in the database keeps them from rewriting
    the log.
    """

    version: int
    applied: tuple[int, ...]
    protected: bool
    app_conninfo: str


def migrate(owner_url: str, *, app_password: str) -> Migrated:
    """Create or upgrade the schemas log, vault and ledger, and the application's login.

    Idempotent, and safe when several processes call it at once. Raises `DatabaseTooNew`,
    `ServerTooOld`, `MigrationError`, or psycopg's `OperationalError` when the server is out
    of reach.
    """
    with psycopg.connect(owner_url, autocommit=True) as conn:
        if conn.info.server_version < OLDEST_SERVER:
            raise ServerTooOld(
                f"PostgreSQL {OLDEST_SERVER // 10000} or newer is needed, this server is "
                f"{conn.info.server_version // 10000}"
            )
        conn.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        applied = _apply(conn)
        exists = ensure_role(conn, owner_url, app_password)
        _protect(conn, grant=exists)
        restricted = app_conninfo(owner_url, app_password)
        # Only the database's owner can hand on the right to make schemas; PostgreSQL passes
        # over the same GRANT by another login with a warning.
        usable = exists and may_hold_read_models(conn) and login_works(restricted)
        protected = usable and not can_rewrite_log(conn)
    return Migrated(
        version=migrations()[-1].version,
        applied=applied,
        protected=protected,
        app_conninfo=restricted if protected else owner_url,
    )


def migrations() -> tuple[Migration, ...]:
    """Every numbered migration of this code, in order."""
    found = []
    for entry in resources.files("ops.migrations").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            text = entry.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), entry.name, text))
    return tuple(sorted(found, key=lambda m: m.version))


def _apply(conn: Connection) -> tuple[int, ...]:
    known = migrations()
    with conn.transaction():
        conn.execute(_VERSIONS)
        rows = conn.execute("SELECT version, name, digest FROM log.migrations").fetchall()
        done = {version: (name, bytes(digest)) for version, name, digest in rows}
        newest = max(done, default=0)
        if newest > known[-1].version:
            raise DatabaseTooNew(
                f"this database has version {newest}, this Trackarr knows {known[-1].version}; "
                "start the newer Trackarr"
            )
        applied = []
        for migration in known:
            if migration.version in done:
                _check_unchanged(migration, done[migration.version])
                continue
            conn.execute(migration.text.encode())
            conn.execute(
                "INSERT INTO log.migrations (version, name, digest) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.digest),
            )
            applied.append(migration.version)
    return tuple(applied)


def _check_unchanged(migration: Migration, done: tuple[str, bytes]) -> None:
    if done[1] != migration.digest:
        raise MigrationError(
            f"migration {migration.name} was applied with other content as {done[0]}; "
            "a released migration never changes"
        )


def _protect(conn: Connection, *, grant: bool) -> None:
    """Take every right from PUBLIC, and give the application's login its few."""
    with conn.transaction():
        conn.execute("REVOKE ALL ON ALL ROUTINES IN SCHEMA log, vault, ledger FROM PUBLIC")
        conn.execute("REVOKE ALL ON SCHEMA log, vault, ledger FROM PUBLIC")
        if not grant:
            return
        conn.execute((resources.files("ops.migrations") / "grants.sql").read_bytes())
        database = sql.Identifier(conn.info.dbname)
        conn.execute(
            sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO trackarr_app").format(database)
        )
    # The append waits for its turn and then looks where the log ends; under a stricter default
    # of the server it would look where the log ended when it began to wait.
    with suppress(psycopg.errors.InsufficientPrivilege):
        conn.execute(
            sql.SQL(
                "ALTER ROLE trackarr_app IN DATABASE {}"
                " SET default_transaction_isolation = 'read committed'"
            ).format(database)
        )
