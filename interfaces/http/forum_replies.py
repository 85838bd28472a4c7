"""Topics and posts of the forum as the API answers them."""

from __future__ import annotations

from uuid import UUID

from application.bus import Actor
from domain.permissions import Permission
from interfaces.http.models import Instant, Reply
from interfaces.http.torrent_replies import MemberRefReply
from projections.forum_lists import ForumPostRow, ForumTopicRow, LatestPostRow


class ForumAuthorReply(MemberRefReply):
    """Who started a topic or wrote a post."""

    is_admin: bool
    is_moderator: bool


class TopicLastPostReply(Reply):
    """The last post of a topic; the author is null for a moment while it is being read in."""

    id: UUID
    created_at: Instant
    author: MemberRefReply | None


class TopicReply(Reply):
    """A topic. `replyCount` leaves the first post out; `updatedAt` is when its last was written.

    `title` and `firstPostExcerpt` are plain text, not HTML, and null once their words were
    destroyed.
    """

    id: UUID
    category_id: UUID
    author_id: UUID
    author: ForumAuthorReply
    title: str | None
    is_pinned: bool
    is_locked: bool
    created_at: Instant
    updated_at: Instant
    post_count: int
    reply_count: int
    first_post_excerpt: str | None
    last_post: TopicLastPostReply


class PostReply(Reply):
    """A post. `content` is HTML, cleaned so that it is safe in a page.

    It is null once its words were destroyed. `revision` counts the edits; `editedAt` and
    `editedBy` are of the last one.
    """

    id: UUID
    topic_id: UUID
    author_id: UUID
    author: ForumAuthorReply
    content: str | None
    is_first_post: bool
    created_at: Instant
    updated_at: Instant
    revision: int
    edited_at: Instant | None
    edited_by: MemberRefReply | None


class LatestPostReply(Reply):
    """One of the last posts of the forum; `excerpt` and `topicTitle` are plain text."""

    id: UUID
    topic_id: UUID
    topic_title: str | None
    category_id: UUID
    author: MemberRefReply
    created_at: Instant
    excerpt: str | None


def topic_reply(row: ForumTopicRow) -> TopicReply:
    """A topic as lists show it."""
    return TopicReply.model_validate(topic_fields(row))


def topic_fields(row: ForumTopicRow) -> dict[str, object]:
    """Fields of `TopicReply`."""
    last_author = row.last_author
    return {
        "id": row.id,
        "category_id": row.category,
        "author_id": row.author,
        "author": ForumAuthorReply(
            id=row.author,
            username=row.author_name,
            is_admin=row.author_is_admin,
            is_moderator=row.author_is_moderator,
        ),
        "title": row.title,
        "is_pinned": row.pinned,
        "is_locked": row.locked,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "post_count": row.posts,
        "reply_count": max(0, row.posts - 1),
        "first_post_excerpt": row.excerpt,
        "last_post": TopicLastPostReply(
            id=row.last_post,
            created_at=row.updated_at,
            author=(
                MemberRefReply(id=last_author, username=row.last_author_name)
                if last_author
                else None
            ),
        ),
    }


def post_reply(row: ForumPostRow, first_post: UUID) -> PostReply:
    """A post as its topic shows it."""
    return PostReply(
        id=row.id,
        topic_id=row.topic,
        author_id=row.author,
        author=ForumAuthorReply(
            id=row.author,
            username=row.author_name,
            is_admin=row.author_is_admin,
            is_moderator=row.author_is_moderator,
        ),
        content=row.content,
        is_first_post=row.id == first_post,
        created_at=row.created_at,
        updated_at=row.edited_at or row.created_at,
        revision=row.revision,
        edited_at=row.edited_at,
        edited_by=(MemberRefReply(id=row.editor, username=row.editor_name) if row.editor else None),
    )


def latest_post_reply(row: LatestPostRow) -> LatestPostReply:
    """A post as the statistics show it."""
    return LatestPostReply(
        id=row.id,
        topic_id=row.topic,
        topic_title=row.topic_title,
        category_id=row.category,
        author=MemberRefReply(id=row.author, username=row.author_name),
        created_at=row.created_at,
        excerpt=row.excerpt,
    )


def author_reply(actor: Actor) -> ForumAuthorReply:
    """The caller as the author of what he just wrote."""
    return ForumAuthorReply(
        id=actor.account,
        username=actor.username,
        is_admin=Permission.CAN_ACCESS_ADMIN.value in actor.permissions,
        is_moderator=Permission.CAN_MODERATE.value in actor.permissions,
    )
