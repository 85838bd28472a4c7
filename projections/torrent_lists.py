"""Lists of torrents: the catalogue with its filters and sorts, and the moderation queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from projections.engine import Connection
from projections.search_text import fold_text

Sort = Literal["recent", "name", "size", "seeders", "leechers", "completed"]
COUNTED = 2_000
"""Matches of a free filter are counted exactly up to here, then "at least" (design, section 9)."""
TERMS = 8
"""Words of a search that count; the rest of a pasted text narrows nothing further."""

_SORT_KEYS: Mapping[Sort, sql.SQL] = {
    "recent": sql.SQL("t.listed"),
    "name": sql.SQL("t.name"),
    "size": sql.SQL("t.size"),
    "seeders": sql.SQL("coalesce(l.seeders, 0)"),
    "leechers": sql.SQL("coalesce(l.leechers, 0)"),
    "completed": sql.SQL("coalesce(c.snatches, 0)"),
}
CURSOR_KINDS: Mapping[Sort, tuple[type, ...]] = {
    "recent": (int, int),
    "name": (str, int),
    "size": (int, int),
    "seeders": (int, int),
    "leechers": (int, int),
    "completed": (int, int),
}
"""Types of the two values in a cursor: the sort key, and `listed` to break ties."""


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks: everybody sees accepted torrents, staff all, a member his own besides."""

    account: UUID | None = None
    is_staff: bool = False


class Browse(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the catalogue.

    `categories` are ids any of which will do, None for all; `uploader` narrows to the uploads
    of one member. `search` is free text, or an info
    hash. `after` holds the last row's sort key and `listed`; `offset` counts rows to skip.
    """

    viewer: Viewer
    categories: Sequence[UUID] | None = None
    uploader: UUID | None = None
    search: str | None = None
    sort: Sort = "recent"
    descending: bool = True
    limit: int = 20
    offset: int = 0
    after: tuple[str | int, ...] | None = None


class ListedTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a list. `listed` is the log position "recent" orders by; sizes are bytes."""

    id: UUID
    listed: int
    info_hash: str
    info_hash_v2: str | None
    name: str
    size: int
    file_count: int
    category: UUID | None
    uploader: UUID
    uploader_name: str | None
    status: str
    created_at: datetime
    moderator: UUID | None
    moderator_name: str | None
    moderated_at: datetime | None
    imdb: str | None
    tmdb: str | None
    tvdb: str | None
    tags: list[str]
    seeders: int
    leechers: int
    completed: int


class Total(msgspec.Struct, frozen=True):
    """Number of matches; at least so many when it is not exact."""

    count: int
    exact: bool


_ROWS = sql.SQL(
    """
    SELECT t.id, t.listed, t.info_hash, t.info_hash_v2, t.name, t.size, t.file_count, t.category,
           t.uploader, u.username AS uploader_name, t.status, t.created_at, t.moderator,
           m.username AS moderator_name, t.moderated_at, t.imdb, t.tmdb, t.tvdb, t.tags,
           coalesce(l.seeders, 0) AS seeders, coalesce(l.leechers, 0) AS leechers,
           coalesce(c.snatches, 0) AS completed
    FROM torrents_3.torrents t
    LEFT JOIN users_1.accounts u ON u.id = t.uploader
    LEFT JOIN users_1.accounts m ON m.id = t.moderator
    LEFT JOIN accounting_1.torrent_live l ON l.torrent = t.number
    LEFT JOIN accounting_1.torrent_totals c ON c.torrent = t.number
    WHERE t.id = ANY(ARRAY({keys}))
    ORDER BY {order}
    """
)
# The keys come first, from one index, and only the rows of the page are decorated: the array
# hides the limit from the outer plan, which else guesses a tenth of the table.

_JOINS = {
    "search": sql.SQL(" JOIN torrents_3.search_names s ON s.torrent = t.id"),
    "live": sql.SQL(" LEFT JOIN accounting_1.torrent_live l ON l.torrent = t.number"),
    "totals": sql.SQL(" LEFT JOIN accounting_1.torrent_totals c ON c.torrent = t.number"),
}


_ARM = sql.SQL(
    "(SELECT t.id, {key} AS key, t.listed FROM torrents_3.torrents t{joins}"
    " WHERE {conditions} ORDER BY {order} LIMIT %(reach)s)"
)


def list_torrents(conn: Connection, browse: Browse) -> list[ListedTorrent]:
    """One page of the catalogue."""
    values: dict[str, Any] = {
        "limit": browse.limit,
        "offset": browse.offset,
        "reach": browse.limit + browse.offset,
        "viewer": browse.viewer.account,
    }
    key = _SORT_KEYS[browse.sort]
    direction = sql.SQL("DESC" if browse.descending else "ASC")
    order = sql.SQL("{key} {direction}, t.listed {direction}").format(key=key, direction=direction)
    matches = [*_conditions(browse, values), *_after(browse, values)]
    # Each arm reads one index in order; a member's own hidden rows would spoil the first.
    arms = [
        _ARM.format(
            key=key,
            joins=_joins(browse),
            conditions=sql.SQL(" AND ").join([seen, *matches]),
            order=order,
        )
        for seen in _seen(browse.viewer)
    ]
    keys = sql.SQL(
        "SELECT id FROM ({arms}) a ORDER BY key {direction}, listed {direction}"
        " LIMIT %(limit)s OFFSET %(offset)s"
    ).format(arms=sql.SQL(" UNION ALL ").join(arms), direction=direction)
    statement = _ROWS.format(keys=keys, order=order)
    with conn.cursor(row_factory=class_row(ListedTorrent)) as cursor:
        return cursor.execute(statement, values).fetchall()


def count_torrents(conn: Connection, browse: Browse) -> Total:
    """How many torrents match: from counters, or counted up to `COUNTED` under a search or of
    one uploader.
    """
    if browse.search is None and browse.uploader is None:
        return Total(_counted(conn, browse), exact=True)
    values: dict[str, Any] = {"limit": COUNTED + 1, "viewer": browse.viewer.account}
    matches = _conditions(browse, values)
    seen = sql.SQL("({})").format(sql.SQL(") OR (").join(_seen(browse.viewer)))
    statement = sql.SQL(
        "SELECT count(*) FROM (SELECT FROM torrents_3.torrents t{joins}"
        " WHERE ({seen}) AND {matches} LIMIT %(limit)s) matches"
    ).format(joins=_search_join(browse), seen=seen, matches=sql.SQL(" AND ").join(matches))
    found = _number(conn, statement, values)
    return Total(min(found, COUNTED), exact=found <= COUNTED)


def sort_key(row: ListedTorrent, sort: Sort) -> str | int:
    """The value `sort` orders `row` by."""
    by: dict[Sort, str | int] = {
        "recent": row.listed,
        "name": row.name,
        "size": row.size,
        "seeders": row.seeders,
        "leechers": row.leechers,
        "completed": row.completed,
    }
    return by[sort]


def list_pending_torrents(
    conn: Connection, *, status: str | None, limit: int, offset: int
) -> list[ListedTorrent]:
    """Torrents that are not accepted, newest first; `status` narrows to one state."""
    keys = sql.SQL(
        """
        SELECT t.id FROM torrents_3.torrents t
        WHERE t.status <> 'accepted' AND NOT t.withdrawn
          AND (%(status)s::text IS NULL OR t.status = %(status)s)
        ORDER BY t.listed DESC LIMIT %(limit)s OFFSET %(offset)s
        """
    )
    statement = _ROWS.format(keys=keys, order=sql.SQL("t.listed DESC"))
    values = {"status": status, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(ListedTorrent)) as cursor:
        return cursor.execute(statement, values).fetchall()


def _joins(browse: Browse) -> sql.Composed:
    wanted = [_search_join(browse)]
    if browse.sort in {"seeders", "leechers"}:
        wanted.append(_JOINS["live"])
    if browse.sort == "completed":
        wanted.append(_JOINS["totals"])
    return sql.SQL("").join(wanted)


def _search_join(browse: Browse) -> sql.SQL:
    return sql.SQL("") if browse.search is None else _JOINS["search"]


def _seen(viewer: Viewer) -> list[sql.SQL]:
    """Rows a viewer may see, as conditions that exclude each other."""
    if viewer.is_staff:
        return [sql.SQL("true")]
    listed = sql.SQL("t.status = 'accepted'")
    own = sql.SQL("t.status <> 'accepted' AND t.uploader = %(viewer)s")
    return [listed, own] if viewer.account else [listed]


def _conditions(browse: Browse, values: dict[str, Any]) -> list[sql.Composable]:
    """What a row must be like; puts the values it names into `values`."""
    conditions: list[sql.Composable] = [sql.SQL("NOT t.withdrawn")]
    if browse.categories is not None:
        values["categories"] = list(browse.categories)
        conditions.append(sql.SQL("t.category = ANY(%(categories)s::uuid[])"))
    if browse.uploader is not None:
        values["uploader"] = browse.uploader
        conditions.append(sql.SQL("t.uploader = %(uploader)s"))
    if browse.search is not None:
        conditions.extend(_search_conditions(browse.search, values))
    return conditions


def _after(browse: Browse, values: dict[str, Any]) -> list[sql.Composable]:
    """The rows behind the cursor, in the order of the list."""
    if browse.after is None:
        return []
    values["after_key"], values["after_listed"] = browse.after
    return [
        sql.SQL("({key}, t.listed) {sign} (%(after_key)s, %(after_listed)s)").format(
            key=_SORT_KEYS[browse.sort], sign=sql.SQL("<" if browse.descending else ">")
        )
    ]


def _search_conditions(search: str, values: dict[str, Any]) -> list[sql.Composable]:
    wanted = search.strip().lower()
    if len(wanted) in {40, 64} and all(digit in "0123456789abcdef" for digit in wanted):
        values["hash"] = wanted
        return [
            sql.SQL(
                "(t.info_hash = left(%(hash)s, 40) OR left(t.info_hash_v2, 40) = left(%(hash)s, 40))"
            )
        ]
    terms = fold_text(search).split()[:TERMS]
    conditions: list[sql.Composable] = []
    for number, term in enumerate(terms):
        # Folded text has no wildcard characters, so nothing is left to escape.
        values[f"term{number}"] = f"%{term}%"
        conditions.append(sql.SQL("s.folded LIKE {}").format(sql.Placeholder(f"term{number}")))
    return conditions


def _counted(conn: Connection, browse: Browse) -> int:
    """The sum of counter rows, and of a member's own rows that only he sees."""
    values: dict[str, Any] = {"categories": None}
    if browse.categories is not None:
        values["categories"] = list(browse.categories)
    total = _number(
        conn,
        sql.SQL(
            """
            SELECT coalesce(sum(torrents), 0)::bigint FROM torrents_3.counts
            WHERE (%(categories)s::uuid[] IS NULL OR category = ANY(%(categories)s::uuid[]))
              AND (%(staff)s OR status = 'accepted')
            """
        ),
        {**values, "staff": browse.viewer.is_staff},
    )
    if browse.viewer.is_staff or browse.viewer.account is None:
        return total
    return total + _number(
        conn,
        sql.SQL(
            """
            SELECT count(*) FROM torrents_3.torrents
            WHERE uploader = %(viewer)s AND status <> 'accepted' AND NOT withdrawn
              AND (%(categories)s::uuid[] IS NULL OR category = ANY(%(categories)s::uuid[]))
            """
        ),
        {**values, "viewer": browse.viewer.account},
    )


def _number(conn: Connection, statement: sql.SQL | sql.Composed, values: Mapping[str, Any]) -> int:
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement, values).fetchone()
    return int(row[0]) if row else 0
