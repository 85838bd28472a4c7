"""What a page of the catalogue depends on beside its rows: who looks, and at which categories."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from psycopg.rows import tuple_row

from domain.site_settings import DEFAULTS
from projections.engine import Connection
from projections.taxonomy import CategoryRow, list_categories


class CatalogueView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether only members may look, whether the viewer wants adult content, and the categories."""

    members_only: bool
    shows_adult: bool
    categories: CategoryTree

    @property
    def without(self) -> Sequence[UUID]:
        """Categories whose torrents the viewer's lists leave out."""
        return () if self.shows_adult else sorted(self.categories.adult)


class CategoryTree:
    """All categories, as of one state of their read model."""

    def __init__(self, rows: list[CategoryRow]) -> None:
        self.by_id = {row.id: row for row in rows}
        self._by_slug = {row.slug: row for row in rows}
        self.adult = frozenset(row.id for row in rows if self._is_adult(row))

    def branch(self, category: str) -> list[UUID]:
        """The category with this id or slug and its direct children; empty when there is none."""
        chosen = self._by_slug.get(category) or self._by_word(category)
        if chosen is None:
            return []
        return sorted(row.id for row in self.by_id.values() if chosen.id in {row.id, row.parent})

    def _by_word(self, word: str) -> CategoryRow | None:
        try:
            return self.by_id.get(UUID(word))
        except ValueError:
            return None

    def _is_adult(self, row: CategoryRow) -> bool:
        parent = self.by_id.get(row.parent) if row.parent else None
        return row.is_adult or (parent is not None and parent.is_adult)


class CategoryTrees:
    """The tree of one process, read again when its read model has moved."""

    def __init__(self) -> None:
        self._known: tuple[int, CategoryTree] | None = None

    def at(self, conn: Connection, position: int) -> CategoryTree:
        """The tree as of `position` of its read model, or newer."""
        known = self._known
        if known is None or known[0] != position:
            known = self._known = (position, CategoryTree(list_categories(conn)))
        return known[1]


_VIEW = """
SELECT
       (SELECT value FROM site_1.settings WHERE key = 'catalogueVisibility'),
       coalesce(
           (SELECT show_adult_content FROM profiles_1.profiles WHERE account = %s::uuid), false
       ),
       (SELECT last FROM taxonomy_2.position)
"""


def read_view(conn: Connection, trees: CategoryTrees, viewer: UUID | None) -> CatalogueView:
    """The catalogue as this viewer sees it, None for strangers."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_VIEW, [viewer], prepare=True).fetchone()
    if row is None:
        raise RuntimeError("a SELECT without a table gives a row")
    visibility, shows_adult, position = row
    visible_to = msgspec.json.decode(visibility) if visibility else DEFAULTS["catalogueVisibility"]
    return CatalogueView(
        members_only=visible_to == "members",
        shows_adult=bool(shows_adult),
        categories=trees.at(conn, int(position or 0)),
    )
