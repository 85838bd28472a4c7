"""What pages show of the forum: lists walk an index, counts come from the fold's rows.

Of what members wrote rows show mark-up cleaned (`application.markup`), or the plain words of an
excerpt. That is done where it is asked for, so that nobody cleans while he keeps a connection.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
from psycopg.rows import class_row, tuple_row

from application.markup import clean_markup, excerpt
from projections.engine import Connection

EXCERPT_LENGTH: Final = 200
"""Characters of a post that lists show (behaviour of the reference)."""
_EXCERPT_SOURCE: Final = 4000
"""Characters of a post that are looked at for its excerpt."""
LAST_POSITION: Final = 2**63 - 1


class ForumCategoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A category with its newest topic and its last post, None where it has none."""

    id: UUID
    name: str
    description: str | None
    icon: str | None
    color: str | None
    place: int
    created_at: datetime
    topics: int
    posts: int
    newest: UUID | None
    newest_title: str | None
    newest_at: datetime | None
    newest_author: UUID | None
    newest_author_name: str | None
    last_post: UUID | None
    last_topic: UUID | None
    last_title: str | None
    last_at: datetime | None
    last_author: UUID | None
    last_author_name: str | None


class ForumTopicRow(msgspec.Struct, frozen=True, kw_only=True):
    """A topic. `excerpt` is plain text of its first post, whose beginning is `first_written`.

    `last` orders topics of a category. Texts are None once their words were destroyed.
    """

    id: UUID
    category: UUID
    category_name: str | None
    author: UUID
    author_name: str | None
    author_is_admin: bool
    author_is_moderator: bool
    title: str | None
    first_post: UUID
    created_at: datetime
    pinned: bool
    locked: bool
    posts: int
    last: int
    last_post: UUID
    updated_at: datetime
    last_author: UUID | None
    last_author_name: str | None
    first_written: str | None

    @property
    def excerpt(self) -> str | None:
        return _excerpt_of(self.first_written)


class ForumPostRow(msgspec.Struct, frozen=True, kw_only=True):
    """A post. `content` is what was `written`, cleaned; None once its words were destroyed."""

    id: UUID
    topic: UUID
    position: int
    author: UUID
    author_name: str | None
    author_is_admin: bool
    author_is_moderator: bool
    created_at: datetime
    written: str | None
    revision: int
    edited_at: datetime | None
    editor: UUID | None
    editor_name: str | None

    @property
    def content(self) -> str | None:
        return None if self.written is None else clean_markup(self.written)


class LatestPostRow(msgspec.Struct, frozen=True, kw_only=True):
    """A post as the forum's statistics show it; `excerpt` is plain text, made of `written`."""

    id: UUID
    topic: UUID
    topic_title: str | None
    category: UUID
    author: UUID
    author_name: str | None
    created_at: datetime
    written: str | None

    @property
    def excerpt(self) -> str | None:
        return _excerpt_of(self.written)


class ForumTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are of each; contributors are members with a post that stands."""

    categories: int
    topics: int
    posts: int
    contributors: int


_CATEGORY: LiteralString = """
SELECT c.id, c.name, c.description, c.icon, c.color, c.place, c.created_at, c.topics, c.posts,
    n.id AS newest, n.title AS newest_title, n.created_at AS newest_at,
    n.author AS newest_author, na.username AS newest_author_name,
    l.last_post, l.id AS last_topic, l.title AS last_title, l.updated_at AS last_at,
    lp.author AS last_author, la.username AS last_author_name
FROM forum_2.categories c
LEFT JOIN LATERAL (
    SELECT * FROM forum_2.topics t WHERE t.category = c.id ORDER BY t.started DESC LIMIT 1
) n ON true
LEFT JOIN LATERAL (
    SELECT * FROM forum_2.topics t WHERE t.category = c.id ORDER BY t.last DESC LIMIT 1
) l ON true
LEFT JOIN forum_2.posts lp ON lp.id = l.last_post
LEFT JOIN users_1.accounts na ON na.id = n.author
LEFT JOIN users_1.accounts la ON la.id = lp.author
"""


def list_forum_categories(conn: Connection) -> list[ForumCategoryRow]:
    """All categories in their order."""
    with conn.cursor(row_factory=class_row(ForumCategoryRow)) as cursor:
        return cursor.execute(
            _CATEGORY + "ORDER BY c.place, c.created_at, c.id LIMIT 1000"
        ).fetchall()


def find_forum_category(conn: Connection, category: UUID) -> ForumCategoryRow | None:
    """One category, unless it was removed."""
    with conn.cursor(row_factory=class_row(ForumCategoryRow)) as cursor:
        return cursor.execute(_CATEGORY + "WHERE c.id = %s", [category]).fetchone()


_TOPIC: LiteralString = """
SELECT t.id, t.category, c.name AS category_name, t.author, a.username AS author_name,
    coalesce(a.is_admin, false) AS author_is_admin,
    coalesce(a.is_moderator, false) AS author_is_moderator,
    t.title, t.first_post, t.created_at, t.pinned, t.locked, t.posts, t.last, t.last_post,
    t.updated_at, lp.author AS last_author, la.username AS last_author_name,
    left(fp.content, %(source)s) AS first_written
"""
_TOPIC_JOINS: LiteralString = """
LEFT JOIN forum_2.categories c ON c.id = t.category
LEFT JOIN forum_2.posts fp ON fp.id = t.first_post
LEFT JOIN forum_2.posts lp ON lp.id = t.last_post
LEFT JOIN users_1.accounts a ON a.id = t.author
LEFT JOIN users_1.accounts la ON la.id = lp.author
"""


def list_forum_topics(
    conn: Connection,
    category: UUID,
    *,
    limit: int,
    offset: int = 0,
    after: tuple[bool, int] | None = None,
) -> list[ForumTopicRow]:
    """Topics of a category: pinned ones first, each part by its last post.

    `after` is (pinned, last) of the topic before the page.
    """
    pinned, last = after or (True, LAST_POSITION)
    values: dict[str, Any] = {
        "category": category,
        "pinned": pinned,
        "last": last,
        "limit": limit,
        "offset": offset,
        "source": _EXCERPT_SOURCE,
    }
    with conn.cursor(row_factory=class_row(ForumTopicRow)) as cursor:
        return cursor.execute(
            _TOPIC
            + """
            FROM (
                SELECT * FROM forum_2.topics
                WHERE category = %(category)s AND (pinned, last) < (%(pinned)s, %(last)s)
                ORDER BY pinned DESC, last DESC
                LIMIT %(limit)s OFFSET %(offset)s
            ) t
            """
            + _TOPIC_JOINS
            + "ORDER BY t.pinned DESC, t.last DESC",
            values,
        ).fetchall()


def find_forum_topic(conn: Connection, topic: UUID) -> ForumTopicRow | None:
    """One topic, unless it was deleted."""
    with conn.cursor(row_factory=class_row(ForumTopicRow)) as cursor:
        return cursor.execute(
            _TOPIC + "FROM forum_2.topics t" + _TOPIC_JOINS + "WHERE t.id = %(topic)s",
            {"topic": topic, "source": _EXCERPT_SOURCE},
        ).fetchone()


_POST: LiteralString = """
SELECT p.id, p.topic, p.position, p.author, a.username AS author_name,
    coalesce(a.is_admin, false) AS author_is_admin,
    coalesce(a.is_moderator, false) AS author_is_moderator,
    p.created_at, p.content AS written, p.revision, p.edited_at, p.editor, e.username AS editor_name
"""
_POST_JOINS: LiteralString = """
LEFT JOIN users_1.accounts a ON a.id = p.author
LEFT JOIN users_1.accounts e ON e.id = p.editor
"""


def list_forum_posts(
    conn: Connection, topic: UUID, *, limit: int, offset: int = 0, after: int = 0
) -> list[ForumPostRow]:
    """Posts of a topic, oldest first; `after` is the position of the post before the page."""
    values: dict[str, Any] = {"topic": topic, "after": after, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(ForumPostRow)) as cursor:
        return cursor.execute(
            _POST
            + """
            FROM (
                SELECT * FROM forum_2.posts
                WHERE topic = %(topic)s AND position > %(after)s
                ORDER BY position
                LIMIT %(limit)s OFFSET %(offset)s
            ) p
            """
            + _POST_JOINS
            + "ORDER BY p.position",
            values,
        ).fetchall()


def find_forum_post(conn: Connection, post: UUID) -> ForumPostRow | None:
    """One post, unless it was deleted, by itself or with its topic."""
    with conn.cursor(row_factory=class_row(ForumPostRow)) as cursor:
        return cursor.execute(
            _POST + "FROM forum_2.posts p" + _POST_JOINS + "WHERE p.id = %s", [post]
        ).fetchone()


def list_latest_posts(conn: Connection, *, limit: int = 5) -> list[LatestPostRow]:
    """The last posts of the whole forum, newest first."""
    with conn.cursor(row_factory=class_row(LatestPostRow)) as cursor:
        return cursor.execute(
            """
            SELECT p.id, p.topic, t.title AS topic_title, t.category, p.author,
                a.username AS author_name, p.created_at, left(p.content, %(source)s) AS written
            FROM (SELECT * FROM forum_2.posts ORDER BY position + 0 DESC LIMIT %(limit)s) p
            JOIN forum_2.topics t ON t.id = p.topic
            LEFT JOIN users_1.accounts a ON a.id = p.author
            ORDER BY p.position DESC
            """,
            {"limit": limit, "source": _EXCERPT_SOURCE},
        ).fetchall()


def read_forum_totals(conn: Connection) -> ForumTotals:
    """How many categories, topics, posts and contributors there are."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute("SELECT name, amount FROM forum_2.totals").fetchall()
    return msgspec.convert(dict(rows), ForumTotals)


def _excerpt_of(content: str | None) -> str | None:
    return None if content is None else excerpt(content, EXCERPT_LENGTH)
