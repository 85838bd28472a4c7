"""Tags: listed for everybody, created and removed by administrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from psycopg import Connection
from pydantic import Field

from application.tags import CreateTag, RemoveTag, TagCreated
from domain.errors import Conflict
from domain.tags import TAG_LENGTH, TagUnknown
from domain.taxonomy import slugify
from interfaces.http.deps import Administrator, Commands, Reads
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Line, Reply
from projections import tags

router = APIRouter(tags=["Categories & tags"])


class TagReply(Reply):
    """A tag, since it was created or first used; `torrents` of the catalogue bear it."""

    id: UUID
    name: str
    slug: str
    color: str
    created_at: Instant
    torrents: int


class CreateTagBody(Body):
    """A new tag. Its slug follows its name; one that is sent must be the same."""

    name: Line = Field(min_length=1, max_length=TAG_LENGTH)
    slug: Line | None = Field(default=None, max_length=50)
    color: Line | None = Field(default=None, pattern=r"^#[0-9A-Fa-f]{6}$")


class TagRemovedReply(Reply):
    """Whether there was such a tag; in the end there is none."""

    success: bool = True
    removed: bool


@router.get("/api/tags")
def list_tags(
    reads: Reads,
    q: Annotated[
        str | None, Query(max_length=TAG_LENGTH, description="How the tag's slug begins.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=tags.LISTED)] = tags.LISTED,
) -> list[TagReply]:
    """List tags in order of their slugs, for completing what is being typed."""
    with reads.connection() as connection:
        rows = tags.list_tags(connection, beginning=slugify(q or ""), limit=limit)
    return [_tag_reply(row) for row in rows]


@router.post("/api/admin/tags", status_code=201, responses=refusals(Conflict))
def create_tag(
    body: CreateTagBody, _caller: Administrator, reads: Reads, call: Commands
) -> TagReply:
    """Create a tag, or give one members made by using it this name and colour."""
    created: TagCreated = call.dispatch(
        CreateTag(name=body.name, slug=body.slug or None, color=body.color)
    )
    with reads.connection() as connection:
        used = tags.find_tags(connection, [created.id])
    return TagReply(
        id=created.id,
        name=created.name,
        slug=created.slug,
        color=created.color,
        # One in use is as old as its first use. What is not there yet is new.
        created_at=used[0].created_at if used else created.created_at,
        torrents=used[0].torrents if used else 0,
    )


@router.delete("/api/admin/tags/{id}")
def remove_tag(id: UUID, _caller: Administrator, reads: Reads, call: Commands) -> TagRemovedReply:
    """Remove a tag and unbind it from every torrent."""
    with reads.connection() as connection:
        found = tags.find_tags(connection, [id])
    for row in found:
        call.dispatch(RemoveTag(slug=row.slug, name=row.name))
    return TagRemovedReply(removed=bool(found))


def names_of_tags(
    conn: Connection, *, names: Sequence[str], ids: Sequence[UUID] = ()
) -> tuple[str, ...]:
    """What torrents are tagged with: `names`, any of which may be a tag's id, and `ids`.

    Raises `TagUnknown` for an id no tag has.
    """
    wanted: list[str | UUID] = [_id_or_name(name) for name in names] + list(ids)
    known = {
        row.id: row.name
        for row in tags.find_tags(conn, [each for each in wanted if isinstance(each, UUID)])
    }
    if any(isinstance(each, UUID) and each not in known for each in wanted):
        raise TagUnknown(field="tagIds")
    return tuple(known[each] if isinstance(each, UUID) else each for each in wanted)


def _id_or_name(text: str) -> str | UUID:
    try:
        return UUID(text) if len(text) == len(str(UUID(int=0))) else text
    except ValueError:
        return text


def _tag_reply(row: tags.TagRow) -> TagReply:
    return TagReply(
        id=row.id,
        name=row.name,
        slug=row.slug,
        color=row.color,
        created_at=row.created_at,
        torrents=row.torrents,
    )
