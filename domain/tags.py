"""Tags: words torrents are found by. One exists once somebody used it or staff created it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID, uuid5

import msgspec

from domain.errors import Conflict, Invalid, NotFound
from domain.kernel import Envelope, Fact
from domain.taxonomy import slugify

TAG_LENGTH = 30
DEFAULT_COLOR = "#6b7280"
_TAGS: Final = UUID("7c1d8a52-41c3-5b0e-9f0b-0d5f6a0c2e19")
_COLOR = re.compile(r"#[0-9a-f]{6}")


class TagCreated(Fact, frozen=True):
    """An administrator created a tag, or gave one that was in use its name and colour."""

    TOPIC: ClassVar[str] = "tag.created.1"

    slug: str
    name: str
    color: str


class TagRemoved(Fact, frozen=True):
    """An administrator removed a tag; it was unbound from every torrent that had it."""

    TOPIC: ClassVar[str] = "tag.removed.1"

    slug: str
    name: str


FACTS: tuple[type[Fact], ...] = (TagCreated, TagRemoved)


class TagNotFound(NotFound):
    """No such tag."""

    code = "tag_not_found"
    message = "Tag not found"


class TagUnknown(Invalid):
    """A torrent was to bear a tag by an id no tag has; `data["field"]` names where."""

    code = "tag_unknown"
    message = "tagIds: there is no such tag"


class TagExists(Conflict):
    """An administrator created it before."""

    code = "tag_exists"
    message = "This tag already exists."


class TagInvalid(Invalid):
    """A field of a tag is outside its range; `data["field"]` names it."""

    code = "tag_invalid"


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """What administrators did to a tag; `removed_at` is when it was last unbound."""

    version: int = 0
    exists: bool = False
    removed_at: datetime | None = None

    def stays_on(self, since: datetime) -> bool:
        """Whether a torrent that was last said to bear it at `since` bears it still.

        A tag and a torrent are aggregates of their own, so the times of their facts are
        compared; a tie counts as removed.
        """
        return self.removed_at is None or since > self.removed_at


def tag_id(slug: str) -> UUID:
    """The id of the tag with this slug, whether anybody used it or not."""
    return uuid5(_TAGS, slug)


def evolve(state: Tag | None, envelope: Envelope) -> Tag:
    """The tag after one more fact."""
    before = state or Tag()
    match envelope.fact:
        case TagCreated():
            return msgspec.structs.replace(before, version=envelope.originator_version, exists=True)
        case TagRemoved():
            return Tag(version=envelope.originator_version, removed_at=envelope.meta.at)
        case unknown:
            raise TypeError(f"not a fact of a tag: {type(unknown).__name__}")


def create_tag(tag: Tag, *, name: str, slug: str | None, color: str | None) -> list[Fact]:
    """Create a tag. Raises `TagInvalid`, `TagExists`.

    The slug follows the name: torrents name their tags, and a tag's slug must be found from
    that alone. One that is given must be the same.
    """
    name, found = valid_tag(name)
    if slug is not None and slug != found:
        raise TagInvalid(f"slug: the slug of this name is {found}", field="slug")
    color = (color or DEFAULT_COLOR).lower()
    if not _COLOR.fullmatch(color):
        raise TagInvalid("color: must be # and six hex digits", field="color")
    if tag.exists:
        raise TagExists()
    return [TagCreated(slug=found, name=name, color=color)]


def remove_tag(*, slug: str, name: str) -> list[Fact]:
    """Remove a tag and unbind it from every torrent. Who uses the word again, makes it anew."""
    return [TagRemoved(slug=slug, name=name)]


def valid_tag(name: str) -> tuple[str, str]:
    """The name without spaces around it, and its slug. Raises `TagInvalid`."""
    name = name.strip()
    if not 1 <= len(name) <= TAG_LENGTH or "\0" in name:
        raise TagInvalid(f"name: must have 1 to {TAG_LENGTH} characters", field="name")
    slug = slugify(name)
    if not slug:
        raise TagInvalid("name: must have a letter a to z or a digit", field="name")
    return name, slug
