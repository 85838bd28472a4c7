"""Creating and removing tags, and which of its tags a torrent still bears."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from domain import tags
from domain.taxonomy import slugify
from domain.torrents import Torrent


class CreateTag(msgspec.Struct, frozen=True, kw_only=True):
    """Create a tag, or give one that members made by using it a name and a colour."""

    name: str
    slug: str | None = None
    color: str | None = None


class RemoveTag(msgspec.Struct, frozen=True, kw_only=True):
    """Remove the tag of this slug and unbind it from every torrent; `name` is for the record."""

    slug: str
    name: str


class TagCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The tag as it was created."""

    id: UUID
    name: str
    slug: str
    color: str
    created_at: datetime


def handle_create_tag(unit: Unit, command: CreateTag) -> TagCreated:
    """Create it. Raises `TagInvalid`, `TagExists`."""
    _, slug = tags.valid_tag(command.name)
    tag = load_tag(unit, slug)
    facts = tags.create_tag(tag, name=command.name, slug=command.slug, color=command.color)
    unit.record(tags.tag_id(slug), tag.version, facts)
    created = next(fact for fact in facts if isinstance(fact, tags.TagCreated))
    return TagCreated(
        id=tags.tag_id(slug),
        name=created.name,
        slug=slug,
        color=created.color,
        created_at=unit.at,
    )


def handle_remove_tag(unit: Unit, command: RemoveTag) -> None:
    """Remove it."""
    tag = load_tag(unit, command.slug)
    unit.record(
        tags.tag_id(command.slug),
        tag.version,
        tags.remove_tag(slug=command.slug, name=command.name),
    )


def load_tag(unit: Unit, slug: str) -> tags.Tag:
    """What administrators did to the tag of this slug."""
    return unit.load(tags.tag_id(slug), tags.evolve) or tags.Tag()


def load_tags(unit: Unit, slugs: Iterable[str]) -> dict[str, tags.Tag]:
    """`load_tag` of each of these slugs: few tags of many were ever touched by administrators."""
    ids = {slug: tags.tag_id(slug) for slug in slugs}
    if not ids:
        return {}
    touched = unit.existing(ids.values())
    return {slug: load_tag(unit, slug) if ids[slug] in touched else tags.Tag() for slug in ids}


def tags_left(unit: Unit, torrent: Torrent) -> tuple[str, ...]:
    """The torrent's tags but for those removed since it was last said to bear them.

    What is saved rests upon that: one removed before it is makes the command decide again, or an
    edit would bring the tag back.
    """
    since, left = dict(torrent.tagged), []
    for name in torrent.details.tags:
        slug = slugify(name)
        tag = load_tag(unit, slug)
        unit.rest_on(tags.tag_id(slug), tag.version)
        if tag.stays_on(since[slug]):
            left.append(name)
    return tuple(left)


HANDLERS: dict[type, Handler] = {CreateTag: handle_create_tag, RemoveTag: handle_remove_tag}
