"""What may be asked of the catalogue: who looks, filters, order, and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal
from uuid import UUID

import msgspec

Sort = Literal["recent", "name", "size", "seeders", "leechers", "completed", "comments"]
CURSOR_KINDS: Mapping[Sort, tuple[type, ...]] = {
    "recent": (int, int),
    "name": (str, int),
    "size": (int, int),
    "seeders": (int, int),
    "leechers": (int, int),
    "completed": (int, int),
    "comments": (int, int),
}
"""Types of the two values in a cursor: the sort key, and `listed` to break ties."""

FAVORITED: Final = """coalesce((
           SELECT true FROM favorites_1.favorites v
           WHERE v.member = %(viewer)s::uuid AND v.torrent = t.id
       ), false)"""
"""Whether torrent `t` is a favourite of `viewer`; with EXISTS a page would read all he has."""


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks: everybody sees accepted torrents, staff all, a member his own besides."""

    account: UUID | None = None
    is_staff: bool = False


class Browse(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the catalogue.

    `categories` are ids any of which will do, None for all, `without` ids none of which will;
    `uploader` narrows to the uploads of one member. `search` is free text, or an info hash.
    Each of the `tags` (slugs) must be there. `imdb`, `tmdb` and `tvdb` are ids any of which will
    do. `after` holds the last row's sort key and `listed`; `offset` counts rows to skip.
    """

    viewer: Viewer
    categories: Sequence[UUID] | None = None
    without: Sequence[UUID] = ()
    uploader: UUID | None = None
    search: str | None = None
    tags: Sequence[str] = ()
    imdb: Sequence[str] = ()
    tmdb: Sequence[str] = ()
    tvdb: Sequence[str] = ()
    sort: Sort = "recent"
    descending: bool = True
    limit: int = 20
    offset: int = 0
    after: tuple[str | int, ...] | None = None

    @property
    def is_one_tag(self) -> bool:
        """Whether one tag is all that is asked for, in an order and a number we keep."""
        others = (self.categories, self.uploader, self.search)
        return (
            len(self.tags) == 1
            and self.sort == "recent"
            and all(each is None for each in others)
            and not (self.without or self.imdb or self.tmdb or self.tvdb)
        )

    @property
    def is_free(self) -> bool:
        """Whether the filters are such that no index gives their rows in order."""
        return bool(self.search is not None or self.tags or self.imdb or self.tmdb or self.tvdb)
