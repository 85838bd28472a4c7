"""Comments below torrents: read with the catalogue, written by members."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AliasChoices, Field

from application.comments import DeleteComment, PostComment, PostedComment
from domain.comments import COMMENT_LENGTH, CommentNotFound, CommentNotYours
from domain.errors import Forbidden, Invalid, NotFound, Unauthenticated
from interfaces.http.catalogue_access import GatedTorrentReply, Trees, gate, open_view
from interfaces.http.deps import (
    AuthorOrModerator,
    Commands,
    MaybeSignedIn,
    ReadAccess,
    Reads,
    SignedIn,
)
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Prose, Reply
from interfaces.http.paging import (
    BadCursor,
    Page,
    PageNumber,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.torrent_replies import (
    MemberRefReply,
    may_see,
    visible_torrent,
)
from projections import comments
from projections.comments import CommentRow, count_torrent_comments, find_comment
from projections.torrent_pages import find_torrent_by_id

router = APIRouter(tags=["Torrents"])


class CommentReply(Reply):
    """A comment. `content` is HTML, cleaned so that it is safe in a page.

    It is null once its words were destroyed. Comments are never edited: `updatedAt` is when it
    was posted.
    """

    id: UUID
    torrent_id: UUID
    author_id: UUID
    author: MemberRefReply
    content: str | None
    created_at: Instant
    updated_at: Instant


class PostCommentBody(Body):
    """What to write: 1 to 5000 characters. HTML is allowed; it is cleaned when it is shown."""

    content: Annotated[Prose, Field(min_length=1, max_length=COMMENT_LENGTH)] = Field(
        validation_alias=AliasChoices("content", "body")
    )


class DeleteCommentReply(Reply):
    success: Literal[True] = True


@router.get("/api/torrents/{info_hash}/comments", responses=refusals(NotFound, Unauthenticated))
def list_comments(
    info_hash: str,
    caller: MaybeSignedIn,
    reads: Reads,
    trees: Trees,
    *,
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows of a page.")] = 20,
    after: Annotated[
        str | None, Query(max_length=200, description="`nextCursor` of the page before.")
    ] = None,
) -> Page[CommentReply] | GatedTorrentReply:
    """List the comments below a torrent, newest first; behind the same gate as its page."""
    before = _comment_at(after) if after is not None else None
    offset = 0 if before else offset_of(page, limit)
    with reads.catalogue() as connection:
        view = open_view(connection, trees, caller)
        torrent = visible_torrent(connection, info_hash, caller)
        gated = gate(view, info_hash=torrent.info_hash, category=torrent.category)
        if gated is not None:
            return gated
        # One more than shown tells whether there is a next page.
        rows = comments.list_comments(
            connection, torrent.id, limit=limit + 1, offset=offset, before=before
        )
        total = count_torrent_comments(connection, torrent.id)
    shown = rows[:limit]
    return Page[CommentReply](
        data=[comment_reply(row) for row in shown],
        pagination=pagination(page, limit, total),
        next_cursor=write_cursor(str(shown[-1].id)) if len(rows) > limit else None,
    )


@router.post(
    "/api/torrents/{info_hash}/comments", status_code=201, responses=refusals(Invalid, NotFound)
)
def post_comment(
    info_hash: str, body: PostCommentBody, caller: SignedIn, reads: Reads, call: Commands
) -> CommentReply:
    """Write a comment below a torrent the caller may see."""
    with reads.connection() as connection:
        torrent = visible_torrent(connection, info_hash, caller)
    posted: PostedComment = call.dispatch(
        PostComment(comment=call.services.entropy.uuid(), torrent=torrent.id, content=body.content)
    )
    return CommentReply(
        id=posted.id,
        torrent_id=posted.torrent,
        author_id=posted.author,
        author=MemberRefReply(id=posted.author, username=posted.author_name),
        content=posted.content,
        created_at=posted.created_at,
        updated_at=posted.created_at,
    )


@router.delete("/api/torrents/comments/{id}", responses=refusals(Forbidden, NotFound))
def delete_comment(
    comment: Annotated[UUID, Path(alias="id")],
    caller: AuthorOrModerator,
    reads: Reads,
    call: Commands,
) -> DeleteCommentReply:
    """Delete a comment: one's own, or any as a moderator."""
    try:
        call.dispatch(DeleteComment(comment=comment))
    except CommentNotYours:
        if not _is_shown_to(reads, comment, caller):
            raise CommentNotFound() from None
        raise
    return DeleteCommentReply()


def comment_reply(row: CommentRow) -> CommentReply:
    """A comment as lists and the torrent's page show it."""
    return CommentReply(
        id=row.id,
        torrent_id=row.torrent,
        author_id=row.author,
        author=MemberRefReply(id=row.author, username=row.author_name),
        content=row.content,
        created_at=row.created_at,
        updated_at=row.created_at,
    )


def _comment_at(cursor: str) -> UUID:
    try:
        return UUID(str(read_cursor(cursor, str)[0]))
    except ValueError:
        raise BadCursor() from None


def _is_shown_to(reads: ReadAccess, comment: UUID, caller: SignedIn) -> bool:
    """Whether the caller may know of the comment: he sees the torrent it belongs to."""
    with reads.connection() as connection:
        row = find_comment(connection, comment)
        torrent = find_torrent_by_id(connection, row.torrent) if row else None
    return torrent is not None and may_see(torrent, caller)
