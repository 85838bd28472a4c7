"""The restricted login of the application, one per database cluster."""

from __future__ import annotations

import time

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

APP_ROLE = "trackarr_app"
_ATTEMPTS = 20


def app_conninfo(owner_url: str, password: str) -> str:
    """The owner's connection string with the application's login in place of the owner's."""
    return make_conninfo(owner_url, user=APP_ROLE, password=password)


def login_works(conninfo: str) -> bool:
    """Whether one can connect with these credentials."""
    try:
        psycopg.connect(conninfo, connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


def ensure_role(conn: Connection, owner_url: str, password: str) -> bool:
    """Make the application's login with this password, where the owner may; tell if it exists.

    The role belongs to the cluster, so no lock of one database keeps two migrations of
    different databases apart: a lost race ("tuple concurrently updated") is tried again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _try_role(conn, owner_url, password)
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            continue
        except psycopg.errors.InternalError_:
            time.sleep(0.01 * (attempt + 1))
    return _exists(conn)


def can_rewrite_log(conn: Connection) -> bool:
    """Whether the application's login could change or remove facts."""
    row = conn.execute(
        "SELECT has_table_privilege(%(role)s, 'log.events', 'UPDATE, DELETE, TRUNCATE')",
        {"role": APP_ROLE},
    ).fetchone()
    return row is not None and bool(row[0])


def may_hold_read_models(conn: Connection) -> bool:
    """Whether the application's login may make the schemas of its read models."""
    row = conn.execute(
        "SELECT has_database_privilege(%(role)s, current_database(), 'CREATE')", {"role": APP_ROLE}
    ).fetchone()
    return row is not None and bool(row[0])


def _try_role(conn: Connection, owner_url: str, password: str) -> bool:
    exists = _exists(conn)
    if exists and login_works(app_conninfo(owner_url, password)):
        return True
    verb = sql.SQL("ALTER" if exists else "CREATE")
    # The verifier is computed here, so the password itself is in no server log.
    verifier = conn.pgconn.encrypt_password(
        password.encode(), APP_ROLE.encode(), b"scram-sha-256"
    ).decode()
    statement = sql.SQL("{} ROLE {} WITH LOGIN PASSWORD {}").format(
        verb, sql.Identifier(APP_ROLE), sql.Literal(verifier)
    )
    try:
        conn.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return exists
    return True


def _exists(conn: Connection) -> bool:
    row = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (APP_ROLE,)).fetchone()
    return row is not None
