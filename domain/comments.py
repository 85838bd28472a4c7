"""Comments below torrents: posted by members, deleted by their authors or by moderators.

Each comment is an aggregate of its own, under an id that rises with time (UUIDv7): members who
write below the same torrent never wait for each other, and an id says where a comment stands.
"""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import UUID

import msgspec

from domain.errors import Forbidden, Invalid, NotFound
from domain.kernel import Envelope, Fact, Private
from domain.texts import is_storable

COMMENT_LENGTH: Final = 5000
"""Characters, mark-up included (behaviour of the reference)."""


class CommentPosted(Fact, frozen=True):
    """A member wrote a comment below a torrent."""

    TOPIC: ClassVar[str] = "comment.posted.1"

    torrent: UUID
    author: UUID
    content: Private


class CommentDeleted(Fact, frozen=True):
    """A comment was deleted, by its author or by a moderator."""

    TOPIC: ClassVar[str] = "comment.deleted.1"

    torrent: UUID
    author: UUID
    deleted_by: UUID


FACTS: tuple[type[Fact], ...] = (CommentPosted, CommentDeleted)


class CommentNotFound(NotFound):
    """No such comment, or it was deleted."""

    code = "comment_not_found"
    message = "Comment not found"


class CommentNotYours(Forbidden):
    """Only its author and moderators may delete a comment."""

    code = "comment_not_yours"
    message = "This comment is not yours"


class CommentInvalid(Invalid):
    """A comment is empty or too long, or holds what is no text."""

    code = "comment_invalid"
    message = f"content: must have 1 to {COMMENT_LENGTH} characters"


class Comment(msgspec.Struct, frozen=True, kw_only=True):
    """A comment as its facts leave it."""

    id: UUID
    version: int
    torrent: UUID
    author: UUID
    deleted: bool = False


def evolve(state: Comment | None, envelope: Envelope) -> Comment:
    """Fold one fact of a comment."""
    fact = envelope.fact
    version = envelope.originator_version
    if state is None and isinstance(fact, CommentPosted):
        return Comment(
            id=envelope.originator_id, version=version, torrent=fact.torrent, author=fact.author
        )
    if state is not None and isinstance(fact, CommentDeleted):
        return msgspec.structs.replace(state, version=version, deleted=True)
    raise TypeError(f"{type(fact).__name__} is no next fact of a comment")


def post_comment(*, torrent: UUID, author: UUID, content: str) -> list[Fact]:
    """Write below a torrent: 1 to 5,000 characters, kept as they were written.

    Mark-up is cleaned where it is shown, so that a better cleaner also serves old comments.
    Raises `CommentInvalid`.
    """
    words = content.strip()
    if not 1 <= len(words) <= COMMENT_LENGTH or not is_storable(words):
        raise CommentInvalid()
    return [CommentPosted(torrent=torrent, author=author, content=Private(author, words))]


def delete_comment(comment: Comment | None, *, actor: UUID, is_staff: bool) -> list[Fact]:
    """Delete a comment as its author or as staff. Raises `CommentNotFound`, `CommentNotYours`."""
    if comment is None or comment.deleted:
        raise CommentNotFound()
    if not (is_staff or actor == comment.author):
        raise CommentNotYours()
    return [CommentDeleted(torrent=comment.torrent, author=comment.author, deleted_by=actor)]
