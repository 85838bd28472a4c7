"""Lists of torrents: the catalogue with its filters and sorts, and the moderation queue.

Every list chooses its keys first, from one index in order, and decorates the rows of the page
then. What no index gives in order is looked for without an order first, up to `SORTED` matches:
so few are sorted in no time, and of more the ordered walk meets the first ones soon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import class_row, tuple_row

from domain.errors import Unavailable
from projections import torrent_keys
from projections.engine import Connection
from projections.torrent_browse import FAVORITED, Browse, Sort, Viewer

COUNTED = 2_000
"""Matches of a free filter are counted exactly up to here, then "at least" (design, section 9)."""
SORTED = 5_000
"""So many matches are sorted; more are dense enough for a walk in order to meet the page soon."""
LONGEST_SEARCH = "2s"
"""No search may keep the database longer than this (issue "catalogue")."""


class SearchTooSlow(Unavailable):
    """The search took too long and was given up."""

    code = "search_too_slow"
    message = "This search takes too long; ask for something rarer."


class ListedTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a list. `listed` is the log position "recent" orders by; sizes are bytes.

    `favorited` is whether it is a favourite of the viewer.
    """

    id: UUID
    number: int
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
    igdb: str | None
    openlibrary: str | None
    tags: list[str]
    seeders: int
    leechers: int
    completed: int
    comments: int
    favorited: bool


class Total(msgspec.Struct, frozen=True):
    """Number of matches; at least so many when it is not exact."""

    count: int
    exact: bool


_ROWS = """
SELECT t.id, t.number, t.listed, t.info_hash, t.info_hash_v2, t.name, t.size, t.file_count, t.category,
       t.uploader, u.username AS uploader_name, t.status, t.created_at, t.moderator,
       m.username AS moderator_name, t.moderated_at, t.imdb, t.tmdb, t.tvdb, t.igdb,
       t.openlibrary, t.tags, f.seeders, f.leechers, f.completed, f.comments,
       {favorited} AS favorited
FROM torrents_4.torrents t
JOIN torrents_4.figures f ON f.number = t.number
LEFT JOIN users_1.accounts u ON u.id = t.uploader
LEFT JOIN users_1.accounts m ON m.id = t.moderator
WHERE t.number = ANY(ARRAY({keys}))
ORDER BY {order}
"""
# The array hides the limit from the outer plan, which else guesses a tenth of the table.


def browse_torrents(conn: Connection, browse: Browse) -> tuple[list[ListedTorrent], Total]:
    """One page of the catalogue, and how many torrents match. Raises `SearchTooSlow`."""
    if not browse.is_free:
        return _walk(conn, browse), count_torrents(conn, browse)
    try:
        with conn.transaction():
            _limit_search(conn)
            return _search(conn, browse)
    except psycopg.errors.QueryCanceled:
        raise SearchTooSlow(retry_after=5) from None


def _search(conn: Connection, browse: Browse) -> tuple[list[ListedTorrent], Total]:
    if browse.tags:
        counts = _count_tags(conn, browse.tags)
        if len(counts) < len(set(browse.tags)):
            return [], Total(0, exact=True)
        # The rarest comes first: it leads the walk.
        browse = msgspec.structs.replace(browse, tags=sorted(counts, key=counts.__getitem__))
        if browse.is_one_tag:
            tagged = counts[browse.tags[0]] + _count_hidden_tagged(conn, browse)
            return _walk(conn, browse), Total(tagged, exact=True)
    found = _probe(conn, browse, most=SORTED + 1)
    total = Total(min(len(found), COUNTED), exact=len(found) <= COUNTED)
    if len(found) > SORTED:
        return _walk(conn, browse), total
    return _list_found(conn, browse, found) if found else [], total


def list_torrents(conn: Connection, browse: Browse) -> list[ListedTorrent]:
    """One page of the catalogue."""
    if browse.is_free:
        return browse_torrents(conn, browse)[0]
    return _walk(conn, browse)


def count_torrents(conn: Connection, browse: Browse) -> Total:
    """How many torrents match: from counters, or counted up to `COUNTED`."""
    if browse.is_free:
        return browse_torrents(conn, browse)[1]
    if browse.uploader is not None:
        found = len(_probe(conn, browse, most=COUNTED + 1))
        return Total(min(found, COUNTED), exact=found <= COUNTED)
    values = {
        "categories": None if browse.categories is None else list(browse.categories),
        "without": list(browse.without),
        "is_staff": browse.viewer.is_staff,
        "viewer": browse.viewer.account,
    }
    return Total(_number(conn, _COUNT, values), exact=True)


def sort_key(row: ListedTorrent, sort: Sort) -> str | int:
    """The value `sort` orders `row` by."""
    by: dict[Sort, str | int] = {
        "recent": row.listed,
        "name": row.name,
        "size": row.size,
        "seeders": row.seeders,
        "leechers": row.leechers,
        "completed": row.completed,
        "comments": row.comments,
    }
    return by[sort]


def list_pending_torrents(
    conn: Connection, *, status: str | None, limit: int, offset: int
) -> list[ListedTorrent]:
    """Torrents that are not accepted, newest first; `status` narrows to one state."""
    keys = """
        SELECT t.number FROM torrents_4.torrents t
        WHERE t.status <> 'accepted' AND NOT t.withdrawn
          AND (%(status)s::text IS NULL OR t.status = %(status)s)
        ORDER BY t.listed DESC LIMIT %(limit)s OFFSET %(offset)s
    """
    values = {"status": status, "limit": limit, "offset": offset, "viewer": None}
    return _rows(conn, keys, "t.listed DESC", values, prepare=None)


def list_numbered_torrents(
    conn: Connection, numbers: Sequence[int], viewer: Viewer
) -> dict[int, ListedTorrent]:
    """The torrents with these numbers by number, whether the viewer may see them or not."""
    rows = _rows(
        conn,
        "SELECT unnest(%(numbers)s::bigint[])",
        "t.listed DESC",
        {"numbers": list(numbers), "viewer": viewer.account},
        prepare=True,
    )
    return {row.number: row for row in rows}


def _limit_search(conn: Connection) -> None:
    """To the end of the transaction: no statement for ever, and plans for the words asked.

    Of a common word the first matches are met soon, but nobody knows after how many others: they
    are met along an index, where tables of any size cost the same.
    """
    conn.execute(
        "SELECT set_config('statement_timeout', %s, true),"
        " set_config('plan_cache_mode', 'force_custom_plan', true),"
        " set_config('enable_seqscan', 'off', true)",
        [LONGEST_SEARCH],
    )


def _values(browse: Browse) -> dict[str, Any]:
    return {
        "viewer": browse.viewer.account,
        "limit": browse.limit,
        "offset": browse.offset,
        "reach": browse.limit + browse.offset,
        "uploader": browse.uploader,
        "without": list(browse.without),
        "categories": list(browse.categories or ()),
        "tags": list(browse.tags),
        "imdb": list(browse.imdb),
        "tmdb": list(browse.tmdb),
        "tvdb": list(browse.tvdb),
    }


def _walk(conn: Connection, browse: Browse) -> list[ListedTorrent]:
    values = _values(browse)
    wanted = torrent_keys.wanted(browse, values)
    return _rows(
        conn,
        torrent_keys.walk(wanted),
        torrent_keys.order(wanted),
        values,
        prepare=not browse.is_free,
    )


def _probe(conn: Connection, browse: Browse, *, most: int) -> list[int]:
    """Numbers of matches in no order: all, or the first `most`."""
    values = _values(browse)
    statement = torrent_keys.probe(torrent_keys.wanted(browse, values))
    values["most"] = most
    with conn.cursor(row_factory=tuple_row) as cursor:
        return [row[0] for row in cursor.execute(statement.encode(), values).fetchall()]


def _list_found(conn: Connection, browse: Browse, found: list[int]) -> list[ListedTorrent]:
    values = _values(browse)
    wanted = torrent_keys.wanted(browse, values)
    values["found"] = found
    return _rows(
        conn, torrent_keys.sort_found(wanted), torrent_keys.order(wanted), values, prepare=False
    )


def _rows(
    conn: Connection, keys: str, order: str, values: Mapping[str, Any], *, prepare: bool | None
) -> list[ListedTorrent]:
    statement = _ROWS.format(favorited=FAVORITED, keys=keys, order=order)
    with conn.cursor(row_factory=class_row(ListedTorrent)) as cursor:
        return cursor.execute(statement.encode(), values, prepare=prepare).fetchall()


def _count_tags(conn: Connection, tags: Sequence[str]) -> dict[str, int]:
    """How many shown torrents bear each of these tags, as far as they exist."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(
            "SELECT slug, torrents FROM tags_1.tags WHERE slug = ANY(%s::text[])", [list(tags)]
        ).fetchall()
    return {slug: int(torrents) for slug, torrents in rows}


def _count_hidden_tagged(conn: Connection, browse: Browse) -> int:
    if browse.viewer.account is None:
        return 0
    return _number(
        conn,
        """
        SELECT count(*) FROM torrents_4.torrents
        WHERE status <> 'accepted' AND NOT withdrawn AND tag_slugs @> %(tags)s::text[]
          AND (%(is_staff)s OR uploader = %(viewer)s)
        """,
        {**_values(browse), "is_staff": browse.viewer.is_staff},
    )


_COUNT = """
SELECT (
    SELECT coalesce(sum(torrents), 0)::bigint FROM torrents_4.counts
    WHERE (%(categories)s::uuid[] IS NULL OR category = ANY(%(categories)s::uuid[]))
      AND category <> ALL(%(without)s::uuid[])
      AND (%(is_staff)s OR status = 'accepted')
) + CASE WHEN %(is_staff)s OR %(viewer)s::uuid IS NULL THEN 0 ELSE (
    SELECT count(*) FROM torrents_4.torrents
    WHERE uploader = %(viewer)s AND status <> 'accepted' AND NOT withdrawn
      AND (%(categories)s::uuid[] IS NULL OR category = ANY(%(categories)s::uuid[]))
      AND (category IS NULL OR category <> ALL(%(without)s::uuid[]))
) END
"""
# Counters of the accepted, and of a member's own that only he sees.


def _number(conn: Connection, statement: str, values: Mapping[str, Any]) -> int:
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement.encode(), values, prepare=True).fetchone()
    return int(row[0]) if row else 0
