"""A member's torrents as he sees them: what he downloaded, what he seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row

from projections.engine import Connection

Held = Literal["downloaded", "active", "pending", "completed", "hnr", "all"]

_HELD: Final[Mapping[Held, sql.SQL]] = {
    "downloaded": sql.SQL("(h.raw_downloaded > 0 OR h.completed_at > 0 OR h.leeching > 0)"),
    "active": sql.SQL("h.seeding > 0"),
    "pending": sql.SQL("(h.seeding = 0 AND h.completed_at = 0 AND h.seed_seconds = 0)"),
    "completed": sql.SQL("(h.seeding = 0 AND (h.completed_at > 0 OR h.seed_seconds > 0))"),
    # No fact makes an obligation to seed, so nobody can have broken one.
    "hnr": sql.SQL("false"),
    "all": sql.SQL("true"),
}


class MemberTorrentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One torrent of a member with its swarm at present.

    Sizes are bytes, `uploaded` and `downloaded` as credited; `seed_seconds` is his seeding.
    `first_at` and `completed_at` are microseconds since 1970 UTC, 0 for never.
    """

    id: UUID
    info_hash: str
    name: str
    size: int
    category: UUID | None
    imdb: str | None
    tmdb: str | None
    tvdb: str | None
    igdb: str | None
    openlibrary: str | None
    uploaded: int
    downloaded: int
    seed_seconds: int
    first_at: int
    completed_at: int
    seeders: int
    leechers: int
    completed: int


class HeldCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many torrents of a member are in each state; `all` is the sum of the first three."""

    downloaded: int
    active: int
    pending: int
    completed: int
    hnr: int
    all: int


_LIST = sql.SQL(
    """
    SELECT t.id, t.info_hash, t.name, t.size, t.category, t.imdb, t.tmdb, t.tvdb, t.igdb,
        t.openlibrary, h.uploaded, h.downloaded, h.seed_seconds, h.first_at, h.completed_at,
        coalesce(l.seeders, 0) AS seeders, coalesce(l.leechers, 0) AS leechers,
        coalesce(c.snatches, 0) AS completed
    FROM users_1.accounts a
    JOIN accounting_1.holdings h ON h.account = a.number
    JOIN torrents_4.torrents t ON t.number = h.torrent
    LEFT JOIN accounting_1.torrent_live l ON l.torrent = h.torrent
    LEFT JOIN accounting_1.torrent_totals c ON c.torrent = h.torrent
    WHERE a.id = %(account)s AND NOT t.withdrawn AND {held}
    ORDER BY h.first_at DESC, h.torrent DESC
    LIMIT %(limit)s OFFSET %(offset)s
    """
)
_COUNT = sql.SQL(
    """
    SELECT {counts}
    FROM users_1.accounts a
    JOIN accounting_1.holdings h ON h.account = a.number
    JOIN torrents_4.torrents t ON t.number = h.torrent
    WHERE a.id = %s AND NOT t.withdrawn
    """
).format(
    counts=sql.SQL(", ").join(
        sql.SQL("count(*) FILTER (WHERE {}) AS {}").format(held, sql.Identifier(name))
        for name, held in _HELD.items()
    )
)


def list_member_torrents(
    conn: Connection, account: UUID, held: Held, *, limit: int, offset: int
) -> list[MemberTorrentRow]:
    """The member's torrents in that state, those he began last first."""
    values: dict[str, Any] = {"account": account, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(MemberTorrentRow)) as cursor:
        return cursor.execute(_LIST.format(held=_HELD[held]), values).fetchall()


def count_member_torrents(conn: Connection, account: UUID) -> HeldCounts:
    """How many torrents of the member are in each state."""
    with conn.cursor(row_factory=class_row(HeldCounts)) as cursor:
        row = cursor.execute(_COUNT, [account]).fetchone()
    if row is None:
        raise RuntimeError("a count gives a row whatever it counts")
    return row
