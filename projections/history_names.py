"""Names of the things a history speaks of, and finding the thing a reader means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from uuid import UUID

from psycopg.rows import tuple_row

from projections.engine import Connection

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_NAMES = """
    SELECT id, username FROM users_1.accounts WHERE id = ANY(%(ids)s::uuid[])
    UNION ALL SELECT id, '"' || name || '"' FROM torrents_4.torrents WHERE id = ANY(%(ids)s::uuid[])
    UNION ALL SELECT id, name FROM taxonomy_2.categories WHERE id = ANY(%(ids)s::uuid[])
"""
_MEANT = """
    SELECT id FROM torrents_4.torrents
    WHERE info_hash = left(%(hash)s, 40) OR left(info_hash_v2, 40) = left(%(hash)s, 40)
    ORDER BY withdrawn, listed DESC LIMIT 1
"""


def names_of(conn: Connection, ids: Iterable[UUID]) -> Mapping[UUID, str]:
    """Names of members, torrents (in quotes) and categories; what has no name is not in it."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return dict(cursor.execute(_NAMES, {"ids": list(ids)}).fetchall())


def find_subject(conn: Connection, meant: str) -> UUID | None:
    """The thing of that id, info hash (withdrawn torrents too) or member's name, or None."""
    try:
        return UUID(meant)
    except ValueError:
        pass
    wanted = meant.lower()
    statement = (
        _MEANT
        if _HASH.fullmatch(wanted)
        else "SELECT id FROM users_1.accounts WHERE lower(username) = %(hash)s"
    )
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement, {"hash": wanted}).fetchone()
    return row[0] if row else None
