"""The forum's read model: tables and fold. Its queries are in `forum_lists`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

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
from domain.forum_categories import (
    ForumCategoryCreated,
    ForumCategoryEdited,
    ForumCategoryRemoved,
)
from domain.kernel import Recorded
from projections.engine import Cursor

DDL = """
CREATE TABLE categories (
    id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    icon text COLLATE "C",
    color text COLLATE "C",
    place integer NOT NULL,
    created_at timestamptz NOT NULL,
    topics bigint NOT NULL,
    posts bigint NOT NULL
);
CREATE TABLE topics (
    id uuid PRIMARY KEY,
    category uuid NOT NULL,
    author uuid NOT NULL,
    title text COLLATE "C",
    first_post uuid NOT NULL,
    started bigint NOT NULL,
    created_at timestamptz NOT NULL,
    pinned boolean NOT NULL,
    locked boolean NOT NULL,
    posts bigint NOT NULL,
    last bigint NOT NULL,
    last_post uuid NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX ON topics (category, pinned, last);
CREATE INDEX ON topics (category, last);
CREATE INDEX ON topics (category, started);
CREATE TABLE posts (
    id uuid PRIMARY KEY,
    topic uuid NOT NULL,
    position bigint NOT NULL,
    author uuid NOT NULL,
    created_at timestamptz NOT NULL,
    content text COLLATE "C",
    revision integer NOT NULL,
    edited_at timestamptz,
    editor uuid
);
CREATE INDEX ON posts (topic, position);
CREATE INDEX ON posts ((position + 0));
CREATE TABLE members (
    member uuid PRIMARY KEY,
    posts bigint NOT NULL
) WITH (fillfactor = 90);
CREATE TABLE totals (
    name text COLLATE "C" PRIMARY KEY,
    amount bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO totals VALUES ('categories', 0), ('topics', 0), ('posts', 0), ('contributors', 0);
"""
# The last posts of all are found by `position + 0`: an index on `position` itself would tempt the
# planner to look for a topic's posts among those of all others.
# `started`, `last` and `position` are positions in the log: an order without ties. A replay after
# an author's key was destroyed finds no words (`Private.text` is None).

PostFact = ForumPostWritten | ForumPostEdited | ForumPostDeleted
Pairs = Sequence[tuple[UUID, UUID]]
CategoryFact = ForumCategoryCreated | ForumCategoryEdited | ForumCategoryRemoved


class ForumProjection:
    """Categories, topics and posts as they stand, and how many there are of each."""

    name = "forum"
    version = 2
    topics: frozenset[str] | None = frozenset(
        {
            ForumCategoryCreated.TOPIC,
            ForumCategoryEdited.TOPIC,
            ForumCategoryRemoved.TOPIC,
            ForumTopicStarted.TOPIC,
            ForumTopicPinned.TOPIC,
            ForumTopicUnpinned.TOPIC,
            ForumTopicLocked.TOPIC,
            ForumTopicUnlocked.TOPIC,
            ForumTopicDeleted.TOPIC,
            ForumPostWritten.TOPIC,
            ForumPostEdited.TOPIC,
            ForumPostDeleted.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "categories": ("id",),
        "topics": ("id",),
        "posts": ("id",),
        "members": ("member",),
        "totals": ("name",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Bring each touched topic to its last state.

        A topic precedes all that happens in it, and nothing brings back what was deleted; so
        one statement for each kind of fact folds a batch of any size. An answer may come behind
        the end of its topic, written in the same moment: it finds none and leaves no row.
        """
        _categories_changed(cursor, batch)
        touched = sorted(
            {topic for recorded in batch if (topic := _topic_of(recorded)) is not None}
        )
        if not touched:
            return
        _count_topics(cursor, touched, sign=-1)
        _topics_started(cursor, batch)
        written = _posts_written(cursor, batch)
        _posts_edited(cursor, batch)
        gone = _posts_deleted(cursor, batch)
        _pins_changed(cursor, batch)
        _locks_changed(cursor, batch)
        gone += _topics_deleted(cursor, batch)
        _find_last_posts(cursor, written, gone)
        _count_members(cursor, written, gone)
        _count_topics(cursor, touched, sign=1)


def _topic_of(recorded: Recorded) -> UUID | None:
    fact = recorded.envelope.fact
    if isinstance(fact, PostFact):
        return fact.topic
    return None if isinstance(fact, CategoryFact) else recorded.envelope.originator_id


def _categories_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    """Apply the facts in order; a site has a few dozen of them in all its life."""
    for recorded in batch:
        category, fact = recorded.envelope.originator_id, recorded.envelope.fact
        if isinstance(fact, ForumCategoryCreated):
            cursor.execute(
                """
                INSERT INTO categories
                    (name, description, icon, color, place, id, created_at, topics, posts)
                VALUES (%s, %s, %s, %s, %s, %s, %s, 0, 0)
                """,
                [*_category_fields(fact), category, recorded.envelope.meta.at],
            )
            _add_to_totals(cursor, {"categories": 1})
        elif isinstance(fact, ForumCategoryEdited):
            cursor.execute(
                """
                UPDATE categories
                SET name = %s, description = %s, icon = %s, color = %s, place = %s WHERE id = %s
                """,
                [*_category_fields(fact), category],
            )
        elif isinstance(fact, ForumCategoryRemoved):
            cursor.execute("DELETE FROM categories WHERE id = %s", [category])
            _add_to_totals(cursor, {"categories": -1})


def _category_fields(fact: ForumCategoryCreated | ForumCategoryEdited) -> tuple[object, ...]:
    return fact.name, fact.description, fact.icon, fact.color, fact.place


def _topics_started(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (
            recorded.envelope.originator_id,
            fact.category,
            fact.author,
            fact.title.text,
            fact.first_post,
            recorded.position,
            recorded.envelope.meta.at,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ForumTopicStarted)
    ]
    if rows:
        cursor.execute(
            """
            INSERT INTO topics (id, category, author, title, first_post, started, created_at,
                pinned, locked, posts, last, last_post, updated_at)
            SELECT id, category, author, title, first_post, started, at,
                false, false, 0, started, first_post, at
            FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::bigint[],
                %s::timestamptz[]) AS t (id, category, author, title, first_post, started, at)
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def _posts_written(cursor: Cursor, batch: Sequence[Recorded]) -> list[tuple[UUID, UUID]]:
    """Topic and author of each post that found its topic."""
    rows = [
        (
            recorded.envelope.originator_id,
            fact.topic,
            recorded.position,
            fact.author,
            recorded.envelope.meta.at,
            fact.content.text,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ForumPostWritten)
    ]
    if not rows:
        return []
    return cursor.execute(
        """
        INSERT INTO posts (id, topic, position, author, created_at, content, revision)
        SELECT p.*, 0
        FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::uuid[], %s::timestamptz[],
            %s::text[]) AS p (id, topic, position, author, created_at, content)
        WHERE EXISTS (SELECT FROM topics t WHERE t.id = p.topic)
        RETURNING topic, author
        """,
        [list(column) for column in zip(*rows, strict=True)],
    ).fetchall()


def _posts_edited(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    edits: Counter[UUID] = Counter()
    last: dict[UUID, tuple[str | None, datetime, UUID]] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, ForumPostEdited):
            post = recorded.envelope.originator_id
            edits[post] += 1
            last[post] = (fact.content.text, recorded.envelope.meta.at, fact.edited_by)
    if last:
        cursor.execute(
            """
            UPDATE posts p
            SET content = e.content, edited_at = e.at, editor = e.editor,
                revision = p.revision + e.edits
            FROM unnest(%s::uuid[], %s::integer[], %s::text[], %s::timestamptz[], %s::uuid[])
                AS e (id, edits, content, at, editor)
            WHERE p.id = e.id
            """,
            [
                list(last),
                [edits[post] for post in last],
                *(list(column) for column in zip(*last.values(), strict=True)),
            ],
        )


def _posts_deleted(cursor: Cursor, batch: Sequence[Recorded]) -> list[tuple[UUID, UUID]]:
    """Topic and author of each post that was there and is no longer."""
    deleted = [
        recorded.envelope.originator_id
        for recorded in batch
        if isinstance(recorded.envelope.fact, ForumPostDeleted)
    ]
    return cursor.execute(
        "DELETE FROM posts WHERE id = ANY(%s::uuid[]) RETURNING topic, author", [deleted]
    ).fetchall()


def _pins_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    last = {
        recorded.envelope.originator_id: isinstance(fact, ForumTopicPinned)
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ForumTopicPinned | ForumTopicUnpinned)
    }
    cursor.execute(
        """
        UPDATE topics t SET pinned = c.pinned
        FROM unnest(%s::uuid[], %s::boolean[]) AS c (id, pinned) WHERE t.id = c.id
        """,
        [list(last), list(last.values())],
    )


def _locks_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    last = {
        recorded.envelope.originator_id: isinstance(fact, ForumTopicLocked)
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ForumTopicLocked | ForumTopicUnlocked)
    }
    cursor.execute(
        """
        UPDATE topics t SET locked = c.locked
        FROM unnest(%s::uuid[], %s::boolean[]) AS c (id, locked) WHERE t.id = c.id
        """,
        [list(last), list(last.values())],
    )


def _topics_deleted(cursor: Cursor, batch: Sequence[Recorded]) -> list[tuple[UUID, UUID]]:
    """Topic and author of each post that went with its topic."""
    deleted = [
        recorded.envelope.originator_id
        for recorded in batch
        if isinstance(recorded.envelope.fact, ForumTopicDeleted)
    ]
    if not deleted:
        return []
    cursor.execute("DELETE FROM topics WHERE id = ANY(%s::uuid[])", [deleted])
    return cursor.execute(
        "DELETE FROM posts WHERE topic = ANY(%s::uuid[]) RETURNING topic, author", [deleted]
    ).fetchall()


def _find_last_posts(cursor: Cursor, written: Pairs, gone: Pairs) -> None:
    change = Counter(topic for topic, _ in written)
    change.subtract(topic for topic, _ in gone)
    cursor.execute(
        """
        UPDATE topics t
        SET posts = t.posts + c.amount, last = p.position, last_post = p.id,
            updated_at = p.created_at
        FROM unnest(%s::uuid[], %s::bigint[]) AS c (topic, amount),
            LATERAL (
                SELECT position, id, created_at FROM posts
                WHERE topic = c.topic ORDER BY position DESC LIMIT 1
            ) p
        WHERE t.id = c.topic
        """,
        [list(change), list(change.values())],
    )


def _count_members(cursor: Cursor, written: Pairs, gone: Pairs) -> None:
    """Posts of each member; who has any is a contributor."""
    change = Counter(author for _, author in written)
    change.subtract(author for _, author in gone)
    members = sorted(change)
    before = _contributors(cursor, members)
    cursor.execute(
        """
        INSERT INTO members AS m (member, posts) SELECT * FROM unnest(%s::uuid[], %s::bigint[])
        ON CONFLICT (member) DO UPDATE SET posts = m.posts + excluded.posts
        """,
        [members, [change[member] for member in members]],
    )
    cursor.execute("DELETE FROM members WHERE member = ANY(%s::uuid[]) AND posts = 0", [members])
    _add_to_totals(cursor, {"contributors": _contributors(cursor, members) - before})


def _contributors(cursor: Cursor, members: Sequence[UUID]) -> int:
    """How many of these have a row: a number bounded by the batch."""
    row = cursor.execute(
        "SELECT count(*) FROM members WHERE member = ANY(%s::uuid[])", [list(members)]
    ).fetchone()
    return int(row[0]) if row else 0


def _count_topics(cursor: Cursor, topics: Sequence[UUID], *, sign: int) -> None:
    """Take these topics out of the counters, or put them back in, as they are now."""
    rows = cursor.execute(
        """
        SELECT category, count(*), sum(posts)::bigint FROM topics
        WHERE id = ANY(%s::uuid[]) GROUP BY category ORDER BY category
        """,
        [list(topics)],
    ).fetchall()
    for category, amount, posts in rows:
        cursor.execute(
            "UPDATE categories SET topics = topics + %s, posts = posts + %s WHERE id = %s",
            [sign * amount, sign * posts, category],
        )
    _add_to_totals(
        cursor,
        {
            "topics": sign * sum(amount for _, amount, _ in rows),
            "posts": sign * sum(posts for _, _, posts in rows),
        },
    )


def _add_to_totals(cursor: Cursor, changes: Mapping[str, int]) -> None:
    cursor.executemany(
        "UPDATE totals SET amount = amount + %s WHERE name = %s",
        [(amount, name) for name, amount in changes.items() if amount],
    )
