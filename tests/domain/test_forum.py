"""Topics and posts: who may do what, in which state."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain import forum, forum_categories, forum_posts, forum_topics
from domain.forum import (
    ForumPostDeleted,
    ForumPostEdited,
    ForumPostWritten,
    ForumTopicDeleted,
    ForumTopicLocked,
    ForumTopicPinned,
    ForumTopicStarted,
    ForumTopicUnlocked,
    ForumTopicUnpinned,
)
from domain.forum_categories import ForumCategoryCreated, ForumCategoryFields, ForumCategoryRemoved
from domain.kernel import Fact, Private
from tests.kit.domain import folded, given, refuses_foreign_facts

ANNA, BERT, MONA = UUID(int=1), UUID(int=2), UUID(int=3)
CATEGORY, TOPIC, FIRST, POST = (UUID(int=number) for number in (10, 20, 30, 31))
CREATED = ForumCategoryCreated(
    name="General", description=None, icon=None, color="#112233", place=1
)
STARTED = ForumTopicStarted(
    category=CATEGORY, author=ANNA, title=Private(ANNA, "Hello"), first_post=FIRST
)
DELETED = ForumTopicDeleted(category=CATEGORY, author=ANNA, deleted_by=ANNA)
WRITTEN = ForumPostWritten(topic=TOPIC, author=BERT, content=Private(BERT, "Hi"))
LOCKED = ForumTopicLocked(moderator=MONA)


def topic(*facts: Fact) -> forum_topics.ForumTopic | None:
    return folded(forum_topics.evolve, *facts, id=TOPIC)


def edited(words: str, by: UUID) -> ForumPostEdited:
    return ForumPostEdited(topic=TOPIC, author=BERT, edited_by=by, content=Private(BERT, words))


def test_start_forum_topic_needs_a_category_that_stands() -> None:
    asked = {"author": ANNA, "title": " Hello ", "first_post": FIRST}
    given(forum_categories.evolve, CREATED, id=CATEGORY).when(
        forum_topics.start_forum_topic, **asked
    ).then(STARTED)
    for facts in ((), (CREATED, ForumCategoryRemoved())):
        given(forum_categories.evolve, *facts).when(
            forum_topics.start_forum_topic, **asked
        ).then_refused(forum_categories.ForumCategoryNotFound)


@pytest.mark.parametrize(
    "title", ["", " ", "x" * 201, "a\nb", "a\0b", "a\x7fb", "a\ud800", "\u200b\u2060"]
)
def test_start_forum_topic_refuses_what_is_no_title(title: str) -> None:
    given(forum_categories.evolve, CREATED).when(
        forum_topics.start_forum_topic, author=ANNA, title=title, first_post=FIRST
    ).then_refused(forum.ForumTitleInvalid)


def test_pin_and_lock_record_only_what_changes_and_toggle() -> None:
    pinned, unpinned = ForumTopicPinned(moderator=MONA), ForumTopicUnpinned(moderator=MONA)
    unlocked = ForumTopicUnlocked(moderator=MONA)
    for decide, name, on, off in (
        (forum_topics.pin_forum_topic, "pinned", pinned, unpinned),
        (forum_topics.lock_forum_topic, "locked", LOCKED, unlocked),
    ):
        for facts, wanted, then in (
            ((STARTED,), True, [on]),
            ((STARTED,), None, [on]),
            ((STARTED,), False, []),
            ((STARTED, on), True, []),
            ((STARTED, on), None, [off]),
            ((STARTED, on), False, [off]),
            ((STARTED, on, off), None, [on]),
        ):
            asked = given(forum_topics.evolve, *facts).when(
                decide, moderator=MONA, **{name: wanted}
            )
            asked.then(*then)
        given(forum_topics.evolve, STARTED, DELETED).when(
            decide, moderator=MONA, **{name: True}
        ).then_refused(forum.ForumTopicNotFound)


def test_delete_forum_topic_is_for_its_author_and_staff() -> None:
    stands = given(forum_topics.evolve, STARTED)
    stands.when(forum_topics.delete_forum_topic, actor=ANNA, is_staff=False).then(DELETED)
    stands.when(forum_topics.delete_forum_topic, actor=MONA, is_staff=True).then(
        ForumTopicDeleted(category=CATEGORY, author=ANNA, deleted_by=MONA)
    )
    stands.when(forum_topics.delete_forum_topic, actor=BERT, is_staff=False).then_refused(
        forum.ForumTopicNotYours
    )
    for facts in ((), (STARTED, DELETED)):
        given(forum_topics.evolve, *facts).when(
            forum_topics.delete_forum_topic, actor=ANNA, is_staff=True
        ).then_refused(forum.ForumTopicNotFound)


def test_write_forum_post_is_for_open_topics_or_staff() -> None:
    asked = {"author": BERT, "content": " Hi "}
    write = forum_posts.write_forum_post
    stands = given(forum_topics.evolve, STARTED, id=TOPIC)
    locked = given(forum_topics.evolve, STARTED, LOCKED, id=TOPIC)
    stands.when(write, **asked, is_staff=False).then(WRITTEN)
    locked.when(write, **asked, is_staff=True).then(WRITTEN)
    locked.when(write, **asked, is_staff=False).then_refused(forum.ForumTopicIsLocked)
    for facts in ((), (STARTED, DELETED)):
        given(forum_topics.evolve, *facts).when(write, **asked, is_staff=True).then_refused(
            forum.ForumTopicNotFound
        )


@pytest.mark.parametrize("content", ["", " \n", "x" * 50_001, "a\0b", "\udc00"])
def test_posts_refuse_what_is_no_text_or_too_long(content: str) -> None:
    stands = given(forum_topics.evolve, STARTED, id=TOPIC)
    stands.when(
        forum_posts.write_forum_post, author=BERT, content=content, is_staff=False
    ).then_refused(forum.ForumPostInvalid)
    with pytest.raises(forum.ForumPostInvalid):
        forum_posts.write_first_post(TOPIC, author=ANNA, content=content)
    given(forum_posts.evolve, WRITTEN).when(
        forum_posts.edit_forum_post, topic(STARTED), actor=BERT, is_staff=False, content=content
    ).then_refused(forum.ForumPostInvalid)


def test_edit_forum_post_keeps_the_words_under_their_authors_key() -> None:
    stands = given(forum_posts.evolve, WRITTEN)
    edit = forum_posts.edit_forum_post
    for who, is_staff in ((BERT, False), (MONA, True)):
        stands.when(edit, topic(STARTED), actor=who, is_staff=is_staff, content="Ho").then(
            edited("Ho", who)
        )
    stands.when(edit, topic(STARTED), actor=BERT, is_staff=False, content=" Hi ").then()
    stands.when(edit, topic(STARTED), actor=ANNA, is_staff=False, content="Ho").then_refused(
        forum.ForumPostNotYours
    )


def test_edit_forum_post_refuses_locked_gone_and_changed_posts() -> None:
    edit = forum_posts.edit_forum_post
    stands = given(forum_posts.evolve, WRITTEN)
    locked = topic(STARTED, LOCKED)
    stands.when(edit, locked, actor=BERT, is_staff=False, content="Ho").then_refused(
        forum.ForumTopicIsLocked
    )
    stands.when(edit, locked, actor=MONA, is_staff=True, content="Ho").then(edited("Ho", MONA))
    for gone in (None, topic(STARTED, DELETED)):
        stands.when(edit, gone, actor=BERT, is_staff=False, content="Ho").then_refused(
            forum.ForumPostNotFound
        )
    changed = given(forum_posts.evolve, WRITTEN, edited("Ho", MONA))
    for seen, refused in ((0, True), (1, False), (None, False)):
        asked = changed.when(
            edit, topic(STARTED), actor=BERT, is_staff=False, content="He", seen=seen
        )
        if refused:
            asked.then_refused(forum.ForumPostEditedMeanwhile, editor=MONA, revision=1)
        else:
            asked.then(edited("He", BERT))


def test_delete_forum_post_is_for_its_author_and_staff() -> None:
    delete = forum_posts.delete_forum_post
    stands = given(forum_posts.evolve, WRITTEN)
    for who, is_staff in ((BERT, False), (MONA, True)):
        stands.when(delete, topic(STARTED), actor=who, is_staff=is_staff).then(
            ForumPostDeleted(topic=TOPIC, author=BERT, deleted_by=who)
        )
    stands.when(delete, topic(STARTED), actor=ANNA, is_staff=False).then_refused(
        forum.ForumPostNotYours
    )
    gone = ForumPostDeleted(topic=TOPIC, author=BERT, deleted_by=BERT)
    given(forum_posts.evolve, WRITTEN, gone).when(
        delete, topic(STARTED), actor=BERT, is_staff=True
    ).then_refused(forum.ForumPostNotFound)
    stands.when(delete, topic(STARTED, DELETED), actor=BERT, is_staff=True).then_refused(
        forum.ForumPostNotFound
    )


def test_forum_categories_are_checked_trimmed_and_removed_only_when_empty() -> None:
    fields = ForumCategoryFields(name=" General ", description=" ", color="#112233", place=1)
    assert forum_categories.create_forum_category(fields) == [CREATED]
    stands = given(forum_categories.evolve, CREATED)
    changes = forum_categories.ForumCategoryChanges
    stands.when(forum_categories.edit_forum_category, changes(name="General ")).then()
    for wrong in (
        changes(name=" "),
        changes(color="red"),
        changes(place=-1),
        changes(icon="x" * 51),
        changes(description="a\0b"),
    ):
        stands.when(forum_categories.edit_forum_category, wrong).then_refused(
            forum_categories.ForumCategoryInvalid
        )
    stands.when(forum_categories.remove_forum_category, topics=0).then(ForumCategoryRemoved())
    stands.when(forum_categories.remove_forum_category, topics=2).then_refused(
        forum_categories.ForumCategoryInUse, topics=2
    )
    gone = given(forum_categories.evolve, CREATED, ForumCategoryRemoved())
    gone.when(forum_categories.remove_forum_category, topics=0).then_refused(
        forum_categories.ForumCategoryNotFound
    )


def test_the_forum_refuses_foreign_facts() -> None:
    refuses_foreign_facts(forum_topics.evolve, STARTED)
    refuses_foreign_facts(forum_posts.evolve, WRITTEN)
    refuses_foreign_facts(forum_categories.evolve, CREATED)
