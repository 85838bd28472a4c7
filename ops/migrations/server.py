"""What a PostgreSQL server tells about itself, and the owner's login on one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from ops.migrations.migrate import migrations

CONNECT_SECONDS = 5
GOOD_DATABASE = "CREATE DATABASE trackarr TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"
"""How an administrator makes a database that knows the letters of every writing."""


@dataclass(frozen=True)
class PostgresFacts:
    """`version` is the major one; `clock` the server's, aware; sizes are bytes."""

    version: int
    encoding: str
    login: str
    may_create: bool
    clock: datetime
    fsync: str
    full_page_writes: str
    connections_max: int
    database_size: int


@dataclass(frozen=True)
class LogFacts:
    """How far the database is migrated, and what the connected login may do to the log.

    `rewritable` tells whether it may change or remove facts by privilege, by owning the table, or
    by being a superuser. `begun` tells whether the log holds any fact.
    """

    migrated_to: int
    newest: int
    rewritable: bool
    begun: bool


@dataclass(frozen=True)
class TrigramFacts:
    """The extension `pg_trgm`: whether the server has it, and whether it knows other letters.

    `knows_letters` is None until it is installed in the database; where it is false, words
    without Latin letters have no trigrams. `ctype` is what the database takes for letters.
    """

    available: bool
    ctype: str
    knows_letters: bool | None


_FACTS = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
       current_setting('server_encoding') AS encoding,
       current_user::text AS login,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       clock_timestamp() AS clock,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('max_connections')::int AS connections_max,
       pg_database_size(current_database()) AS database_size
"""
_LOG_FACTS = """
SELECT coalesce((SELECT max(version) FROM log.migrations), 0) AS migrated_to,
       %(newest)s::int AS newest,
       has_table_privilege('log.events', 'UPDATE, DELETE, TRUNCATE')
       OR pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'log.events'::regclass), 'USAGE')
       AS rewritable,
       EXISTS (SELECT FROM log.events) AS begun
"""

_TRIGRAMS = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'),
       (SELECT nspname::text FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
        WHERE extname = 'pg_trgm'),
       (SELECT datctype::text FROM pg_database WHERE datname = current_database())
"""


def postgres_facts(url: str) -> PostgresFacts:
    """Ask a server; raises psycopg's OperationalError or ProgrammingError."""
    with (
        psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection,
        connection.cursor(row_factory=class_row(PostgresFacts)) as cursor,
    ):
        found = cursor.execute(_FACTS).fetchone()
    if found is None:
        raise psycopg.OperationalError("the server did not describe itself")
    return found


def log_facts(url: str) -> LogFacts | None:
    """The state of the log as this login sees it; None where nothing was ever migrated."""
    with (
        psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection,
        connection.cursor(row_factory=class_row(LogFacts)) as cursor,
    ):
        there = connection.execute("SELECT to_regclass('log.events') IS NOT NULL").fetchone()
        if there is None or not there[0]:
            return None
        return cursor.execute(_LOG_FACTS, {"newest": migrations()[-1].version}).fetchone()


def trigram_facts(url: str) -> TrigramFacts:
    """What searches of names by parts of words rest upon; raises psycopg's OperationalError."""
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        row = connection.execute(_TRIGRAMS).fetchone()
        if row is None:
            raise psycopg.OperationalError("the server did not describe itself")
        available, schema, ctype = row
        if schema is None:
            return TrigramFacts(available=available, ctype=ctype, knows_letters=None)
        query = sql.SQL("SELECT cardinality({}.show_trgm('ш')) > 0").format(sql.Identifier(schema))
        knows = connection.execute(query).fetchone()
    return TrigramFacts(available=True, ctype=ctype, knows_letters=bool(knows and knows[0]))


def newest_head_at(url: str) -> datetime | None:
    """When the log's head was signed last, by the clock of who signed it; None before that."""
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        row = connection.execute(
            "SELECT at_micros FROM log.heads ORDER BY position DESC, ledger_seq DESC LIMIT 1"
        ).fetchone()
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row[0]) if row else None


def create_owner(superuser_url: str, *, owner: str, password: str, database: str) -> None:
    """Make the owner's login and its database where they are missing.

    The owner makes roles and databases and is no superuser, so that no function of ours runs as
    one. Each step is taken only where it is missing, as a crash may have come between them.
    """
    names: Mapping[str, str] = {"owner": owner, "database": database}
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(owner)s),"
            " EXISTS (SELECT FROM pg_database WHERE datname = %(database)s)",
            names,
        ).fetchone()
        has_owner, has_database = found or (False, False)
        if not has_owner:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}").format(
                    sql.Identifier(owner), sql.Literal(password)
                )
            )
        if not has_database:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(database), sql.Identifier(owner)
                )
            )
