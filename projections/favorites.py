"""Members' favourites: tables, fold and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from domain.favorites import TorrentFavorited, TorrentUnfavorited
from domain.kernel import Recorded
from projections.engine import Connection, Cursor
from projections.torrent_browse import Viewer
from projections.torrent_lists import ListedTorrent, list_numbered_torrents

DDL = """
CREATE TABLE favorites (
    member uuid NOT NULL,
    torrent uuid NOT NULL,
    listed bigint NOT NULL,
    favorited_at timestamptz NOT NULL,
    PRIMARY KEY (member, torrent)
);
CREATE INDEX ON favorites (member, listed);
CREATE TABLE member_favorites (
    member uuid PRIMARY KEY,
    amount bigint NOT NULL
) WITH (fillfactor = 90);
"""
# listed: the log position of the fact, by which "recent" is ordered and a cursor walks on.
Sort = Literal["recent", "name", "seeders"]
CURSOR_KINDS: Final[Mapping[Sort, tuple[type, ...]]] = {
    "recent": (int, int),
    "name": (str, int),
    "seeders": (int, int),
}
"""Types of the two values in a cursor: the sort key, and `listed` to break ties."""
_KEYS: Final[Mapping[Sort, sql.SQL]] = {
    "recent": sql.SQL("v.listed"),
    "name": sql.SQL("t.name"),
    "seeders": sql.SQL("f.seeders"),
}


class FavoriteTorrent(msgspec.Struct, frozen=True):
    """A favourite, with the place it has in its list: the sort key and `listed`."""

    torrent: ListedTorrent
    favorited_at: datetime
    key: str | int
    listed: int


class FavoritesProjection:
    """Which torrents are whose favourites now, and how many each member has."""

    name = "favorites"
    version = 1
    topics: frozenset[str] | None = frozenset({TorrentFavorited.TOPIC, TorrentUnfavorited.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "favorites": ("member", "torrent"),
        "member_favorites": ("member",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Set each touched pair to its last state, and count what became different."""
        last: dict[tuple[UUID, UUID], tuple[int, datetime] | None] = {}
        for recorded in batch:
            match recorded.envelope.fact:
                case TorrentFavorited(member=member, torrent=torrent):
                    last[member, torrent] = (recorded.position, recorded.envelope.meta.at)
                case TorrentUnfavorited(member=member, torrent=torrent):
                    last[member, torrent] = None
        if last:
            _set_pairs(cursor, last)


def _set_pairs(
    cursor: Cursor, last: Mapping[tuple[UUID, UUID], tuple[int, datetime] | None]
) -> None:
    gone = cursor.execute(
        """
        DELETE FROM favorites f USING unnest(%b::uuid[], %b::uuid[]) AS touched (member, torrent)
        WHERE (f.member, f.torrent) = (touched.member, touched.torrent)
        RETURNING f.member
        """,
        [[member for member, _ in last], [torrent for _, torrent in last]],
    ).fetchall()
    kept = [(*pair, *since) for pair, since in last.items() if since is not None]
    if kept:
        cursor.execute(
            """
            INSERT INTO favorites (member, torrent, listed, favorited_at)
            SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::timestamptz[])
            """,
            [list(column) for column in zip(*kept, strict=True)],
        )
    change = Counter(member for member, *_ in kept)
    change.subtract(row[0] for row in gone)
    cursor.execute(
        """
        INSERT INTO member_favorites AS m (member, amount)
        SELECT * FROM unnest(%b::uuid[], %b::bigint[])
        ON CONFLICT (member) DO UPDATE SET amount = m.amount + excluded.amount
        """,
        [list(change), list(change.values())],
    )
    if gone:
        cursor.execute(
            "DELETE FROM member_favorites WHERE member = ANY(%s::uuid[]) AND amount = 0",
            [list(change)],
        )


class FavoritesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one page, and how many favourites there are in all."""

    rows: Sequence[FavoriteTorrent]
    total: int


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    favorited_at: datetime
    key: str | int
    listed: int
    total: int


_FIGURES: Final = sql.SQL("JOIN torrents_4.figures f ON f.number = t.number")
_VISIBLE: Final = sql.SQL(
    """
    FROM favorites_1.favorites v
    JOIN torrents_4.torrents t ON t.id = v.torrent
    {figures}
    WHERE v.member = %(viewer)s AND NOT t.withdrawn
      AND (t.status = 'accepted' OR %(is_staff)s OR t.uploader = %(viewer)s)
      AND (t.category IS NULL OR t.category <> ALL(%(without)s::uuid[]))
    """
)


def list_favorites(
    conn: Connection,
    viewer: Viewer,
    sort: Sort,
    *,
    without: Sequence[UUID],
    limit: int,
    offset: int,
    after: tuple[str | int, ...] | None = None,
) -> FavoritesPage:
    """The viewer's favourites he may see: newest first, by name, or most seeders first.

    Those in the categories `without` are left out; `after` is the place of the last row before.
    """
    key, direction = _KEYS[sort], sql.SQL("ASC" if sort == "name" else "DESC")
    behind: sql.Composable = sql.SQL("")
    values = {**_values(viewer, without), "limit": limit, "offset": offset}
    if after is not None:
        values["after_key"], values["after_listed"] = after
        behind = sql.SQL("WHERE (key, listed) {} (%(after_key)s, %(after_listed)s)").format(
            sql.SQL(">" if sort == "name" else "<")
        )
    # Whoever counts them has looked each one up, which is nearly all that the page costs.
    statement = sql.SQL(
        "WITH mine AS MATERIALIZED"
        " (SELECT t.number, v.favorited_at, {key} AS key, v.listed {visible})"
        " SELECT mine.*, (SELECT count(*) FROM mine) AS total FROM mine {behind}"
        " ORDER BY key {direction}, listed {direction} LIMIT %(limit)s OFFSET %(offset)s"
    ).format(
        key=key,
        visible=_VISIBLE.format(figures=_FIGURES if sort == "seeders" else sql.SQL("")),
        behind=behind,
        direction=direction,
    )
    with conn.cursor(row_factory=class_row(_Place)) as cursor:
        places = cursor.execute(statement, values, prepare=True).fetchall()
    if not places:
        return FavoritesPage(rows=(), total=_count(conn, viewer, without))
    rows = list_numbered_torrents(conn, [place.number for place in places], viewer)
    return FavoritesPage(
        rows=[
            FavoriteTorrent(rows[place.number], place.favorited_at, place.key, place.listed)
            for place in places
        ],
        total=places[0].total,
    )


def _count(conn: Connection, viewer: Viewer, without: Sequence[UUID]) -> int:
    """How many favourites the viewer may see, where no row of a page tells it."""
    statement = sql.SQL("SELECT count(*) {}").format(_VISIBLE.format(figures=sql.SQL("")))
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement, _values(viewer, without), prepare=True).fetchone()
    return int(row[0]) if row else 0


def _values(viewer: Viewer, without: Sequence[UUID]) -> dict[str, object]:
    return {"viewer": viewer.account, "is_staff": viewer.is_staff, "without": list(without)}
