"""Commenting on torrents."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.markup import clean_markup, require_showable
from application.moderation import is_staff
from domain import comments, torrents


class PostComment(msgspec.Struct, frozen=True, kw_only=True):
    """Write a comment below a torrent the caller may see; `comment` is its id (UUIDv7)."""

    comment: UUID
    torrent: UUID
    content: str


class DeleteComment(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a comment."""

    comment: UUID


class PostedComment(msgspec.Struct, frozen=True, kw_only=True):
    """The comment as it is shown."""

    id: UUID
    torrent: UUID
    author: UUID
    author_name: str
    content: str
    created_at: datetime


def handle_post_comment(unit: Unit, command: PostComment) -> PostedComment:
    """Post it. Raises `TorrentNotFound` (withdrawn meanwhile), `CommentInvalid`,
    `NothingToShow`, `TooManyTags`, `TangledTags`.
    """
    torrent = unit.load(command.torrent, torrents.evolve)
    if torrent is None or torrent.withdrawn:
        raise torrents.TorrentNotFound()
    author = unit.actor
    facts = comments.post_comment(
        torrent=command.torrent, author=author.account, content=command.content
    )
    require_showable(command.content)
    unit.record(command.comment, 0, facts)
    posted = next(fact for fact in facts if isinstance(fact, comments.CommentPosted))
    return PostedComment(
        id=command.comment,
        torrent=posted.torrent,
        author=posted.author,
        author_name=author.username,
        content=clean_markup(posted.content.text or ""),
        created_at=unit.at,
    )


def handle_delete_comment(unit: Unit, command: DeleteComment) -> None:
    """Delete it. Raises `CommentNotFound`, `CommentNotYours`."""
    comment = unit.find(command.comment, comments.evolve)
    facts = comments.delete_comment(
        comment, actor=unit.actor.account, is_staff=is_staff(unit.actor)
    )
    unit.record(command.comment, comment.version if comment else 0, facts)


HANDLERS: dict[type, Handler] = {
    PostComment: handle_post_comment,
    DeleteComment: handle_delete_comment,
}
