"""The forum: topics and the posts in them.

A topic holds its title, pin and lock; each post is an aggregate of its own, under an id that
rises with time (UUIDv7), so members who answer in the same topic never wait for each other. A
topic begins together with its first post and ends with it.
"""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import UUID

from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel import Fact, Private

TITLE_LENGTH: Final = 200
POST_LENGTH: Final = 50_000
"""Characters, mark-up included (behaviour of the reference)."""


class ForumTopicStarted(Fact, frozen=True):
    """A member started a topic; `first_post` is what he wrote in it."""

    TOPIC: ClassVar[str] = "forum_topic.started.1"

    category: UUID
    author: UUID
    title: Private
    first_post: UUID


class ForumTopicPinned(Fact, frozen=True):
    """A moderator pinned a topic to the top of its category."""

    TOPIC: ClassVar[str] = "forum_topic.pinned.1"

    moderator: UUID


class ForumTopicUnpinned(Fact, frozen=True):
    """A moderator let a topic take its place among the others again."""

    TOPIC: ClassVar[str] = "forum_topic.unpinned.1"

    moderator: UUID


class ForumTopicLocked(Fact, frozen=True):
    """A moderator closed a topic: members neither answer nor edit in it."""

    TOPIC: ClassVar[str] = "forum_topic.locked.1"

    moderator: UUID


class ForumTopicUnlocked(Fact, frozen=True):
    """A moderator opened a topic again."""

    TOPIC: ClassVar[str] = "forum_topic.unlocked.1"

    moderator: UUID


class ForumTopicDeleted(Fact, frozen=True):
    """A topic was deleted with all its posts, by its author or by a moderator."""

    TOPIC: ClassVar[str] = "forum_topic.deleted.1"

    category: UUID
    author: UUID
    deleted_by: UUID


class ForumPostWritten(Fact, frozen=True):
    """A member wrote a post: the first of a topic, or an answer."""

    TOPIC: ClassVar[str] = "forum_post.written.1"

    topic: UUID
    author: UUID
    content: Private


class ForumPostEdited(Fact, frozen=True):
    """A post was edited, by its author or by a moderator."""

    TOPIC: ClassVar[str] = "forum_post.edited.1"

    topic: UUID
    author: UUID
    edited_by: UUID
    content: Private


class ForumPostDeleted(Fact, frozen=True):
    """An answer was deleted, by its author or by a moderator."""

    TOPIC: ClassVar[str] = "forum_post.deleted.1"

    topic: UUID
    author: UUID
    deleted_by: UUID


FACTS: tuple[type[Fact], ...] = (
    ForumTopicStarted,
    ForumTopicPinned,
    ForumTopicUnpinned,
    ForumTopicLocked,
    ForumTopicUnlocked,
    ForumTopicDeleted,
    ForumPostWritten,
    ForumPostEdited,
    ForumPostDeleted,
)


class ForumTopicNotFound(NotFound):
    """No such topic, or it was deleted."""

    code = "forum_topic_not_found"
    message = "Topic not found"


class ForumTopicNotYours(Forbidden):
    """Only its author and moderators may delete a topic."""

    code = "forum_topic_not_yours"
    message = "This topic is not yours"


class ForumTopicIsLocked(Forbidden):
    """Members neither answer nor edit in a locked topic (behaviour of the reference: 403)."""

    code = "forum_topic_locked"
    message = "Topic is locked"


class ForumTitleInvalid(Invalid):
    """A title is empty or too long, or is more than a line of text."""

    code = "forum_title_invalid"
    message = f"title: must be one line of 1 to {TITLE_LENGTH} characters"


class ForumPostNotFound(NotFound):
    """No such post, or it was deleted, or its topic was."""

    code = "forum_post_not_found"
    message = "Post not found"


class ForumPostNotYours(Forbidden):
    """Only its author and moderators may edit or delete a post."""

    code = "forum_post_not_yours"
    message = "This post is not yours"


class ForumPostInvalid(Invalid):
    """A post is empty or too long, or holds what is no text."""

    code = "forum_post_invalid"
    message = f"content: must have 1 to {POST_LENGTH} characters"


class ForumPostEditedMeanwhile(Conflict):
    """Somebody edited the post since; `data` has `editor` and the post's `revision` now."""

    code = "forum_post_edited_meanwhile"
    message = "This post was edited meanwhile; look at it again."
