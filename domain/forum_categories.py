"""Categories of the forum: one level, in an order the administrators choose."""

from __future__ import annotations

import re
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from domain.errors import Conflict, Invalid, NotFound
from domain.kernel import Envelope, Fact
from domain.texts import is_storable

NAME_LENGTH: Final = 100
DESCRIPTION_LENGTH: Final = 500
ICON_LENGTH: Final = 50
LAST_PLACE: Final = 1_000_000
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")


class ForumCategoryCreated(Fact, frozen=True):
    """An administrator created a category of the forum."""

    TOPIC: ClassVar[str] = "forum_category.created.1"

    name: str
    description: str | None
    icon: str | None
    color: str | None
    place: int


class ForumCategoryEdited(Fact, frozen=True):
    """An administrator edited a category of the forum, which is all as it stands here."""

    TOPIC: ClassVar[str] = "forum_category.edited.1"

    name: str
    description: str | None
    icon: str | None
    color: str | None
    place: int


class ForumCategoryRemoved(Fact, frozen=True):
    """An administrator removed a category of the forum in which there was no topic."""

    TOPIC: ClassVar[str] = "forum_category.removed.1"


FACTS: tuple[type[Fact], ...] = (ForumCategoryCreated, ForumCategoryEdited, ForumCategoryRemoved)


class ForumCategoryNotFound(NotFound):
    """No such category, or it was removed."""

    code = "forum_category_not_found"
    message = "Category not found"


class ForumCategoryInvalid(Invalid):
    """A field of a category is outside its range; `data["field"]` names it."""

    code = "forum_category_invalid"


class ForumCategoryInUse(Conflict):
    """Topics still belong to it; `data["topics"]` says how many."""

    code = "forum_category_in_use"
    message = "Delete this category's topics first."


class ForumCategoryFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a category is; `place` orders categories, equal ones by age."""

    name: str
    description: str | None = None
    icon: str | None = None
    color: str | None = None
    place: int = 0


class ForumCategoryChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to change; a field that is not set stays."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    icon: str | UnsetType | None = UNSET
    color: str | UnsetType | None = UNSET
    place: int | UnsetType = UNSET


class ForumCategory(msgspec.Struct, frozen=True, kw_only=True):
    """A category as its facts leave it."""

    id: UUID
    version: int
    created_at: datetime
    fields: ForumCategoryFields
    removed: bool = False


def evolve(state: ForumCategory | None, envelope: Envelope) -> ForumCategory:
    """Fold one fact of a category."""
    fact, version = envelope.fact, envelope.originator_version
    if state is None and isinstance(fact, ForumCategoryCreated):
        return ForumCategory(
            id=envelope.originator_id,
            version=version,
            created_at=envelope.meta.at,
            fields=fields_of(fact),
        )
    if state is not None and isinstance(fact, ForumCategoryEdited):
        return msgspec.structs.replace(state, version=version, fields=fields_of(fact))
    if state is not None and isinstance(fact, ForumCategoryRemoved):
        return msgspec.structs.replace(state, version=version, removed=True)
    raise TypeError(f"{type(fact).__name__} is no next fact of a forum category")


def create_forum_category(fields: ForumCategoryFields) -> list[Fact]:
    """Create a category. Raises `ForumCategoryInvalid`."""
    fields = _checked(fields)
    return [ForumCategoryCreated(**msgspec.structs.asdict(fields))]


def edit_forum_category(
    category: ForumCategory | None, changes: ForumCategoryChanges
) -> list[Fact]:
    """Change a category; nothing when it is so already.

    Raises `ForumCategoryNotFound`, `ForumCategoryInvalid`.
    """
    category = _require_present(category)
    wanted = {
        name: value
        for name in changes.__struct_fields__
        if (value := getattr(changes, name)) is not UNSET
    }
    fields = _checked(msgspec.structs.replace(category.fields, **wanted))
    if fields == category.fields:
        return []
    return [ForumCategoryEdited(**msgspec.structs.asdict(fields))]


def remove_forum_category(category: ForumCategory | None, *, topics: int) -> list[Fact]:
    """Remove a category without topics.

    Raises `ForumCategoryNotFound`, `ForumCategoryInUse`.
    """
    _require_present(category)
    if topics:
        raise ForumCategoryInUse(topics=topics)
    return [ForumCategoryRemoved()]


def _require_present(category: ForumCategory | None) -> ForumCategory:
    if category is None or category.removed:
        raise ForumCategoryNotFound()
    return category


def fields_of(fact: ForumCategoryCreated | ForumCategoryEdited) -> ForumCategoryFields:
    """The category a fact leaves."""
    return ForumCategoryFields(
        name=fact.name,
        description=fact.description,
        icon=fact.icon,
        color=fact.color,
        place=fact.place,
    )


def _checked(fields: ForumCategoryFields) -> ForumCategoryFields:
    name = _text("name", fields.name, NAME_LENGTH)
    if name is None:
        raise ForumCategoryInvalid(f"name: must have 1 to {NAME_LENGTH} characters", field="name")
    color = (fields.color or "").strip().lower() or None
    if color is not None and not _COLOUR.fullmatch(color):
        raise ForumCategoryInvalid("color: must be like #336699", field="color")
    if not 0 <= fields.place <= LAST_PLACE:
        raise ForumCategoryInvalid(f"order: must be between 0 and {LAST_PLACE}", field="order")
    return ForumCategoryFields(
        name=name,
        description=_text("description", fields.description, DESCRIPTION_LENGTH),
        icon=_text("icon", fields.icon, ICON_LENGTH),
        color=color,
        place=fields.place,
    )


def _text(field: str, text: str | None, length: int) -> str | None:
    """The text trimmed; a blank one is none."""
    words = (text or "").strip()
    if len(words) > length or not is_storable(words):
        raise ForumCategoryInvalid(f"{field}: must have at most {length} characters", field=field)
    return words or None
