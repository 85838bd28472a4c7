"""Any order of forum and comments on the real log: the read models equal a plain model."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import uuid6
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from application.bus import Actor, Context
from application.comments import DeleteComment, PostComment
from application.forum import (
    DeleteForumPost,
    DeleteForumTopic,
    EditForumPost,
    LockForumTopic,
    PinForumTopic,
    StartForumTopic,
    WriteForumPost,
)
from application.forum_categories import CreateForumCategory, RemoveForumCategory
from application.ports import Writes
from application.uploads import UploadTorrent
from domain.errors import DomainError
from domain.forum import ForumPostWritten
from domain.forum_categories import ForumCategoryFields
from domain.kernel import Envelope, Meta, Private
from domain.permissions import Permission
from projections import engine
from projections.comments import (
    CommentsProjection,
    count_member_comments,
    count_torrent_comments,
    list_comments,
)
from projections.engine import schema_of
from projections.forum import ForumProjection
from projections.forum_lists import (
    ForumTotals,
    find_forum_topic,
    list_forum_categories,
    list_forum_posts,
    list_forum_topics,
    list_latest_posts,
    read_forum_totals,
)
from projections.history import HistoryProjection
from projections.rebuild import rebuild
from projections.users import UsersProjection
from projections.verify import Verifier
from tests.kit.real_log import real_log
from tests.kit.servers import TestServers
from tests.kit.torrents import torrent_file
from tests.projections.verify_kit import POLICIES

START = datetime(2026, 11, 1, tzinfo=UTC)
FORUM, COMMENTS = ForumProjection(), CommentsProjection()
PROJECTIONS = (HistoryProjection(), UsersProjection(), FORUM, COMMENTS)
ANNA, BERT = (
    Actor(account=UUID(int=number), number=number, username=name)
    for number, name in ((11, "anna"), (12, "bert"))
)
MONA = Actor(
    account=UUID(int=21),
    number=21,
    username="mona",
    permissions=frozenset({Permission.CAN_MODERATE.value}),
)
EVERYBODY = [ANNA, BERT, MONA]
picks = st.integers(0, 99)
actors = st.sampled_from(EVERYBODY)


@dataclass
class Topic:
    """A topic of the plain model; `last` says when its last post came, as a running number."""

    category: UUID
    author: Actor
    first: UUID
    posts: list[UUID] = field(default_factory=list)
    pinned: bool = False
    locked: bool = False


@dataclass
class Post:
    topic: UUID
    author: Actor
    content: str
    number: int
    edits: int = 0


def machine(servers: TestServers) -> type[RuleBasedStateMachine]:  # noqa: C901  rules of one machine
    """The state machine over fresh databases of these servers."""

    class Forum(RuleBasedStateMachine):
        """Members write, edit and delete as they like; the plain model says what is to be seen."""

        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            ground = self.stack.enter_context(real_log(servers, PROJECTIONS))
            self.app_url = ground.app_url
            self.conn, self.log, self.bus = ground.conn, ground.log, ground.bus
            self.now, self.number = START, 0
            self.categories: list[UUID] = []
            self.topics: dict[UUID, Topic] = {}
            self.gone: list[UUID] = []
            self.posts: dict[UUID, Post] = {}
            self.torrent = uuid4()
            self.comments: dict[UUID, Actor] = {}

        def teardown(self) -> None:
            try:
                self.look(7)
                verdict = Verifier(self.app_url, self.log, PROJECTIONS, POLICIES, seed=1).verify()
                checks = {check.part: check for check in verdict.checks}
                for part in ("event log", "forum", "comments", "history", "claims"):
                    assert checks[part].outcome == "equal", checks[part]
                self.rows_are_the_same_from_the_start()
            finally:
                self.stack.close()

        def sent(self, command: Any, actor: Actor, *, allowed: bool = True) -> bool:
            """Whether it was done, which is to be so exactly where the model allows it."""
            self.now += timedelta(seconds=1)
            context = Context(at=self.now, command=uuid4(), correlation=uuid4(), actor=actor)
            before = self.log.head()
            try:
                self.bus.dispatch(command, context)
                done = True
            except DomainError:
                done = False
            assert done == allowed, command
            assert done or self.log.head() == before
            return done

        def wrote(self, post: UUID, topic: UUID, author: Actor, content: str) -> None:
            self.number += 1
            self.posts[post] = Post(topic, author, content, self.number)
            self.topics[topic].posts.append(post)

        def drop(self, topic: UUID) -> None:
            self.gone.append(topic)
            for post in self.topics.pop(topic).posts:
                del self.posts[post]

        @initialize()
        def begin(self) -> None:
            self.sent(UploadTorrent(torrent=self.torrent, file=torrent_file("x")), ANNA)
            self.create_category(0)
            self.start(0, ANNA)

        @rule(place=st.integers(0, 3))
        def create_category(self, place: int) -> None:
            if len(self.categories) < 3:
                fields = ForumCategoryFields(name="General", place=place)
                self.categories.append(uuid4())
                self.sent(CreateForumCategory(category=self.categories[-1], fields=fields), MONA)

        @rule(pick=picks)
        def remove_category(self, pick: int) -> None:
            if len(self.categories) < 2:
                return
            category = self.categories[pick % len(self.categories)]
            here = sum(topic.category == category for topic in self.topics.values())
            command = RemoveForumCategory(category=category, topics=here)
            if self.sent(command, MONA, allowed=here == 0):
                self.categories.remove(category)

        @rule(pick=picks, actor=actors)
        def start(self, pick: int, actor: Actor) -> None:
            category = self.categories[pick % len(self.categories)]
            topic, post = UUID(bytes=uuid6.uuid7().bytes), UUID(bytes=uuid6.uuid7().bytes)
            command = StartForumTopic(
                topic=topic, post=post, category=category, title="Hello", content="first"
            )
            self.sent(command, actor)
            self.topics[topic] = Topic(category, actor, post)
            self.wrote(post, topic, actor, "first")

        @rule(pick=picks, actor=actors)
        def answer(self, pick: int, actor: Actor) -> None:
            if not self.topics:
                return
            topic = list(self.topics)[pick % len(self.topics)]
            post = UUID(bytes=uuid6.uuid7().bytes)
            allowed = not self.topics[topic].locked or actor is MONA
            command = WriteForumPost(post=post, topic=topic, content=f"answer {self.number}")
            if self.sent(command, actor, allowed=allowed):
                self.wrote(post, topic, actor, command.content)

        @rule(pick=picks, actor=actors)
        def answer_behind_the_end(self, pick: int, actor: Actor) -> None:
            """The topic is deleted in the same moment, and comes first in the log."""
            if not self.gone:
                return
            topic = self.gone[pick % len(self.gone)]
            meta = Meta(at=self.now, actor=actor.account, command=uuid4(), correlation=uuid4())
            words = Private(actor.account, "too late")
            fact = ForumPostWritten(topic=topic, author=actor.account, content=words)
            late = Envelope(originator_id=uuid4(), originator_version=1, meta=meta, fact=fact)
            self.log.append(Writes(command_id=meta.command, envelopes=(late,)))

        @rule(pick=picks, actor=actors)
        def edit(self, pick: int, actor: Actor) -> None:
            if not self.posts:
                return
            post, known = list(self.posts.items())[pick % len(self.posts)]
            locked = self.topics[known.topic].locked
            allowed = actor is MONA or (actor is known.author and not locked)
            command = EditForumPost(post=post, content=f"edit at {self.now}")
            if self.sent(command, actor, allowed=allowed):
                known.content = command.content
                known.edits += 1

        @rule(pick=picks, actor=actors)
        def delete_post(self, pick: int, actor: Actor) -> None:
            if not self.posts:
                return
            post, known = list(self.posts.items())[pick % len(self.posts)]
            allowed = actor in {MONA, known.author}
            if not self.sent(DeleteForumPost(post=post), actor, allowed=allowed):
                return
            if post == self.topics[known.topic].first:
                self.drop(known.topic)
            else:
                self.topics[known.topic].posts.remove(post)
                del self.posts[post]

        @rule(pick=picks, actor=actors, really=st.integers(0, 3))
        def delete_topic(self, pick: int, actor: Actor, really: int) -> None:
            if really or not self.topics:
                return
            topic, known = list(self.topics.items())[pick % len(self.topics)]
            allowed = actor in {MONA, known.author}
            if self.sent(DeleteForumTopic(topic=topic), actor, allowed=allowed):
                self.drop(topic)

        @rule(pick=picks, wanted=st.sampled_from([None, True, False]), lock=st.booleans())
        def pin_or_lock(self, pick: int, wanted: bool | None, lock: bool) -> None:
            if not self.topics:
                return
            topic, known = list(self.topics.items())[pick % len(self.topics)]
            if lock:
                self.sent(LockForumTopic(topic=topic, locked=wanted), MONA)
                known.locked = not known.locked if wanted is None else wanted
            else:
                self.sent(PinForumTopic(topic=topic, pinned=wanted), MONA)
                known.pinned = not known.pinned if wanted is None else wanted

        @rule(actor=actors)
        def comment(self, actor: Actor) -> None:
            comment = UUID(bytes=uuid6.uuid7().bytes)
            command = PostComment(comment=comment, torrent=self.torrent, content="Thanks!")
            self.sent(command, actor)
            self.comments[comment] = actor

        @rule(pick=picks, actor=actors)
        def delete_comment(self, pick: int, actor: Actor) -> None:
            if not self.comments:
                return
            comment, author = list(self.comments.items())[pick % len(self.comments)]
            allowed = actor in {MONA, author}
            if self.sent(DeleteComment(comment=comment), actor, allowed=allowed):
                del self.comments[comment]

        @rule(limit=st.sampled_from([1, 2, 7, 500]))
        def look(self, limit: int) -> None:
            self.catch_up(limit)
            self.topics_are_shown_in_their_order()
            self.posts_are_shown_as_they_stand()
            self.counts_are_of_what_stands()
            self.comments_are_shown_and_counted()

        def catch_up(self, limit: int) -> None:
            for projection in PROJECTIONS:
                while isinstance(engine.step(self.conn, self.log, projection, limit=limit), int):
                    pass

        def topics_are_shown_in_their_order(self) -> None:
            for category in self.categories:
                here = {t: each for t, each in self.topics.items() if each.category == category}
                order = sorted(
                    here,
                    key=lambda t: (here[t].pinned, self.posts[here[t].posts[-1]].number),
                    reverse=True,
                )
                rows = list_forum_topics(self.conn, category, limit=100)
                assert [row.id for row in rows] == order
                for row in rows:
                    known = here[row.id]
                    assert (row.pinned, row.locked) == (known.pinned, known.locked)
                    assert (row.posts, row.last_post) == (len(known.posts), known.posts[-1])
                    assert row.excerpt == self.posts[known.first].content
            assert all(find_forum_topic(self.conn, topic) is None for topic in self.gone)

        def posts_are_shown_as_they_stand(self) -> None:
            for topic, known in self.topics.items():
                rows = list_forum_posts(self.conn, topic, limit=1000)
                wanted = [self.posts[post] for post in known.posts]
                assert [row.id for row in rows] == known.posts
                assert [(row.author, row.content, row.revision) for row in rows] == [
                    (post.author.account, post.content, post.edits) for post in wanted
                ]
            newest = sorted(self.posts, key=lambda post: self.posts[post].number, reverse=True)
            assert [row.id for row in list_latest_posts(self.conn)] == newest[:5]

        def counts_are_of_what_stands(self) -> None:
            authors = Counter(post.author.account for post in self.posts.values())
            assert read_forum_totals(self.conn) == ForumTotals(
                categories=len(self.categories),
                topics=len(self.topics),
                posts=len(self.posts),
                contributors=len(authors),
            )
            members = self.conn.execute("SELECT member, posts FROM forum_2.members").fetchall()
            assert dict(members) == authors
            for row in list_forum_categories(self.conn):
                here = [topic for topic in self.topics.values() if topic.category == row.id]
                assert row.topics == len(here)
                assert row.posts == sum(len(topic.posts) for topic in here)

        def comments_are_shown_and_counted(self) -> None:
            rows = list_comments(self.conn, self.torrent, limit=1000)
            assert [row.id for row in rows] == sorted(self.comments, reverse=True)
            assert count_torrent_comments(self.conn, self.torrent) == len(self.comments)
            for actor in EVERYBODY:
                wrote = sum(author is actor for author in self.comments.values())
                assert count_member_comments(self.conn, actor.account) == wrote

        def rows_are_the_same_from_the_start(self) -> None:
            """Folded one by one, and rebuilt, as in the batches they came in."""
            for projection in (FORUM, COMMENTS):
                before = self.rows(projection)
                engine.drop(self.conn, schema_of(projection))
                engine.install(self.conn, projection)
                self.catch_up(1)
                assert self.rows(projection) == before
                rebuild(self.conn, self.log, projection)
                assert self.rows(projection) == before

        def rows(self, projection: engine.Projection) -> dict[str, list[Any]]:
            return {
                table: self.conn.execute(
                    f"SELECT t::text FROM {schema_of(projection)}.{table} t ORDER BY 1"
                ).fetchall()
                for table in projection.keys
            }

    return Forum


@pytest.mark.timeout(240)
def test_forum_and_comments_on_the_real_log(servers: TestServers) -> None:
    run_state_machine_as_test(
        machine(servers),
        settings=settings(
            max_examples=10,
            stateful_step_count=50,
            deadline=None,
            # The first failure as it is: shrinking one on a real log outlasts the timeout.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
