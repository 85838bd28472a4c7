"""Editing torrents and taking them out: their uploaders and moderators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from msgspec import UNSET, UnsetType
from pydantic import AliasChoices, Field

from application.torrent_edits import (
    EditTorrent,
    ReplaceTorrentTags,
    TorrentEdited,
    TorrentWithdrawn,
    WithdrawTorrent,
)
from domain.errors import Conflict, Forbidden, NotFound
from domain.media_ids import parse_media_ids
from domain.taxonomy import slugify
from domain.torrents import DESCRIPTION_LENGTH, NAME_LENGTH
from interfaces.http.deps import Commands, Reads, Services, UploaderOrModerator
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Line, Prose, Reply
from interfaces.http.tags import names_of_tags
from interfaces.http.torrent_replies import (
    CategoryRefReply,
    TagRefReply,
    categories_by_id,
    category_ref,
    visible_torrent,
)

router = APIRouter(tags=["Torrents"])

Tags = Annotated[tuple[Annotated[Line, Field(max_length=200)], ...], Field(max_length=100)]
_MEDIA = {
    "imdb": "imdb_id",
    "tmdb": "tmdb_id",
    "tvdb": "tvdb_id",
    "igdb": "igdb_id",
    "openlibrary": "openlibrary_id",
}


class EditTorrentBody(Body):
    """What is to change; keys that are not sent stay, null and empty text take a value away.

    `version` is that of an earlier answer: with it, an edit by somebody else since then is a
    conflict. `tags` are names or ids, `tagIds` are ids; together they replace the tags.
    """

    name: Line | None = Field(
        default=None,
        min_length=1,
        max_length=NAME_LENGTH,
        validation_alias=AliasChoices("name", "title"),
    )
    description: Prose | None = Field(default=None, max_length=DESCRIPTION_LENGTH)
    category_id: UUID | Literal[""] | None = Field(
        default=None,
        validation_alias=AliasChoices("categoryId", "category_id", "category"),
    )
    imdb_id: Line | None = None
    tmdb_id: Line | None = None
    tvdb_id: Line | None = None
    igdb_id: Line | None = None
    openlibrary_id: Line | None = None
    tags: Tags | None = None
    tag_ids: tuple[UUID, ...] | None = Field(default=None, max_length=100)
    version: int | None = Field(default=None, ge=1, lt=2**31)


class ReplaceTorrentTagsBody(Body):
    """The whole tag set: names or ids in `tags`, ids in `tagIds`. `version` as in an edit."""

    tags: Tags = ()
    tag_ids: tuple[UUID, ...] = Field(default=(), max_length=100)
    version: int | None = Field(default=None, ge=1, lt=2**31)


class EditedTorrentReply(Reply):
    """The torrent as it is now; `version` rises with each edit."""

    id: UUID
    version: int
    info_hash: str
    name: str
    description: str
    category_id: UUID | None
    category: CategoryRefReply | None
    imdb_id: str | None
    tmdb_id: str | None
    tvdb_id: str | None
    igdb_id: str | None
    openlibrary_id: str | None
    tags: list[TagRefReply]
    moderation_status: str
    updated_at: Instant


class EditTorrentReply(Reply):
    """The edit's outcome; with `revertedToPending` a moderator looks at the torrent again."""

    success: bool = True
    message: str
    reverted_to_pending: bool
    data: EditedTorrentReply


class ReplaceTorrentTagsReply(Reply):
    """The tags as they are now; `revertedToPending` as in an edit."""

    success: bool = True
    version: int
    reverted_to_pending: bool
    tags: list[TagRefReply]


class WithdrawnTorrentReply(Reply):
    """The torrent that is gone."""

    info_hash: str
    name: str


class WithdrawTorrentReply(Reply):
    """The torrent is out of the catalogue, and its hash is free again."""

    success: bool = True
    message: str = "Torrent deleted."
    data: WithdrawnTorrentReply


def _torrent_id(info_hash: str, caller: UploaderOrModerator, reads: Reads) -> UUID:
    """The torrent of the address, as far as the caller may know of it."""
    with reads.connection() as connection:
        return visible_torrent(connection, info_hash, caller).id


TorrentId = Annotated[UUID, Depends(_torrent_id)]


@router.patch("/api/torrents/{info_hash}", responses=refusals(NotFound, Forbidden, Conflict))
def edit_torrent(
    torrent: TorrentId, body: EditTorrentBody, reads: Reads, call: Commands, services: Services
) -> EditTorrentReply:
    """Edit a torrent; its uploader's edit of a decided one goes back to the moderators.

    Edits at the same time apply one after the other, each changing only what it names, unless
    they say by `version` which state they are about.
    """
    tags: tuple[str, ...] | UnsetType = UNSET
    with reads.connection() as connection:
        categories = categories_by_id(connection)
        if body.tags is not None or body.tag_ids is not None:
            tags = names_of_tags(connection, names=body.tags or (), ids=body.tag_ids or ())
    edited: TorrentEdited = call.dispatch(
        EditTorrent(
            torrent=torrent,
            message_id=services.entropy.uuid(),
            name=UNSET if body.name is None else body.name,
            description=(body.description or "") if _sent(body, "description") else UNSET,
            category=_category(body) if _sent(body, "category_id") else UNSET,
            media=_media(body),
            tags=tags,
            seen=body.version,
        )
    )
    details = edited.details
    return EditTorrentReply(
        message="Torrent updated; it goes back to the moderation queue."
        if edited.reverted_to_pending
        else "Torrent updated.",
        reverted_to_pending=edited.reverted_to_pending,
        data=EditedTorrentReply(
            id=edited.torrent,
            version=edited.version,
            info_hash=edited.info_hash,
            name=details.name,
            description=details.description,
            category_id=details.category,
            category=category_ref(details.category, categories),
            imdb_id=details.media.imdb,
            tmdb_id=details.media.tmdb,
            tvdb_id=details.media.tvdb,
            igdb_id=details.media.igdb,
            openlibrary_id=details.media.openlibrary,
            tags=_tag_refs(details.tags),
            moderation_status=edited.status,
            updated_at=edited.edited_at,
        ),
    )


@router.put("/api/torrents/{info_hash}/tags", responses=refusals(NotFound, Forbidden, Conflict))
def replace_torrent_tags(
    torrent: TorrentId,
    body: ReplaceTorrentTagsBody,
    reads: Reads,
    call: Commands,
    services: Services,
) -> ReplaceTorrentTagsReply:
    """Replace a torrent's tags. It is an edit like any other."""
    with reads.connection() as connection:
        tags = names_of_tags(connection, names=body.tags, ids=body.tag_ids)
    edited: TorrentEdited = call.dispatch(
        ReplaceTorrentTags(
            torrent=torrent, message_id=services.entropy.uuid(), tags=tags, seen=body.version
        )
    )
    return ReplaceTorrentTagsReply(
        version=edited.version,
        reverted_to_pending=edited.reverted_to_pending,
        tags=_tag_refs(edited.details.tags),
    )


@router.delete("/api/torrents/{info_hash}", responses=refusals(NotFound, Forbidden, Conflict))
def withdraw_torrent(torrent: TorrentId, call: Commands) -> WithdrawTorrentReply:
    """Take a torrent out: it is listed no more, and trackers refuse it within a second."""
    gone: TorrentWithdrawn = call.dispatch(WithdrawTorrent(torrent=torrent))
    return WithdrawTorrentReply(
        data=WithdrawnTorrentReply(info_hash=gone.info_hash, name=gone.name)
    )


def _sent(body: EditTorrentBody, field: str) -> bool:
    return field in body.model_fields_set


def _category(body: EditTorrentBody) -> UUID | None:
    return body.category_id or None


def _media(body: EditTorrentBody) -> dict[str, str | None]:
    """Ids that were sent, in normal form, by their database."""
    sent: dict[str, Any] = {
        database: getattr(body, field) for database, field in _MEDIA.items() if _sent(body, field)
    }
    normal = parse_media_ids(**sent)
    return {database: getattr(normal, database) for database in sent}


def _tag_refs(tags: Sequence[str]) -> list[TagRefReply]:
    return [TagRefReply(name=tag, slug=slugify(tag)) for tag in tags]
