"""Changing the category tree."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, TakenErrors, Unit
from domain import taxonomy


class CreateCategory(msgspec.Struct, frozen=True, kw_only=True):
    """Create a category, below `parent` if given; the slug follows the name unless given."""

    category: UUID
    name: str
    slug: str | None = None
    parent: UUID | None = None
    newznab_id: int | None = None
    type: taxonomy.CategoryType | None = None
    icon: str | None = None
    is_adult: bool = False


class CategoryCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The category as it was created."""

    id: UUID
    name: str
    slug: str
    parent: UUID | None
    newznab_id: int | None
    type: taxonomy.CategoryType | None
    icon: str | None
    is_adult: bool
    created_at: datetime


def load_category(unit: Unit, category: UUID) -> taxonomy.Category | None:
    """The category with this id; None when there is none or it was removed."""
    try:
        found = unit.load(category, taxonomy.evolve)
    except TypeError:
        # The id belongs to another kind of thing, whose facts no category has.
        return None
    return None if found is None or found.removed else found


def handle_create_category(unit: Unit, command: CreateCategory) -> CategoryCreated:
    """Create it. Raises `CategoryNotFound` (the parent), `CategoryTooDeep`, `CategoryInvalid`,
    `CategorySlugTaken`.
    """
    parent = load_category(unit, command.parent) if command.parent else None
    if command.parent and parent is None:
        raise taxonomy.CategoryNotFound()
    facts = taxonomy.create_category(
        parent,
        name=command.name,
        slug=command.slug,
        newznab_id=command.newznab_id,
        type=command.type,
        icon=command.icon,
        is_adult=command.is_adult,
    )
    unit.record(command.category, 0, facts)
    created = next(fact for fact in facts if isinstance(fact, taxonomy.CategoryCreated))
    return CategoryCreated(
        id=command.category,
        name=created.name,
        slug=created.slug,
        parent=created.parent,
        newznab_id=created.newznab_id,
        type=created.type,
        icon=created.icon,
        is_adult=created.is_adult,
        created_at=unit.at,
    )


HANDLERS: dict[type, Handler] = {CreateCategory: handle_create_category}
TAKEN: TakenErrors = {"category.slug": taxonomy.CategorySlugTaken}
