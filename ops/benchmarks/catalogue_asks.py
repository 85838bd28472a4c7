"""What is asked of the catalogue in its benchmark, and the obvious SQL for the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote, urlencode

from ops.benchmarks.catalogue_set import RARE, Shape, member_name, tag_name
from projections.accounting import SCHEMA as ACCOUNTING
from projections.engine import schema_of
from projections.registry import ALL

Kind = Literal["browse", "filter", "search", "detail", "profile", "favorites"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROWS = 20
DEEP_PAGE = 5_000
"""A page far down; offsets end at row 100,000 (design, section 9)."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One kind of request with its variants: the path, and the parameters of the plain statement."""

    name: str
    kind: Kind
    plain: str
    variants: Sequence[tuple[str, Mapping[str, Any]]]
    first: bool = False
    """A first page: its cost must not grow with the catalogue."""


SCHEMAS = {projection.name: schema_of(projection) for projection in ALL}
SCHEMAS["accounting"] = ACCOUNTING

_COLUMNS = """
SELECT t.id, t.info_hash, t.name, t.size, t.file_count, t.category, t.uploader, u.username,
       t.status, t.created_at, t.imdb, t.tmdb, t.tvdb, t.tags, coalesce(l.seeders, 0) AS seeders,
       coalesce(l.leechers, 0) AS leechers, coalesce(c.snatches, 0) AS completed
"""
_JOINED = """
LEFT JOIN {users}.accounts u ON u.id = t.uploader
LEFT JOIN {accounting}.torrent_live l ON l.torrent = t.number
LEFT JOIN {accounting}.torrent_totals c ON c.torrent = t.number
"""
_LIST = (
    _COLUMNS
    + "FROM {torrents}.torrents t"
    + _JOINED
    + "WHERE t.status = 'accepted' AND NOT t.withdrawn {where} ORDER BY {order}"
    + " LIMIT 20 OFFSET %(offset)s"
)
_DETAIL = (
    _COLUMNS
    + ", d.description, t.piece_length, t.file_ref, t.nfo_ref, ARRAY(SELECT k.content FROM"
    + " {comments}.comments k WHERE k.torrent = t.id ORDER BY k.id DESC LIMIT 20)"
    + " FROM {torrents}.torrents t JOIN {torrents}.descriptions d ON d.torrent = t.id"
    + _JOINED
    + "WHERE t.info_hash = %(hash)s AND NOT t.withdrawn"
)
_FAVORITES = (
    _COLUMNS
    + ", f.favorited_at FROM {favorites}.favorites f JOIN {torrents}.torrents t ON t.id = f.torrent"
    + _JOINED
    + "WHERE f.member = %(me)s AND t.status = 'accepted' AND NOT t.withdrawn ORDER BY {order} LIMIT 24"
)
_PROFILE = """
SELECT a.id, a.username, a.created_at, a.uploads, a.starter_upload, t.uploaded, t.downloaded,
       p.display_name, p.bio, p.show_last_seen,
       (SELECT count(*) FROM {follows}.follows f WHERE f.member = a.id)
FROM {users}.accounts a
LEFT JOIN {profiles}.profiles p ON p.account = a.id
LEFT JOIN {accounting}.member_totals t ON t.account = a.number
WHERE lower(a.username) = lower(%(name)s)
"""
_ORDERS = {
    "recent": "t.listed DESC",
    "name": "t.name DESC, t.listed DESC",
    "size": "t.size DESC, t.listed DESC",
    "seeders": "coalesce(l.seeders, 0) DESC, t.listed DESC",
    "leechers": "coalesce(l.leechers, 0) DESC, t.listed DESC",
    "completed": "coalesce(c.snatches, 0) DESC, t.listed DESC",
}
_IN_CATEGORY = """
AND t.category IN (
    SELECT id FROM {taxonomy}.categories WHERE slug = %(slug)s
    UNION ALL
    SELECT b.id FROM {taxonomy}.categories b JOIN {taxonomy}.categories a ON a.id = b.parent
    WHERE a.slug = %(slug)s)
"""
SEARCHES: Mapping[str, Sequence[str]] = {
    "common word": ("1080p", "bluray", "x264", "night"),
    "rare word": (RARE,),
    "two words": ("1080p night", "x265 river", "webrip star", "hdtv summer"),
    "two common words that never meet": ("epub x264", "flac 1080p"),
    "Cyrillic": ("любовь", "последний город"),
    "CJK": ("物語", "東京"),
    "two letters": ("av", "tv"),
    "pasted name": ("The.Night.1999.1080p.BluRay.x264-NTB",),
}


def statement(template: str) -> str:
    """The plain statement with the schemas of this version."""
    for name, schema in SCHEMAS.items():
        template = template.replace("{" + name + "}", schema)
    return template


def _list(where: str, order: str) -> str:
    return statement(_LIST.replace("{where}", where).replace("{order}", _ORDERS[order]))


def path(**query: object) -> str:
    """A page of the catalogue."""
    return f"/api/torrents?{urlencode({**query, 'limit': ROWS})}"


def all_asks(shape: Shape, hashes: Sequence[str], members: Sequence[str]) -> Iterator[Ask]:
    """Every ask but the one by cursor, which needs an answer first.

    `hashes` are info hashes to show, `members` the ids behind `member_name(0)` and so on.
    """
    yield from _browse(shape)
    yield from _filters()
    yield from _searches()
    yield Ask(
        name="torrent's page",
        kind="detail",
        plain=statement(_DETAIL),
        variants=[(f"/api/torrents/{known}", {"hash": known}) for known in hashes],
        first=True,
    )
    yield Ask(
        name="member's profile",
        kind="profile",
        plain=statement(_PROFILE),
        variants=[
            (f"/api/users/{quote(member)}", {"name": member_name(number)})
            for number, member in enumerate(members)
        ],
        first=True,
    )
    for sort, order in {**_ORDERS, "recent": "f.listed DESC"}.items():
        if sort in {"recent", "name", "seeders"}:
            yield Ask(
                name=f"own favourites by {sort}",
                kind="favorites",
                plain=statement(_FAVORITES.replace("{order}", order)),
                variants=[(f"/api/me/favorites?sort={sort}", {"me": members[0]})],
                first=True,
            )


def _browse(shape: Shape) -> Iterator[Ask]:
    for sort in _ORDERS:
        for page in (1, 50):
            offset = (page - 1) * ROWS
            if offset >= shape.torrents // 2:
                continue
            yield Ask(
                name=f"browse by {sort}, page {page}",
                kind="browse",
                plain=_list("", sort),
                variants=[(path(sort=sort, page=page), {"offset": offset})],
                first=page == 1,
            )


def deep_page(shape: Shape) -> int:
    """The page a cursor for "far down" is taken from."""
    return max(1, min(DEEP_PAGE - 1, shape.torrents // ROWS // 2))


def cursor_ask(shape: Shape, cursor: str) -> Ask:
    """The page behind `cursor`, which stands at the end of `deep_page`."""
    offset = deep_page(shape) * ROWS
    return Ask(
        name=f"browse by cursor, row {offset:,}",
        kind="browse",
        plain=_list("", "recent"),
        variants=[(path(sort="recent", after=cursor), {"offset": offset})],
    )


def _filters() -> Iterator[Ask]:
    for name, slug in (("category with its children", "movies"), ("leaf category", "tv-anime")):
        for sort in ("recent", "seeders"):
            yield Ask(
                name=f"{name}, by {sort}",
                kind="filter",
                plain=_list(_IN_CATEGORY, sort),
                variants=[(path(category=slug, sort=sort), {"slug": slug, "offset": 0})],
            )
    for name, tags in (("one tag", (0,)), ("a rarer tag", (90,)), ("two tags", (0, 1))):
        asked = [tag_name(tag) for tag in tags]
        yield Ask(
            name=name,
            kind="filter",
            plain=_list("AND t.tags @> %(tags)s::text[]", "recent"),
            variants=[
                (
                    path(tags=",".join(tag.replace(" ", "-") for tag in asked)),
                    {"tags": asked, "offset": 0},
                )
            ],
        )


def _searches() -> Iterator[Ask]:
    for name, searches in SEARCHES.items():
        for sort in ("recent", "seeders"):
            terms = [search.replace(".", " ").split() for search in searches]
            most = max(map(len, terms))
            where = " ".join(f"AND t.name ILIKE %(term{number})s" for number in range(most))
            yield Ask(
                name=f"search {name}, by {sort}",
                kind="search",
                plain=_list(where, sort),
                variants=[
                    (
                        path(q=search, sort=sort),
                        {
                            "offset": 0,
                            **{
                                # Fewer words than the longest search: the rest match anything.
                                f"term{number}": f"%{split[number] if number < len(split) else ''}%"
                                for number in range(most)
                            },
                        },
                    )
                    for search, split in zip(searches, terms, strict=True)
                ],
            )
