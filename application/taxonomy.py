"""Changing the category tree."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from application.bus import Handler, TakenErrors, Unit
from application.ports import EventLogPort
from domain import taxonomy
from domain.default_categories import DEFAULT_CATEGORIES


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


class EditCategory(msgspec.Struct, frozen=True, kw_only=True):
    """Change a category; what is not given stays, and the slug follows the name."""

    category: UUID
    name: str
    newznab_id: int | UnsetType | None = UNSET
    type: taxonomy.CategoryType | UnsetType | None = UNSET
    icon: str | UnsetType | None = UNSET
    is_adult: bool | UnsetType = UNSET


class RemoveCategory(msgspec.Struct, frozen=True, kw_only=True):
    """Remove a category nothing belongs to.

    `torrents` and `children` are what read models at the log's head count of it: no aggregate
    knows what belongs to a category.
    """

    category: UUID
    torrents: int
    children: int


class SeedCategories(msgspec.Struct, frozen=True, kw_only=True):
    """Create what is missing of the default tree; a slug that is there counts as the category."""


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


def load_category(facts: Unit | EventLogPort, category: UUID) -> taxonomy.Category | None:
    """The category with this id; None when there is none or it was removed."""
    try:
        found = facts.load(category, taxonomy.evolve)
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


def handle_edit_category(unit: Unit, command: EditCategory) -> taxonomy.Category:
    """Edit it. Raises `CategoryNotFound`, `CategoryInvalid`, `CategorySlugTaken`."""
    before = taxonomy.require_present(load_category(unit, command.category))
    parent = load_category(unit, before.parent) if before.parent else None
    facts = taxonomy.edit_category(
        before,
        parent=parent,
        name=command.name,
        newznab_id=before.newznab_id if command.newznab_id is UNSET else command.newznab_id,
        type=before.type if command.type is UNSET else command.type,
        icon=before.icon if command.icon is UNSET else command.icon,
        is_adult=before.is_adult if command.is_adult is UNSET else command.is_adult,
    )
    unit.record(before.id, before.version, facts)
    for fact in facts:
        if isinstance(fact, taxonomy.CategoryEdited):
            return msgspec.structs.replace(
                before,
                version=before.version + 1,
                name=fact.name,
                slug=fact.slug,
                newznab_id=fact.newznab_id,
                type=fact.type,
                icon=fact.icon,
                is_adult=fact.is_adult,
            )
    return before


def handle_remove_category(unit: Unit, command: RemoveCategory) -> None:
    """Remove it. Raises `CategoryNotFound`, `CategoryInUse`."""
    category = load_category(unit, command.category)
    facts = taxonomy.remove_category(category, torrents=command.torrents, children=command.children)
    unit.record(command.category, category.version if category else 0, facts)


def handle_seed_categories(unit: Unit, _command: SeedCategories) -> int:
    """Create what is missing; how many that were.

    The ids are the same for everybody, so that of two who seed at once the second finds the
    tree; one that was renamed stays as it is, one that was removed comes back under its id.
    """
    created = 0
    parents: dict[str, taxonomy.Category | None] = {}
    for default in DEFAULT_CATEGORIES:
        owner = unit.claim_owner(taxonomy.slug_claim(default.slug))
        if owner is not None:
            parents[default.slug] = load_category(unit, owner)
            continue
        parent = parents[default.parent] if default.parent else None
        if parent is not None and parent.parent is not None:
            # Somebody's own category has the slug below another one: nothing fits under it.
            continue
        gone = unit.load(default.id, taxonomy.evolve)
        if gone is not None and not gone.removed:
            # It was renamed, so its first slug is free again; the category is still there.
            parents[default.slug] = gone
            continue
        facts = taxonomy.create_category(
            parent,
            name=default.name,
            # Below a parent that was renamed the slug starts with the new one.
            slug=default.slug.removeprefix(f"{default.parent}-"),
            newznab_id=default.newznab_id,
            type=default.type,
            is_adult=default.is_adult,
        )
        slug = next(fact.slug for fact in facts if isinstance(fact, taxonomy.CategoryCreated))
        if unit.claim_owner(taxonomy.slug_claim(slug)) is not None:
            continue
        version = gone.version if gone else 0
        unit.record(default.id, version, facts)
        created += 1
        parents[default.slug] = taxonomy.Category(
            id=default.id,
            version=version + 1,
            name=default.name,
            slug=slug,
            parent=parent.id if parent else None,
            newznab_id=default.newznab_id,
            type=default.type,
            icon=None,
            is_adult=default.is_adult,
        )
    return created


HANDLERS: dict[type, Handler] = {
    CreateCategory: handle_create_category,
    EditCategory: handle_edit_category,
    RemoveCategory: handle_remove_category,
    SeedCategories: handle_seed_categories,
}
TAKEN: TakenErrors = {"category.slug": taxonomy.CategorySlugTaken}
