"""The moderation queue, its decisions, and the thread of each torrent."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AliasChoices, Field

from application.bus import Actor
from application.moderation import (
    ApproveTorrent,
    ModerationMessage,
    PostModerationMessage,
    RejectTorrent,
    RequestTorrentChanges,
    ResetTorrent,
    TorrentModerated,
)
from domain.errors import Conflict, Forbidden, NotFound
from domain.moderation import MESSAGE_LENGTH, ModerationStatus, ResetStatus
from domain.torrents import TorrentNotFound
from interfaces.http.deps import Call, Commands, Moderator, ReadAccess, Reads, ThreadMember
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Prose, Reply
from interfaces.http.paging import PageNumber, offset_of
from interfaces.http.torrent_replies import (
    Categories,
    MemberRefReply,
    TorrentReply,
    categories_by_id,
    may_moderate_thread,
    torrent_fields,
    torrent_reply,
    visible_torrent,
)
from projections import torrent_lists
from projections.moderation import MessageRow, find_thread, list_moderation_messages
from projections.torrent_pages import TorrentRow
from projections.users import find_account

router = APIRouter(tags=["Moderation"])

Words = Annotated[Prose, Field(max_length=MESSAGE_LENGTH)]
_MESSAGE = AliasChoices("message", "reason")


class ModerateTorrentBody(Body):
    """What the moderator says. `expectedStatus` is the status he saw on his page.

    Where another moderator changed it meanwhile the answer is 409, saying who did what. So it is
    where the torrent was edited since the `version` he saw in its thread, saying by whom.
    """

    message: Words = Field(default="", validation_alias=_MESSAGE)
    expected_status: ModerationStatus | None = None
    version: int | None = Field(default=None, ge=1, lt=2**31)


class ResetTorrentBody(Body):
    """What the moderator says, and the status to return to."""

    message: Words = Field(default="", validation_alias=_MESSAGE)
    to: ResetStatus = Field(default="pending", validation_alias=AliasChoices("to", "status"))


class PostModerationMessageBody(Body):
    """A message of 1 to 4000 characters."""

    body: Words = Field(min_length=1, validation_alias=AliasChoices("body", "message"))


class ModerateTorrentReply(Reply):
    """The torrent as it stands after the decision."""

    success: bool = True
    torrent: TorrentReply


class AuthorReply(MemberRefReply):
    """Who wrote a message."""

    is_admin: bool
    is_moderator: bool


class ModerationMessageReply(Reply):
    """A message; `body` is null once its words were destroyed at its author's wish."""

    id: UUID
    torrent_id: UUID
    author_id: UUID
    author: AuthorReply
    body: str | None
    is_system: bool
    status_change: str | None
    created_at: Instant


class ModerationThreadReply(Reply):
    """Where the torrent stands, and the messages, oldest first. `version` rises with each edit."""

    status: str
    version: int
    messages: list[ModerationMessageReply]


class PostModerationMessageReply(Reply):
    success: bool = True
    message: ModerationMessageReply


@router.get("/api/mod/torrents/pending", responses=refusals(Forbidden))
def list_pending_torrents(
    _caller: Moderator,
    reads: Reads,
    status: ModerationStatus | None = None,
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> list[TorrentReply]:
    """List torrents that are not accepted, newest first."""
    with reads.connection() as connection:
        rows = torrent_lists.list_pending_torrents(
            connection, status=status, limit=limit, offset=offset_of(page, limit)
        )
        categories = categories_by_id(connection)
    return [torrent_reply(row, categories) for row in rows]


_DECIDED = refusals(NotFound, Conflict)


@router.post("/api/mod/torrents/{info_hash}/approve", responses=_DECIDED)
def approve_torrent(
    info_hash: str,
    caller: Moderator,
    reads: Reads,
    call: Commands,
    body: ModerateTorrentBody | None = None,
) -> ModerateTorrentReply:
    """Accept a torrent into the catalogue."""
    row, categories = _wanted(reads, info_hash, caller)
    said = body or ModerateTorrentBody()
    return _decided(
        call,
        ApproveTorrent(
            torrent=row.id,
            message_id=call.services.entropy.uuid(),
            message=said.message or None,
            seen=said.expected_status or row.status,  # type: ignore[arg-type]
            version=said.version,
        ),
        row,
        categories,
    )


@router.post("/api/mod/torrents/{info_hash}/request-changes", responses=_DECIDED)
def request_torrent_changes(
    info_hash: str,
    caller: Moderator,
    reads: Reads,
    call: Commands,
    body: ModerateTorrentBody,
) -> ModerateTorrentReply:
    """Ask the uploader to change a torrent."""
    row, categories = _wanted(reads, info_hash, caller)
    return _decided(
        call,
        RequestTorrentChanges(
            torrent=row.id,
            message_id=call.services.entropy.uuid(),
            message=body.message,
            seen=body.expected_status or row.status,  # type: ignore[arg-type]
            version=body.version,
        ),
        row,
        categories,
    )


@router.post("/api/mod/torrents/{info_hash}/reject", responses=_DECIDED)
def reject_torrent(
    info_hash: str,
    caller: Moderator,
    reads: Reads,
    call: Commands,
    body: ModerateTorrentBody,
) -> ModerateTorrentReply:
    """Reject a torrent."""
    row, categories = _wanted(reads, info_hash, caller)
    return _decided(
        call,
        RejectTorrent(
            torrent=row.id,
            message_id=call.services.entropy.uuid(),
            message=body.message,
            seen=body.expected_status or row.status,  # type: ignore[arg-type]
            version=body.version,
        ),
        row,
        categories,
    )


@router.post("/api/mod/torrents/{info_hash}/reset", responses=_DECIDED)
def reset_torrent(
    info_hash: str,
    caller: Moderator,
    reads: Reads,
    call: Commands,
    body: ResetTorrentBody,
) -> ModerateTorrentReply:
    """Take a rejection back: the only way out of it."""
    row, categories = _wanted(reads, info_hash, caller)
    return _decided(
        call,
        ResetTorrent(
            torrent=row.id,
            message_id=call.services.entropy.uuid(),
            message=body.message,
            to=body.to,
        ),
        row,
        categories,
    )


@router.get("/api/torrents/{info_hash}/moderation/messages", responses=refusals(NotFound))
def show_moderation_thread(
    info_hash: str, caller: ThreadMember, reads: Reads
) -> ModerationThreadReply:
    """Show what was said about a torrent; for others than its uploader and staff there is none."""
    with reads.connection() as connection:
        row = visible_torrent(connection, info_hash, caller)
        thread = find_thread(connection, row.id) if may_moderate_thread(row, caller) else None
        if thread is None:
            raise TorrentNotFound()
        messages = list_moderation_messages(connection, row.id)
    return ModerationThreadReply(
        status=thread.status,
        version=thread.version,
        messages=[_message_reply(message) for message in messages],
    )


@router.post(
    "/api/torrents/{info_hash}/moderation/messages", responses=refusals(NotFound, Conflict)
)
def post_moderation_message(
    info_hash: str,
    body: PostModerationMessageBody,
    caller: ThreadMember,
    reads: Reads,
    call: Commands,
) -> PostModerationMessageReply:
    """Write in a torrent's thread without changing its status."""
    with reads.connection() as connection:
        row = visible_torrent(connection, info_hash, caller)
        author = find_account(connection, caller.account)
    posted: ModerationMessage = call.dispatch(
        PostModerationMessage(
            torrent=row.id, message_id=call.services.entropy.uuid(), message=body.body
        )
    )
    return PostModerationMessageReply(
        message=ModerationMessageReply(
            id=posted.id,
            torrent_id=posted.torrent,
            author_id=posted.author,
            author=AuthorReply(
                id=caller.account,
                username=caller.username,
                is_admin=author is not None and author.is_admin,
                is_moderator=author is not None and author.is_moderator,
            ),
            body=posted.body,
            is_system=False,
            status_change=None,
            created_at=posted.created_at,
        )
    )


def _wanted(reads: ReadAccess, info_hash: str, caller: Actor) -> tuple[TorrentRow, Categories]:
    with reads.connection() as connection:
        return visible_torrent(connection, info_hash, caller), categories_by_id(connection)


def _decided(
    call: Call, command: Any, row: TorrentRow, categories: Categories
) -> ModerateTorrentReply:
    """Send the decision; the reply is made from what was decided, however old the row was."""
    moderated: TorrentModerated = call.dispatch(command)
    fields = torrent_fields(row, categories)
    fields |= {
        "moderation_status": moderated.status,
        "is_approved": moderated.status == "accepted",
        "moderated_at": moderated.at,
        "moderated_by": MemberRefReply(id=moderated.moderator, username=moderated.moderator_name),
    }
    return ModerateTorrentReply(torrent=TorrentReply.model_validate(fields))


def _message_reply(message: MessageRow) -> ModerationMessageReply:
    return ModerationMessageReply(
        id=message.id,
        torrent_id=message.torrent,
        author_id=message.author,
        author=AuthorReply(
            id=message.author,
            username=message.author_name,
            is_admin=message.author_is_admin,
            is_moderator=message.author_is_moderator,
        ),
        body=message.body,
        is_system=message.is_system,
        status_change=message.status_change,
        created_at=message.created_at,
    )
