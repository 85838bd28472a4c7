"""Categories of the catalogue: two levels, unique slugs, newznab ids for the *Arr programs."""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from domain.errors import Conflict, Invalid, NotFound
from domain.kernel import Claim, Envelope, Fact

CategoryType = Literal["movie", "tv", "game", "book"]

NAME_LENGTH = 100
SLUG_LENGTH = 200
ICON_LENGTH = 50
NEWZNAB_IDS = range(1000, 200_000)
"""Newznab's own ids have four digits; sites add theirs from 100000 on."""


class CategoryCreated(Fact, frozen=True):
    """An administrator created a category."""

    TOPIC: ClassVar[str] = "category.created.1"

    name: str
    slug: str
    parent: UUID | None
    newznab_id: int | None
    type: CategoryType | None
    icon: str | None
    is_adult: bool

    def claims(self) -> tuple[Claim, ...]:
        return (slug_claim(self.slug),)


class CategoryEdited(Fact, frozen=True):
    """An administrator changed a category; its slug follows its name."""

    TOPIC: ClassVar[str] = "category.edited.1"

    name: str
    slug: str
    previous_slug: str
    newznab_id: int | None
    type: CategoryType | None
    icon: str | None
    is_adult: bool

    def claims(self) -> tuple[Claim, ...]:
        return () if self.slug == self.previous_slug else (slug_claim(self.slug),)

    def releases(self) -> tuple[Claim, ...]:
        return () if self.slug == self.previous_slug else (slug_claim(self.previous_slug),)


class CategoryRemoved(Fact, frozen=True):
    """An administrator removed an unused category."""

    TOPIC: ClassVar[str] = "category.removed.1"

    slug: str

    def releases(self) -> tuple[Claim, ...]:
        return (slug_claim(self.slug),)


FACTS: tuple[type[Fact], ...] = (CategoryCreated, CategoryEdited, CategoryRemoved)


class CategoryNotFound(NotFound):
    """No such category, or it was removed."""

    code = "category_not_found"
    message = "Category not found"


class CategoryInvalid(Invalid):
    """A field of a category is outside its range; `data["field"]` names it."""

    code = "category_invalid"


class CategoryTooDeep(Invalid):
    """Categories have one level of children."""

    code = "category_too_deep"
    message = "A subcategory cannot have subcategories."


class CategoryInUse(Conflict):
    """Torrents or subcategories still belong to it."""

    code = "category_in_use"
    message = "Move or remove this category's torrents and subcategories first."


class CategorySlugTaken(Conflict):
    """Another category has this slug (claim kind "category.slug")."""

    code = "category_slug_taken"
    message = "A category with this slug already exists."


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A category as its facts leave it; `version` is that of its last fact."""

    id: UUID
    version: int
    name: str
    slug: str
    parent: UUID | None
    newznab_id: int | None
    type: CategoryType | None
    icon: str | None
    is_adult: bool
    removed: bool = False


def evolve(state: Category | None, envelope: Envelope) -> Category:
    """Fold one fact of a category."""
    fact = envelope.fact
    version = envelope.originator_version
    if isinstance(fact, CategoryCreated):
        return Category(
            id=envelope.originator_id,
            version=version,
            name=fact.name,
            slug=fact.slug,
            parent=fact.parent,
            newznab_id=fact.newznab_id,
            type=fact.type,
            icon=fact.icon,
            is_adult=fact.is_adult,
        )
    if state is not None and isinstance(fact, CategoryEdited):
        return msgspec.structs.replace(
            state,
            version=version,
            name=fact.name,
            slug=fact.slug,
            newznab_id=fact.newznab_id,
            type=fact.type,
            icon=fact.icon,
            is_adult=fact.is_adult,
        )
    if state is not None and isinstance(fact, CategoryRemoved):
        return msgspec.structs.replace(state, version=version, removed=True)
    raise TypeError(f"{type(fact).__name__} is no next fact of a category")


def slug_claim(slug: str) -> Claim:
    return Claim(kind="category.slug", value=slug)


def slugify(text: str) -> str:
    """Lower case without accents, runs of anything else turned into one dash, trimmed.

    May be empty: a name of no Latin letters and digits has no slug of its own.
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def create_category(
    parent: Category | None,
    *,
    name: str,
    slug: str | None = None,
    newznab_id: int | None = None,
    type: CategoryType | None = None,
    icon: str | None = None,
    is_adult: bool = False,
) -> list[Fact]:
    """Create a category, below `parent` if given.

    A child's slug starts with its parent's, also when one is asked for. Raises
    `CategoryInvalid`, `CategoryTooDeep`, `CategoryNotFound` (a removed parent).
    """
    if parent is not None:
        require_present(parent)
        if parent.parent is not None:
            raise CategoryTooDeep()
    name = _valid_name(name)
    return [
        CategoryCreated(
            name=name,
            slug=_slug_below(parent.slug if parent else None, slug or name),
            parent=parent.id if parent else None,
            newznab_id=_valid_newznab_id(newznab_id),
            type=type,
            icon=_valid_icon(icon),
            is_adult=is_adult,
        )
    ]


def edit_category(
    category: Category | None,
    *,
    parent: Category | None,
    name: str,
    newznab_id: int | None,
    type: CategoryType | None,
    icon: str | None,
    is_adult: bool,
) -> list[Fact]:
    """Change a category; nothing when it is so. `parent` is the state of the one above it.

    The slug follows the new name; slugs of children stay. Raises `CategoryNotFound`,
    `CategoryInvalid`.
    """
    category = require_present(category)
    name = _valid_name(name)
    edited = CategoryEdited(
        name=name,
        slug=_slug_below(parent.slug if parent else None, name),
        previous_slug=category.slug,
        newznab_id=_valid_newznab_id(newznab_id),
        type=type,
        icon=_valid_icon(icon),
        is_adult=is_adult,
    )
    same = msgspec.structs.replace(
        category,
        name=edited.name,
        slug=edited.slug,
        newznab_id=edited.newznab_id,
        type=edited.type,
        icon=edited.icon,
        is_adult=edited.is_adult,
    )
    return [] if same == category else [edited]


def remove_category(category: Category | None, *, torrents: int, children: int) -> list[Fact]:
    """Remove a category nothing belongs to. Raises `CategoryNotFound`, `CategoryInUse`."""
    category = require_present(category)
    if torrents or children:
        raise CategoryInUse(torrents=torrents, children=children)
    return [CategoryRemoved(slug=category.slug)]


def require_present(category: Category | None) -> Category:
    """The category. Raises `CategoryNotFound` when there is none or it was removed."""
    if category is None or category.removed:
        raise CategoryNotFound()
    return category


def _valid_name(name: str) -> str:
    name = name.strip()
    _require_storable(name, "name")
    if not 1 <= len(name) <= NAME_LENGTH:
        raise CategoryInvalid(f"name: must have 1 to {NAME_LENGTH} characters", field="name")
    return name


def _valid_newznab_id(newznab_id: int | None) -> int | None:
    if newznab_id is not None and newznab_id not in NEWZNAB_IDS:
        raise CategoryInvalid(
            f"newznabId: must be between {NEWZNAB_IDS[0]} and {NEWZNAB_IDS[-1]}",
            field="newznabId",
        )
    return newznab_id


def _valid_icon(icon: str | None) -> str | None:
    if icon is None:
        return None
    _require_storable(icon, "icon")
    if len(icon) > ICON_LENGTH:
        raise CategoryInvalid(f"icon: must have at most {ICON_LENGTH} characters", field="icon")
    return icon


def _require_storable(text: str, field: str) -> None:
    if "\0" in text:
        # No database text can hold it, and a recorded fact must never stop a read model.
        raise CategoryInvalid(f"{field}: must not contain NUL characters", field=field)
    if any("\ud800" <= each <= "\udfff" for each in text):
        # Nor can a fact, which is UTF-8.
        raise CategoryInvalid(f"{field}: must not contain half of a surrogate pair", field=field)


def _slug_below(parent_slug: str | None, text: str) -> str:
    own = slugify(text)
    if not own:
        raise CategoryInvalid("slug: must have a letter a to z or a digit", field="slug")
    if parent_slug is not None and not own.startswith(f"{parent_slug}-"):
        own = f"{parent_slug}-{own}"
    if len(own) > SLUG_LENGTH:
        raise CategoryInvalid(f"slug: must have at most {SLUG_LENGTH} characters", field="slug")
    return own
