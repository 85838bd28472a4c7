"""What is asked of the catalogue in its benchmark, and the obvious SQL for the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote, urlencode

from ops.benchmarks import catalogue_plain as plain
from ops.benchmarks.catalogue_set import RARE, Shape, member_name, tag_name

Kind = Literal["browse", "filter", "search", "detail", "profile", "favorites"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROWS = 20
DEEP_PAGE = 5_000
"""A page far down; offsets end at row 100,000 (design, section 9)."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One kind of request with its variants: the path, and the parameters of the plain statements.

    The first of those gives the rows.
    """

    name: str
    kind: Kind
    plain: Sequence[str]
    variants: Sequence[tuple[str, Mapping[str, Any]]]
    first: bool = False
    """A first page, or a single one: its growth with the catalogue is measured."""


REALISTIC = "realistic searches"
SEARCHES: Mapping[str, Sequence[str]] = {
    "search common word": ("1080p", "bluray", "x264", "night"),
    "search rare word": (RARE,),
    "search two words": ("1080p night", "x265 river", "webrip star", "hdtv summer"),
    "search two common words that never meet": ("epub x264", "flac 1080p"),
    "search Cyrillic": ("любовь", "последний город"),
    "search CJK": ("物語", "東京"),
    "search two letters": ("av", "tv"),
    "search pasted name": ("The.Night.1999.1080p.BluRay.x264-NTB",),
}


def path(**query: object) -> str:
    """A page of the catalogue."""
    return f"/api/torrents?{urlencode({**query, 'limit': ROWS})}"


def all_asks(
    shape: Shape, hashes: Sequence[str], names: Sequence[str], members: Sequence[str]
) -> Iterator[Ask]:
    """Every ask but the one by cursor, which needs an answer first.

    `hashes` are info hashes to show, `names` those of torrents to search for, `members` the ids
    behind `member_name(0)` and so on.
    """
    me = {"me": members[0]}
    yield from _browse(shape, me)
    yield from _filters(me)
    yield from _searches(me, names)
    yield Ask(
        name="torrent's page",
        kind="detail",
        plain=plain.page(),
        variants=[
            (f"/api/torrents/{known}", {"hash": known, "me": members[0]}) for known in hashes
        ],
        first=True,
    )
    yield Ask(
        name="member's profile",
        kind="profile",
        plain=plain.profile(),
        variants=[
            (f"/api/users/{quote(member)}", {"name": member_name(number)})
            for number, member in enumerate(members)
        ],
        first=True,
    )
    for sort in ("recent", "name", "seeders"):
        yield Ask(
            name=f"own favourites by {sort}",
            kind="favorites",
            plain=plain.favorites(sort),
            variants=[(f"/api/me/favorites?sort={sort}", {"me": members[0]})],
            first=True,
        )


def _browse(shape: Shape, me: Mapping[str, str]) -> Iterator[Ask]:
    for sort in plain.ORDERS:
        for page in (1, 50):
            offset = (page - 1) * ROWS
            if offset >= shape.torrents // 2:
                continue
            yield Ask(
                name=f"browse by {sort}, page {page}",
                kind="browse",
                plain=plain.listing("", sort),
                variants=[(path(sort=sort, page=page), {**me, "offset": offset})],
                first=page == 1,
            )


def deep_page(shape: Shape) -> int:
    """The page a cursor for "far down" is taken from."""
    return max(1, min(DEEP_PAGE - 1, shape.torrents // ROWS // 2))


def cursor_ask(shape: Shape, cursor: str, members: Sequence[str]) -> Ask:
    """The page behind `cursor`, which stands at the end of `deep_page`."""
    offset = deep_page(shape) * ROWS
    return Ask(
        name=f"browse by cursor, row {offset:,}",
        kind="browse",
        plain=plain.listing("", "recent"),
        variants=[(path(sort="recent", after=cursor), {"me": members[0], "offset": offset})],
    )


def _filters(me: Mapping[str, str]) -> Iterator[Ask]:
    for name, slug in (("category with its children", "movies"), ("leaf category", "tv-anime")):
        for sort in ("recent", "seeders"):
            yield Ask(
                name=f"{name}, by {sort}",
                kind="filter",
                plain=plain.listing(plain.IN_CATEGORY, sort),
                variants=[(path(category=slug, sort=sort), {**me, "slug": slug, "offset": 0})],
                first=True,
            )
    for name, tags in (("one tag", (0,)), ("a rarer tag", (90,)), ("two tags", (0, 1))):
        asked = [tag_name(tag) for tag in tags]
        yield Ask(
            name=name,
            kind="filter",
            plain=plain.listing("AND t.tags @> %(tags)s::text[]", "recent"),
            variants=[
                (
                    path(tags=",".join(tag.replace(" ", "-") for tag in asked)),
                    {**me, "tags": asked, "offset": 0},
                )
            ],
            first=True,
        )


def _searches(me: Mapping[str, str], names: Sequence[str]) -> Iterator[Ask]:
    for name, searches in {REALISTIC: _realistic(names), **SEARCHES}.items():
        for sort in ("recent", "seeders"):
            terms = [search.replace(".", " ").split() for search in searches]
            most = max(map(len, terms))
            where = " ".join(f"AND t.name ILIKE %(term{number})s" for number in range(most))
            yield Ask(
                name=f"{name}, by {sort}",
                kind="search",
                plain=plain.listing(where, sort),
                variants=[
                    (
                        path(q=search, sort=sort),
                        {
                            **me,
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


def _realistic(names: Sequence[str]) -> Sequence[str]:
    """What members type who look for one of these: a word or two, its beginning, the whole name."""
    found: list[str] = []
    for place, name in enumerate(names):
        words = [word for word in name.rpartition("-")[0].split(".") if word]
        title, quality = words[1:3], words[-1]
        found.append(
            (
                title[-1],
                name,
                f"{title[0]} {quality}",
                title[-1][: max(4, len(title[-1]) - 3)],
                " ".join(title),
            )[place % 5]
        )
    return found
