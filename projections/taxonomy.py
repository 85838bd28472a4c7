"""The category tree: its table, fold and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import class_row, tuple_row

from domain.kernel import Recorded
from domain.taxonomy import CategoryCreated, CategoryEdited, CategoryRemoved
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE categories (
    id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    slug text COLLATE "C" NOT NULL UNIQUE,
    parent uuid,
    newznab_id integer,
    type text COLLATE "C",
    icon text COLLATE "C",
    is_adult boolean NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ON categories (parent);
"""


class CategoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A category as lists and pages show it."""

    id: UUID
    name: str
    slug: str
    parent: UUID | None
    newznab_id: int | None
    type: str | None
    icon: str | None
    is_adult: bool
    created_at: datetime


class TaxonomyProjection:
    """Categories as they are now."""

    name = "taxonomy"
    version = 2
    topics: frozenset[str] | None = frozenset(
        {CategoryCreated.TOPIC, CategoryEdited.TOPIC, CategoryRemoved.TOPIC}
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"categories": ("id",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Apply the facts in order; a site has a few dozen of them in all its life."""
        for recorded in batch:
            envelope = recorded.envelope
            match envelope.fact:
                case CategoryCreated() as fact:
                    _category_created(cursor, envelope.originator_id, fact, envelope.meta.at)
                case CategoryEdited() as fact:
                    _category_edited(cursor, envelope.originator_id, fact)
                case CategoryRemoved():
                    cursor.execute("DELETE FROM categories WHERE id = %s", [envelope.originator_id])


def _category_created(cursor: Cursor, category: UUID, fact: CategoryCreated, at: datetime) -> None:
    # There are logs in which one that was renamed is created again; its last creation counts.
    cursor.execute(
        """
        INSERT INTO categories
            (id, name, slug, parent, newznab_id, type, icon, is_adult, created_at)
        VALUES (%(id)s, %(name)s, %(slug)s, %(parent)s, %(newznab_id)s, %(type)s, %(icon)s,
                %(is_adult)s, %(created_at)s)
        ON CONFLICT (id) DO UPDATE
        SET name = excluded.name, slug = excluded.slug, parent = excluded.parent,
            newznab_id = excluded.newznab_id, type = excluded.type, icon = excluded.icon,
            is_adult = excluded.is_adult
        """,
        {"id": category, "parent": fact.parent, "created_at": at, **_fields(fact)},
    )


def _category_edited(cursor: Cursor, category: UUID, fact: CategoryEdited) -> None:
    cursor.execute(
        """
        UPDATE categories
        SET name = %(name)s, slug = %(slug)s, newznab_id = %(newznab_id)s, type = %(type)s,
            icon = %(icon)s, is_adult = %(is_adult)s
        WHERE id = %(id)s
        """,
        {"id": category, **_fields(fact)},
    )


def _fields(fact: CategoryCreated | CategoryEdited) -> dict[str, Any]:
    return {
        "name": fact.name,
        "slug": fact.slug,
        "newznab_id": fact.newznab_id,
        "type": fact.type,
        "icon": fact.icon,
        "is_adult": fact.is_adult,
    }


def list_categories(conn: Connection) -> list[CategoryRow]:
    """All categories by name; two levels, so the caller makes the tree."""
    with conn.cursor(row_factory=class_row(CategoryRow)) as cursor:
        return cursor.execute(
            """
            SELECT id, name, slug, parent, newznab_id, type, icon, is_adult, created_at
            FROM taxonomy_2.categories
            ORDER BY name, id
            LIMIT 10000
            """
        ).fetchall()


def find_category(conn: Connection, category: UUID) -> CategoryRow | None:
    """One category by id."""
    with conn.cursor(row_factory=class_row(CategoryRow)) as cursor:
        return cursor.execute(
            """
            SELECT id, name, slug, parent, newznab_id, type, icon, is_adult, created_at
            FROM taxonomy_2.categories
            WHERE id = %s
            """,
            [category],
        ).fetchone()


def count_belongings(conn: Connection, category: UUID) -> tuple[int, int]:
    """(torrents, children) of a category; torrents of any status but withdrawn ones."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(
            """
            SELECT (SELECT coalesce(sum(torrents), 0)::bigint FROM torrents_4.counts
                    WHERE category = %(category)s),
                   (SELECT count(*) FROM taxonomy_2.categories WHERE parent = %(category)s)
            """,
            {"category": category},
        ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)
