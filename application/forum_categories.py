"""Arranging the forum's categories."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from domain import forum_categories
from domain.forum_categories import (
    ForumCategory,
    ForumCategoryChanges,
    ForumCategoryEdited,
    ForumCategoryFields,
)


class CreateForumCategory(msgspec.Struct, frozen=True, kw_only=True):
    """Create a category of the forum."""

    category: UUID
    fields: ForumCategoryFields


class EditForumCategory(msgspec.Struct, frozen=True, kw_only=True):
    """Change parts of a category."""

    category: UUID
    changes: ForumCategoryChanges


class RemoveForumCategory(msgspec.Struct, frozen=True, kw_only=True):
    """Remove a category; `topics` is how many it has, by a read model that holds the whole log.

    A topic committed between that look and this may lose its category: its page then shows none.
    """

    category: UUID
    topics: int


class StandingForumCategory(msgspec.Struct, frozen=True, kw_only=True):
    """The category as it is now."""

    id: UUID
    fields: ForumCategoryFields
    created_at: datetime


def load_forum_category(unit: Unit, category: UUID) -> ForumCategory | None:
    """The category with this id; None when the id is of another kind of thing."""
    return unit.find(category, forum_categories.evolve)


def handle_create_forum_category(unit: Unit, command: CreateForumCategory) -> StandingForumCategory:
    """Create it. Raises `ForumCategoryInvalid`."""
    facts = forum_categories.create_forum_category(command.fields)
    unit.record(command.category, 0, facts)
    made = next(fact for fact in facts if isinstance(fact, forum_categories.ForumCategoryCreated))
    return StandingForumCategory(
        id=command.category, fields=forum_categories.fields_of(made), created_at=unit.at
    )


def handle_edit_forum_category(unit: Unit, command: EditForumCategory) -> StandingForumCategory:
    """Edit it. Raises `ForumCategoryNotFound`, `ForumCategoryInvalid`."""
    category = load_forum_category(unit, command.category)
    facts = forum_categories.edit_forum_category(category, command.changes)
    if category is None:
        raise forum_categories.ForumCategoryNotFound()
    unit.record(command.category, category.version, facts)
    edited = next((fact for fact in facts if isinstance(fact, ForumCategoryEdited)), None)
    return StandingForumCategory(
        id=category.id,
        fields=forum_categories.fields_of(edited) if edited else category.fields,
        created_at=category.created_at,
    )


def handle_remove_forum_category(unit: Unit, command: RemoveForumCategory) -> None:
    """Remove it. Raises `ForumCategoryNotFound`, `ForumCategoryInUse`."""
    category = load_forum_category(unit, command.category)
    facts = forum_categories.remove_forum_category(category, topics=command.topics)
    unit.record(command.category, category.version if category else 0, facts)


HANDLERS: dict[type, Handler] = {
    CreateForumCategory: handle_create_forum_category,
    EditForumCategory: handle_edit_forum_category,
    RemoveForumCategory: handle_remove_forum_category,
}
