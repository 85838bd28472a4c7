"""The category tree a new site may start with, with the ids *Arr programs know."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

import msgspec

from domain.taxonomy import CategoryType

_CATEGORIES: Final = UUID("5b1f7a54-1c2e-5d0a-8a57-93c1c8a4f7b2")


class DefaultCategory(msgspec.Struct, frozen=True, kw_only=True):
    """One category of the tree; `parent` is the slug of the one above it."""

    slug: str
    name: str
    newznab_id: int
    parent: str | None = None
    type: CategoryType | None = None
    is_adult: bool = False

    @property
    def id(self) -> UUID:
        """The same on every site, so that two who seed at once make one tree."""
        return uuid5(_CATEGORIES, self.slug)


_BRANCHES: Final[
    tuple[tuple[str, str, int, CategoryType | None, tuple[tuple[str, str, int], ...]], ...]
] = (
    (
        "movies",
        "Movies",
        2000,
        "movie",
        (
            ("hd", "HD", 2040),
            ("uhd", "UHD/4K", 2045),
            ("sd", "SD", 2030),
            ("bluray", "Blu-Ray", 2050),
        ),
    ),
    (
        "tv",
        "TV",
        5000,
        "tv",
        (
            ("hd", "HD", 5040),
            ("uhd", "UHD/4K", 5045),
            ("sd", "SD", 5030),
            ("anime", "Anime", 5070),
            ("documentary", "Documentary", 5080),
        ),
    ),
    ("audio", "Audio", 3000, None, (("mp3", "MP3", 3010), ("lossless", "Lossless", 3040))),
    (
        "games",
        "Games",
        4050,
        "game",
        (
            ("pc", "PC", 4050),
            ("console", "Console", 1000),
            ("playstation", "PlayStation", 1180),
            ("xbox", "Xbox", 1040),
        ),
    ),
    ("software", "Software", 4000, None, (("windows", "Windows", 4020), ("mac", "Mac", 4030))),
    (
        "books",
        "Books",
        7000,
        "book",
        (("ebooks", "Ebooks", 7020), ("comics", "Comics", 7030), ("magazines", "Magazines", 7010)),
    ),
    ("xxx", "XXX", 6000, None, ()),
    ("other", "Other", 8000, None, ()),
)
"""Slug, name, Newznab id, type and children of each branch (the reference's own tree)."""


def _tree() -> tuple[DefaultCategory, ...]:
    made: list[DefaultCategory] = []
    for slug, name, number, kind, children in _BRANCHES:
        adult = slug == "xxx"
        made.append(
            DefaultCategory(slug=slug, name=name, newznab_id=number, type=kind, is_adult=adult)
        )
        made += [
            DefaultCategory(
                slug=f"{slug}-{child}",
                name=child_name,
                newznab_id=child_number,
                parent=slug,
                type=kind,
            )
            for child, child_name, child_number in children
        ]
    return tuple(made)


DEFAULT_CATEGORIES: Final = _tree()
"""Each category behind the one above it."""
