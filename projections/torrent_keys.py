"""Statements that choose the torrents of a page: numbers only, each from one index in order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from projections.torrent_browse import Browse, Sort
from projections.torrent_search import search_conditions

MERGED: Final = 2_000
"""Rows up to which the pages of several categories are merged; deeper ones walk one index."""
_FIGURES: Final = frozenset({"seeders", "leechers", "completed", "comments"})
_MERGED_SORTS: Final = frozenset({"recent", "seeders"})
"""Sorts with an index that begins with the category."""
_KEYS: Final = {
    "recent": "t.listed",
    "name": "t.name",
    "size": "t.size",
    "seeders": "f.seeders",
    "leechers": "f.leechers",
    "completed": "f.completed",
    "comments": "f.comments",
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a statement's text; everything else is a value. `hidden` is whose besides."""

    sort: Sort
    descending: bool
    hidden: str | None
    searched: bool
    tags: int
    conditions: tuple[str, ...]
    in_categories: bool
    without_categories: bool
    merged: bool
    from_cursor: bool

    @property
    def direction(self) -> str:
        return "DESC" if self.descending else "ASC"

    @property
    def names_suffice(self) -> bool:
        """Whether the table of names to search in answers alone."""
        return self.searched and not self.tags and all(c.startswith("s.") for c in self.conditions)

    @property
    def needs_torrents(self) -> bool:
        """Whether neither the sort's own table nor that of names answers alone."""
        return bool(self.searched or self.tags or self.conditions) and not self.names_suffice


def wanted(browse: Browse, values: dict[str, Any]) -> Wanted:
    """The shape of what is asked; puts the values of a search and a cursor into `values`."""
    conditions = []
    if browse.uploader is not None:
        conditions.append("t.uploader = %(uploader)s")
    conditions += [
        f"t.{name} = ANY(%({name})s::text[])"
        for name in ("imdb", "tmdb", "tvdb")
        if getattr(browse, name)
    ]
    searched = []
    if browse.search is not None:
        searched = search_conditions(browse.search, values)
        conditions += searched
    values.update({f"tag{place}": tag for place, tag in enumerate(browse.tags)})
    if browse.after is not None:
        values["after_key"], values["after_listed"] = browse.after
    viewer = browse.viewer
    own = "t.uploader = %(viewer)s" if viewer.account else None
    return Wanted(
        sort=browse.sort,
        descending=browse.descending,
        hidden="true" if viewer.is_staff else own,
        searched=any("s." in condition for condition in searched),
        tags=len(browse.tags),
        conditions=tuple(conditions),
        in_categories=browse.categories is not None,
        without_categories=bool(browse.without),
        merged=(
            browse.categories is not None
            and not browse.is_free
            and browse.sort in _MERGED_SORTS
            and browse.limit + browse.offset <= MERGED
        ),
        from_cursor=browse.after is not None,
    )


def order(wanted: Wanted) -> str:
    """The order of the rows of a page."""
    return f"{_KEYS[wanted.sort]} {wanted.direction}, t.listed {wanted.direction}"


@lru_cache(maxsize=512)
def walk(wanted: Wanted) -> str:
    """Numbers of a page, read in order.

    What everybody sees comes from one index; a member's own hidden rows, or all of them for
    staff, are few, and would spoil that walk: they come apart.
    """
    shown = _merged(wanted) if wanted.merged else _shown(wanted, _in_order(wanted))
    if wanted.hidden is None:
        return (
            f"SELECT number FROM ({shown}) page"
            f" ORDER BY key {wanted.direction}, listed {wanted.direction}"
            " LIMIT %(limit)s OFFSET %(offset)s"
        )
    return (
        f"SELECT number FROM (({shown}) UNION ALL ({_hidden(wanted, _in_order(wanted))})) page"
        f" ORDER BY key {wanted.direction}, listed {wanted.direction}"
        " LIMIT %(limit)s OFFSET %(offset)s"
    )


def probe(wanted: Wanted) -> str:
    """Numbers of matches in whatever order is quickest, at most `%(most)s`."""
    bare = msgspec.structs.replace(wanted, from_cursor=False, merged=False)
    others = wanted.conditions or wanted.in_categories or wanted.without_categories
    shown = (
        _tagged(wanted.tags) if wanted.tags and not others else _shown(bare, "", by_torrent=True)
    )
    if wanted.hidden is None:
        return f"SELECT number FROM ({shown}) found LIMIT %(most)s"
    return (
        f"SELECT number FROM (({shown} LIMIT %(most)s) UNION ALL"
        f" ({_hidden(bare, '')} LIMIT %(most)s)) found LIMIT %(most)s"
    )


def sort_found(wanted: Wanted) -> str:
    """Numbers of a page out of those `%(found)s`, each looked up in the narrowest table."""
    narrow = wanted.sort == "recent" or wanted.sort in _FIGURES
    table = "f" if narrow else "t"
    key = f"{table}.listed" if wanted.sort == "recent" else _KEYS[wanted.sort]
    return (
        f"SELECT {table}.number FROM torrents_4.{'figures f' if narrow else 'torrents t'}"
        f" WHERE {table}.number = ANY(%(found)s::bigint[]){_after(wanted, table, key=key)}"
        f" ORDER BY {key} {wanted.direction}, {table}.listed {wanted.direction}"
        " LIMIT %(limit)s OFFSET %(offset)s"
    )


def _in_order(wanted: Wanted) -> str:
    return f" ORDER BY key {wanted.direction}, listed {wanted.direction} LIMIT %(reach)s"


def _shown(wanted: Wanted, tail: str, *, by_torrent: bool = False, category: str = "") -> str:
    """Accepted torrents. `tail` orders and limits; `by_torrent` when the order does not matter.

    `category` is a condition in place of the usual one.
    """
    source, table, seen = _source(wanted, by_torrent=by_torrent)
    listed = f"{table}.listed"
    conditions = [seen, *wanted.conditions]
    if wanted.in_categories:
        conditions.append(category or f"{table}.category = ANY(%(categories)s::uuid[])")
    conditions += _without(wanted, table)
    if wanted.tags and (wanted.sort == "recent" or by_torrent):
        source += " JOIN torrents_4.tag_links k ON k.number = t.number"
        conditions += _all_tags(wanted.tags)
        listed = "k.listed"
    elif wanted.tags:
        conditions.append("t.tag_slugs @> %(tags)s::text[]")
    key = listed if wanted.sort == "recent" else _KEYS[wanted.sort]
    if by_torrent:
        key = "NULL"
    return (
        f"SELECT {table}.number, {key} AS key, {listed} AS listed FROM {source}"
        f" WHERE {' AND '.join(conditions)}{_after(wanted, table, key=key, listed=listed)}{tail}"
    )


def _source(wanted: Wanted, *, by_torrent: bool) -> tuple[str, str, str]:
    """What accepted torrents are read from: tables, the one in order, and that it shows them."""
    if wanted.names_suffice and (by_torrent or wanted.sort == "recent"):
        return "torrents_4.search_names s", "s", "s.shown"
    names = " JOIN torrents_4.search_names s ON s.number = {}.number" if wanted.searched else ""
    if wanted.sort not in _FIGURES or by_torrent:
        seen = "t.status = 'accepted' AND NOT t.withdrawn"
        return f"torrents_4.torrents t{names.format('t')}", "t", seen
    source = "torrents_4.figures f"
    if wanted.needs_torrents:
        source += " JOIN torrents_4.torrents t ON t.number = f.number"
    return source + names.format("f"), "f", "f.shown"


def _tagged(tags: int) -> str:
    """Shown torrents that bear the tags; nothing else has links."""
    return (
        "SELECT k.number, NULL AS key, k.listed AS listed FROM torrents_4.tag_links k"
        f" WHERE {' AND '.join(_all_tags(tags))}"
    )


def _all_tags(tags: int) -> list[str]:
    """That `k` is of the first tag, and its torrent bears the others, each looked up by itself.

    No two torrents have one `listed`; a second equal column would only mislead the planner.
    """
    return ["k.tag = %(tag0)s"] + [
        f"EXISTS (SELECT FROM torrents_4.tag_links k{place} WHERE k{place}.tag = %(tag{place})s"
        f" AND k{place}.listed = k.listed)"
        for place in range(1, tags)
    ]


def _hidden(wanted: Wanted, tail: str) -> str:
    """Torrents that are not accepted, as far as the viewer may see them."""
    source = "torrents_4.torrents t"
    conditions = ["t.status <> 'accepted'", "NOT t.withdrawn", *wanted.conditions]
    conditions += _without(wanted, "t")
    if wanted.hidden != "true":
        conditions.append(str(wanted.hidden))
    if wanted.in_categories:
        conditions.append("t.category = ANY(%(categories)s::uuid[])")
    listed = "t.listed"
    if wanted.sort in _FIGURES:
        source += " JOIN torrents_4.figures f ON f.number = t.number"
        conditions.append("NOT f.shown")
        listed = "f.listed"
    if wanted.searched:
        source += " JOIN torrents_4.search_names s ON s.number = t.number"
    if wanted.tags:
        conditions.append("t.tag_slugs @> %(tags)s::text[]")
    return (
        f"SELECT t.number, {_KEYS[wanted.sort]} AS key, {listed} AS listed FROM {source}"
        f" WHERE {' AND '.join(conditions)}{_after(wanted, 't', listed=listed)}{tail}"
    )


def _merged(wanted: Wanted) -> str:
    """The first rows of each category, each from its own stretch of an index."""
    table = "f" if wanted.sort in _FIGURES else "t"
    one = _shown(wanted, _in_order(wanted), category=f"{table}.category = chosen.id")
    return (
        "SELECT number, key, listed FROM unnest(%(categories)s::uuid[]) AS chosen (id)"
        f" CROSS JOIN LATERAL ({one}) first"
    )


def _without(wanted: Wanted, table: str) -> list[str]:
    if not wanted.without_categories:
        return []
    return [f"({table}.category IS NULL OR {table}.category <> ALL(%(without)s::uuid[]))"]


def _after(wanted: Wanted, table: str, *, key: str | None = None, listed: str | None = None) -> str:
    """The rows behind the cursor, in the order of the list."""
    if not wanted.from_cursor:
        return ""
    key = key or _KEYS[wanted.sort]
    listed = listed or f"{table}.listed"
    sign = "<" if wanted.descending else ">"
    if wanted.sort == "recent":
        return f" AND {listed} {sign} %(after_listed)s"
    return f" AND ({key}, {listed}) {sign} (%(after_key)s, %(after_listed)s)"
