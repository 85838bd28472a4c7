"""Topics of the forum: started, pinned, locked, deleted."""

from __future__ import annotations

from uuid import UUID

import msgspec

from domain.forum import (
    TITLE_LENGTH,
    ForumTitleInvalid,
    ForumTopicDeleted,
    ForumTopicLocked,
    ForumTopicNotFound,
    ForumTopicNotYours,
    ForumTopicPinned,
    ForumTopicStarted,
    ForumTopicUnlocked,
    ForumTopicUnpinned,
)
from domain.forum_categories import ForumCategory, ForumCategoryNotFound
from domain.kernel import Envelope, Fact, Private


class ForumTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as its facts leave it."""

    id: UUID
    version: int
    category: UUID
    author: UUID
    first_post: UUID
    pinned: bool = False
    locked: bool = False
    deleted: bool = False


def evolve(state: ForumTopic | None, envelope: Envelope) -> ForumTopic:
    """Fold one fact of a topic."""
    fact, version = envelope.fact, envelope.originator_version
    if state is None and isinstance(fact, ForumTopicStarted):
        return ForumTopic(
            id=envelope.originator_id,
            version=version,
            category=fact.category,
            author=fact.author,
            first_post=fact.first_post,
        )
    if state is not None and isinstance(fact, ForumTopicPinned | ForumTopicUnpinned):
        return msgspec.structs.replace(
            state, version=version, pinned=isinstance(fact, ForumTopicPinned)
        )
    if state is not None and isinstance(fact, ForumTopicLocked | ForumTopicUnlocked):
        return msgspec.structs.replace(
            state, version=version, locked=isinstance(fact, ForumTopicLocked)
        )
    if state is not None and isinstance(fact, ForumTopicDeleted):
        return msgspec.structs.replace(state, version=version, deleted=True)
    raise TypeError(f"{type(fact).__name__} is no next fact of a forum topic")


def start_forum_topic(
    category: ForumCategory | None, *, author: UUID, title: str, first_post: UUID
) -> list[Fact]:
    """Start a topic; its first post is written along with it.

    Raises `ForumCategoryNotFound`, `ForumTitleInvalid`.
    """
    if category is None or category.removed:
        raise ForumCategoryNotFound()
    words = title.strip()
    printed = all(each >= " " and each != "\x7f" and not _is_half(each) for each in words)
    seen = any(each.isprintable() and not each.isspace() for each in words)
    if len(words) > TITLE_LENGTH or not printed or not seen:
        raise ForumTitleInvalid()
    return [
        ForumTopicStarted(
            category=category.id,
            author=author,
            title=Private(author, words),
            first_post=first_post,
        )
    ]


def pin_forum_topic(
    topic: ForumTopic | None, *, moderator: UUID, pinned: bool | None
) -> list[Fact]:
    """Pin a topic or unpin it, None for the other of the two; nothing when it is so already.

    Raises `ForumTopicNotFound`.
    """
    topic = require_present(topic)
    wanted = not topic.pinned if pinned is None else pinned
    if wanted == topic.pinned:
        return []
    if wanted:
        return [ForumTopicPinned(moderator=moderator)]
    return [ForumTopicUnpinned(moderator=moderator)]


def lock_forum_topic(
    topic: ForumTopic | None, *, moderator: UUID, locked: bool | None
) -> list[Fact]:
    """Lock a topic or unlock it, None for the other of the two; nothing when it is so already.

    Raises `ForumTopicNotFound`.
    """
    topic = require_present(topic)
    wanted = not topic.locked if locked is None else locked
    if wanted == topic.locked:
        return []
    if wanted:
        return [ForumTopicLocked(moderator=moderator)]
    return [ForumTopicUnlocked(moderator=moderator)]


def delete_forum_topic(topic: ForumTopic | None, *, actor: UUID, is_staff: bool) -> list[Fact]:
    """Delete a topic with its posts, as its author or as staff, whoever answered in it.

    Raises `ForumTopicNotFound`, `ForumTopicNotYours`.
    """
    topic = require_present(topic)
    if not (is_staff or actor == topic.author):
        raise ForumTopicNotYours()
    return [ForumTopicDeleted(category=topic.category, author=topic.author, deleted_by=actor)]


def require_present(topic: ForumTopic | None) -> ForumTopic:
    """The topic, unless it was deleted. Raises `ForumTopicNotFound`."""
    if topic is None or topic.deleted:
        raise ForumTopicNotFound()
    return topic


def _is_half(character: str) -> bool:
    """Half a surrogate pair fits into no fact."""
    return "\ud800" <= character <= "\udfff"
