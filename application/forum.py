"""Writing in the forum: topics, answers, and what moderators do with them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.forum_categories import load_forum_category
from application.markup import clean_markup, require_showable
from application.moderation import is_staff
from domain import forum, forum_posts, forum_topics, users
from domain.forum_posts import ForumPost


class StartForumTopic(msgspec.Struct, frozen=True, kw_only=True):
    """Start a topic with its first post; `topic` and `post` are their ids (UUIDv7)."""

    topic: UUID
    post: UUID
    category: UUID
    title: str
    content: str


class PinForumTopic(msgspec.Struct, frozen=True, kw_only=True):
    """Pin a topic or unpin it; None for the other of the two."""

    topic: UUID
    pinned: bool | None


class LockForumTopic(msgspec.Struct, frozen=True, kw_only=True):
    """Lock a topic or unlock it; None for the other of the two."""

    topic: UUID
    locked: bool | None


class DeleteForumTopic(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a topic with its posts."""

    topic: UUID


class WriteForumPost(msgspec.Struct, frozen=True, kw_only=True):
    """Answer in a topic; `post` is the answer's id (UUIDv7)."""

    post: UUID
    topic: UUID
    content: str


class EditForumPost(msgspec.Struct, frozen=True, kw_only=True):
    """Change a post's words. `seen` is the revision that was edited."""

    post: UUID
    content: str
    seen: int | None = None


class DeleteForumPost(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a post; the first of a topic goes with the topic."""

    post: UUID


class StartedForumTopic(msgspec.Struct, frozen=True, kw_only=True):
    """The topic as it was started, its first post as it is shown."""

    id: UUID
    category: UUID
    author: UUID
    author_name: str
    title: str
    first_post: UUID
    content: str
    created_at: datetime


class ForumTopicState(msgspec.Struct, frozen=True, kw_only=True):
    """Pin and lock of a topic as they are now."""

    id: UUID
    pinned: bool
    locked: bool


class WrittenForumPost(msgspec.Struct, frozen=True, kw_only=True):
    """The answer as it is shown."""

    id: UUID
    topic: UUID
    author: UUID
    author_name: str
    content: str
    created_at: datetime


class EditedForumPost(msgspec.Struct, frozen=True, kw_only=True):
    """The post as it is shown now; `edited` is false where it said so already."""

    id: UUID
    topic: UUID
    author: UUID
    content: str
    revision: int
    edited: bool


class DeletedForumPost(msgspec.Struct, frozen=True, kw_only=True):
    """What went; `topic_deleted` where the post was the first of its topic."""

    topic: UUID
    topic_deleted: bool


def handle_start_forum_topic(unit: Unit, command: StartForumTopic) -> StartedForumTopic:
    """Start it. Raises `ForumCategoryNotFound`, `ForumTitleInvalid`, `ForumPostInvalid`,
    `NothingToShow`, `TooManyTags`, `TangledTags`.
    """
    author = unit.actor
    topic_facts = forum_topics.start_forum_topic(
        load_forum_category(unit, command.category),
        author=author.account,
        title=command.title,
        first_post=command.post,
    )
    post_facts = forum_posts.write_first_post(
        command.topic, author=author.account, content=command.content
    )
    require_showable(command.content)
    unit.record(command.topic, 0, topic_facts)
    unit.record(command.post, 0, post_facts)
    started = next(fact for fact in topic_facts if isinstance(fact, forum.ForumTopicStarted))
    written = next(fact for fact in post_facts if isinstance(fact, forum.ForumPostWritten))
    return StartedForumTopic(
        id=command.topic,
        category=started.category,
        author=author.account,
        author_name=author.username,
        title=started.title.text or "",
        first_post=command.post,
        content=clean_markup(written.content.text or ""),
        created_at=unit.at,
    )


def handle_pin_forum_topic(unit: Unit, command: PinForumTopic) -> ForumTopicState:
    """Pin or unpin it. Raises `ForumTopicNotFound`."""
    topic = unit.find(command.topic, forum_topics.evolve)
    facts = forum_topics.pin_forum_topic(topic, moderator=unit.actor.account, pinned=command.pinned)
    topic = forum_topics.require_present(topic)
    unit.record(topic.id, topic.version, facts)
    return ForumTopicState(id=topic.id, pinned=topic.pinned != bool(facts), locked=topic.locked)


def handle_lock_forum_topic(unit: Unit, command: LockForumTopic) -> ForumTopicState:
    """Lock or unlock it. Raises `ForumTopicNotFound`."""
    topic = unit.find(command.topic, forum_topics.evolve)
    facts = forum_topics.lock_forum_topic(
        topic, moderator=unit.actor.account, locked=command.locked
    )
    topic = forum_topics.require_present(topic)
    unit.record(topic.id, topic.version, facts)
    return ForumTopicState(id=topic.id, pinned=topic.pinned, locked=topic.locked != bool(facts))


def handle_delete_forum_topic(unit: Unit, command: DeleteForumTopic) -> None:
    """Delete it. Raises `ForumTopicNotFound`, `ForumTopicNotYours`."""
    topic = unit.find(command.topic, forum_topics.evolve)
    facts = forum_topics.delete_forum_topic(
        topic, actor=unit.actor.account, is_staff=is_staff(unit.actor)
    )
    unit.record(command.topic, topic.version if topic else 0, facts)


def handle_write_forum_post(unit: Unit, command: WriteForumPost) -> WrittenForumPost:
    """Write it. Raises `ForumTopicNotFound`, `ForumTopicIsLocked`, `ForumPostInvalid`,
    `NothingToShow`, `TooManyTags`, `TangledTags`.
    """
    author = unit.actor
    facts = forum_posts.write_forum_post(
        unit.find(command.topic, forum_topics.evolve),
        author=author.account,
        content=command.content,
        is_staff=is_staff(author),
    )
    require_showable(command.content)
    unit.record(command.post, 0, facts)
    written = next(fact for fact in facts if isinstance(fact, forum.ForumPostWritten))
    return WrittenForumPost(
        id=command.post,
        topic=written.topic,
        author=author.account,
        author_name=author.username,
        content=clean_markup(written.content.text or ""),
        created_at=unit.at,
    )


def handle_edit_forum_post(unit: Unit, command: EditForumPost) -> EditedForumPost:
    """Edit it. Raises `ForumPostNotFound`, `ForumPostNotYours`, `ForumTopicIsLocked`,
    `ForumPostEditedMeanwhile`, `ForumPostInvalid`, `NothingToShow`, `TooManyTags`, `TangledTags`.
    """
    post = unit.find(command.post, forum_posts.evolve)
    try:
        facts = forum_posts.edit_forum_post(
            post,
            unit.find(post.topic, forum_topics.evolve) if post else None,
            actor=unit.actor.account,
            is_staff=is_staff(unit.actor),
            content=command.content,
            seen=command.seen,
        )
    except forum.ForumPostEditedMeanwhile as refusal:
        raise _told_by_whom(unit, post, refusal) from None
    if post is None:
        raise forum.ForumPostNotFound()
    require_showable(command.content)
    unit.record(post.id, post.version, facts)
    return EditedForumPost(
        id=post.id,
        topic=post.topic,
        author=post.author,
        content=clean_markup(command.content.strip()),
        revision=post.revision + len(facts),
        edited=bool(facts),
    )


def handle_delete_forum_post(unit: Unit, command: DeleteForumPost) -> DeletedForumPost:
    """Delete it, or its topic where it is the first. Raises `ForumPostNotFound`,
    `ForumPostNotYours`.
    """
    post = unit.find(command.post, forum_posts.evolve)
    topic = unit.find(post.topic, forum_topics.evolve) if post else None
    who, staff = unit.actor.account, is_staff(unit.actor)
    facts = forum_posts.delete_forum_post(post, topic, actor=who, is_staff=staff)
    if post is None or topic is None:
        raise forum.ForumPostNotFound()
    first = post.id == topic.first_post
    if first:
        facts = forum_topics.delete_forum_topic(topic, actor=who, is_staff=staff)
        unit.record(topic.id, topic.version, facts)
    else:
        unit.record(post.id, post.version, facts)
    return DeletedForumPost(topic=topic.id, topic_deleted=first)


def _told_by_whom(
    unit: Unit, post: ForumPost | None, refusal: forum.ForumPostEditedMeanwhile
) -> forum.ForumPostEditedMeanwhile:
    """The same refusal with the name of who edited last."""
    if post is None or post.editor is None:
        return refusal
    account = unit.load(post.editor, users.evolve)
    editor = {"id": str(post.editor), "username": account.username if account else None}
    return forum.ForumPostEditedMeanwhile(editor=editor, revision=post.revision)


HANDLERS: dict[type, Handler] = {
    StartForumTopic: handle_start_forum_topic,
    PinForumTopic: handle_pin_forum_topic,
    LockForumTopic: handle_lock_forum_topic,
    DeleteForumTopic: handle_delete_forum_topic,
    WriteForumPost: handle_write_forum_post,
    EditForumPost: handle_edit_forum_post,
    DeleteForumPost: handle_delete_forum_post,
}
