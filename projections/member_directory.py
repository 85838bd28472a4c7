"""The member directory: what lists of members are sorted by, beside the read models.

It is no projection: last seen is telemetry, and figures are copied once a minute, so no replay
could make it again to the byte and no digest covers it. Pages show the figures themselves; only
their order is as old as the last copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from psycopg import sql
from psycopg.rows import scalar_row

from projections.engine import Connection, is_installed, tuples, use_schema

SCHEMA: Final = "member_directory_2"
INFINITE: Final = 2**63 - 1
"""The ratio of who uploaded and never downloaded."""
_NEWCOMERS_BACK: Final = 256
"""Numbers are given out before their fact is saved: so far back one may come late."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# Integers throughout, so that a cursor can hold them: last_seen is microseconds since 1970 UTC,
# 0 for never, created likewise: imported members are older than their numbers; ratio is in millionths. name is the username in small letters.
DDL: Final = """
CREATE TABLE members (
    account uuid PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    created bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    last_seen bigint NOT NULL,
    uploaded bigint NOT NULL,
    downloaded bigint NOT NULL,
    ratio bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX members_created ON members (created, number);
CREATE INDEX members_name ON members (name, number);
CREATE INDEX members_last_seen ON members (last_seen, number);
CREATE INDEX members_uploaded ON members (uploaded, number);
CREATE INDEX members_downloaded ON members (downloaded, number);
CREATE INDEX members_ratio ON members (ratio, number);
"""

_FIGURES: Final = """
    SELECT a.id AS account, a.number,
        (extract(epoch FROM a.created_at) * 1000000)::bigint AS created, lower(a.username) AS name,
        coalesce((extract(epoch FROM s.last_at) * 1000000)::bigint, 0) AS last_seen,
        f.uploaded, f.downloaded,
        CASE WHEN f.downloaded > 0 THEN
                least(f.uploaded::numeric * 1000000 / f.downloaded, 9000000000000000000)::bigint
            WHEN f.uploaded > 0 THEN 9223372036854775807
            ELSE 0 END AS ratio
    FROM users_1.accounts a
    LEFT JOIN accounting_1.member_totals t ON t.account = a.number
    LEFT JOIN profiles_1.sign_ins s ON s.account = a.id
    CROSS JOIN LATERAL (
        SELECT a.starter_upload + coalesce(t.uploaded, 0) AS uploaded,
            coalesce(t.downloaded, 0) AS downloaded
    ) f
"""


def install(conn: Connection) -> bool:
    """Create the empty directory; False when it is there already."""
    with conn.transaction():
        cursor = tuples(conn)
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 4712))", [SCHEMA])
        if is_installed(conn, SCHEMA):
            return False
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        use_schema(cursor, SCHEMA)
        cursor.execute(DDL.encode())
    return True


def admit_newcomers(conn: Connection, *, everyone: bool = False) -> list[UUID]:
    """Enter the members the directory does not know yet; who they are.

    It looks a little behind the newest number it knows. An import takes numbers far ahead of
    their facts, so now and then `everyone` has to be compared.
    """
    with conn.cursor(row_factory=scalar_row) as cursor:
        # Asked apart: of a number it knows the planner sees how few rows lie behind.
        newest = cursor.execute(
            "SELECT coalesce(max(number), 0) FROM member_directory_2.members"
        ).fetchone()
        return cursor.execute(
            f"""
            INSERT INTO member_directory_2.members
                (account, number, created, name, last_seen, uploaded, downloaded, ratio)
            {_FIGURES}
            WHERE a.number > %(after)s AND NOT EXISTS (
                SELECT FROM member_directory_2.members m
                WHERE m.number > %(after)s AND m.number = a.number
            )
            ON CONFLICT DO NOTHING
            RETURNING account
            """,
            {"after": -1 if everyone else int(newest or 0) - _NEWCOMERS_BACK},
        ).fetchall()


def copy_figures(conn: Connection) -> int:
    """Bring figures and last sign-ins up to date; how many members' changed.

    Rows that stay as they are are not touched: with 100,000 members it is one reading.
    """
    cursor = tuples(conn)
    cursor.execute(
        f"""
        UPDATE member_directory_2.members m SET
            last_seen = greatest(m.last_seen, f.last_seen),
            uploaded = f.uploaded, downloaded = f.downloaded, ratio = f.ratio
        FROM ({_FIGURES}) f
        WHERE m.account = f.account AND (m.last_seen < f.last_seen
            OR (m.uploaded, m.downloaded, m.ratio) <> (f.uploaded, f.downloaded, f.ratio))
        """
    )
    return cursor.rowcount


def note_last_seen(conn: Connection, seen: Mapping[UUID, datetime]) -> None:
    """Note when these were last seen; never an older time than is known."""
    tuples(conn).execute(
        """
        UPDATE member_directory_2.members m SET last_seen = n.seen
        FROM unnest(%s::uuid[], %s::bigint[]) AS n (account, seen)
        WHERE m.account = n.account AND m.last_seen < n.seen
        """,
        [list(seen), [stamp(at) for at in seen.values()]],
    )


def stamp(at: datetime) -> int:
    """An instant as the directory holds it."""
    return (at - _EPOCH) // _MICROSECOND


def instant(seen: int) -> datetime | None:
    """The instant of a stamp, None for never."""
    return _EPOCH + seen * _MICROSECOND if seen else None
