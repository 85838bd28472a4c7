"""Posts of the forum: written, edited, deleted."""

from __future__ import annotations

from uuid import UUID

import msgspec

from domain.forum import (
    POST_LENGTH,
    ForumPostDeleted,
    ForumPostEdited,
    ForumPostEditedMeanwhile,
    ForumPostInvalid,
    ForumPostNotFound,
    ForumPostNotYours,
    ForumPostWritten,
    ForumTopicIsLocked,
)
from domain.forum_topics import ForumTopic, require_present
from domain.kernel import Envelope, Fact, Private
from domain.texts import is_storable


class ForumPost(msgspec.Struct, frozen=True, kw_only=True):
    """A post as its facts leave it. `revision` counts its edits, `editor` made the last one."""

    id: UUID
    version: int
    topic: UUID
    author: UUID
    content: str | None
    revision: int = 0
    editor: UUID | None = None
    deleted: bool = False


def evolve(state: ForumPost | None, envelope: Envelope) -> ForumPost:
    """Fold one fact of a post."""
    fact, version = envelope.fact, envelope.originator_version
    if state is None and isinstance(fact, ForumPostWritten):
        return ForumPost(
            id=envelope.originator_id,
            version=version,
            topic=fact.topic,
            author=fact.author,
            content=fact.content.text,
        )
    if state is not None and isinstance(fact, ForumPostEdited):
        return msgspec.structs.replace(
            state,
            version=version,
            content=fact.content.text,
            revision=state.revision + 1,
            editor=fact.edited_by,
        )
    if state is not None and isinstance(fact, ForumPostDeleted):
        return msgspec.structs.replace(state, version=version, deleted=True)
    raise TypeError(f"{type(fact).__name__} is no next fact of a forum post")


def write_first_post(topic: UUID, *, author: UUID, content: str) -> list[Fact]:
    """Write the post a topic begins with. Raises `ForumPostInvalid`."""
    return [ForumPostWritten(topic=topic, author=author, content=_words(author, content))]


def write_forum_post(
    topic: ForumTopic | None, *, author: UUID, content: str, is_staff: bool
) -> list[Fact]:
    """Answer in a topic; only staff does in a locked one.

    Raises `ForumTopicNotFound`, `ForumTopicIsLocked`, `ForumPostInvalid`. Who deletes or locks the
    topic at the same moment may come first in the log: such a post counts nowhere, or is the last.
    """
    topic = require_present(topic)
    if topic.locked and not is_staff:
        raise ForumTopicIsLocked()
    return [ForumPostWritten(topic=topic.id, author=author, content=_words(author, content))]


def edit_forum_post(
    post: ForumPost | None,
    topic: ForumTopic | None,
    *,
    actor: UUID,
    is_staff: bool,
    content: str,
    seen: int | None = None,
) -> list[Fact]:
    """Change a post's words, as its author or as staff; nothing when they are these already.

    `seen` is the revision that was edited, None when unknown: then the last edit wins. Raises
    `ForumPostNotFound`, `ForumPostNotYours`, `ForumTopicIsLocked`, `ForumPostEditedMeanwhile`,
    `ForumPostInvalid`.
    """
    post = _require_own(post, topic, actor, is_staff=is_staff)
    if topic is not None and topic.locked and not is_staff:
        raise ForumTopicIsLocked()
    words = _words(post.author, content)
    if seen is not None and seen != post.revision:
        raise ForumPostEditedMeanwhile(editor=post.editor, revision=post.revision)
    if words.text == post.content:
        return []
    return [ForumPostEdited(topic=post.topic, author=post.author, edited_by=actor, content=words)]


def delete_forum_post(
    post: ForumPost | None, topic: ForumTopic | None, *, actor: UUID, is_staff: bool
) -> list[Fact]:
    """Delete an answer, as its author or as staff; what others quoted of it stays with them.

    The first post goes with its topic: `delete_forum_topic` is for it. Raises
    `ForumPostNotFound`, `ForumPostNotYours`.
    """
    post = _require_own(post, topic, actor, is_staff=is_staff)
    return [ForumPostDeleted(topic=post.topic, author=post.author, deleted_by=actor)]


def _require_own(
    post: ForumPost | None, topic: ForumTopic | None, actor: UUID, *, is_staff: bool
) -> ForumPost:
    if post is None or post.deleted or topic is None or topic.deleted:
        raise ForumPostNotFound()
    if not (is_staff or actor == post.author):
        raise ForumPostNotYours()
    return post


def _words(author: UUID, content: str) -> Private:
    words = content.strip()
    if not 1 <= len(words) <= POST_LENGTH or not is_storable(words):
        raise ForumPostInvalid()
    return Private(author, words)
