"""Comments below torrents: tables, fold and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import LiteralString
from uuid import UUID

import msgspec
from psycopg.rows import class_row, tuple_row

from application.markup import clean_markup
from domain.comments import CommentDeleted, CommentPosted
from domain.kernel import Recorded
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE comments (
    id uuid PRIMARY KEY,
    torrent uuid NOT NULL,
    author uuid NOT NULL,
    created_at timestamptz NOT NULL,
    content text COLLATE "C"
);
CREATE INDEX ON comments (torrent, id);
CREATE INDEX ON comments (author, id);
CREATE TABLE torrent_comments (
    torrent uuid PRIMARY KEY,
    amount bigint NOT NULL
) WITH (fillfactor = 90);
CREATE TABLE member_comments (
    member uuid PRIMARY KEY,
    amount bigint NOT NULL
) WITH (fillfactor = 90);
"""
# A replay after an author's key was destroyed finds no words (`Private.text` is None); what was
# written is kept as it was, and only the queries below give it out, cleaned.


class CommentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A comment. `written` is what its author sent, None once its words were destroyed.

    Show `content`: the same, cleaned; ask for it when the connection was given back.
    """

    id: UUID
    torrent: UUID
    author: UUID
    author_name: str | None
    created_at: datetime
    written: str | None

    @property
    def content(self) -> str | None:
        return None if self.written is None else clean_markup(self.written)


class CommentsProjection:
    """The comments that stand, and how many each torrent has and each member wrote."""

    name = "comments"
    version = 1
    topics: frozenset[str] | None = frozenset({CommentPosted.TOPIC, CommentDeleted.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "comments": ("id",),
        "torrent_comments": ("torrent",),
        "member_comments": ("member",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Insert what was posted, then remove what was deleted; a comment comes back never."""
        torrents: Counter[UUID] = Counter()
        members: Counter[UUID] = Counter()
        deleted = {
            recorded.envelope.originator_id
            for recorded in batch
            if isinstance(recorded.envelope.fact, CommentDeleted)
        }
        posted = [
            (recorded.envelope.originator_id, fact, recorded.envelope.meta.at)
            for recorded in batch
            if isinstance(fact := recorded.envelope.fact, CommentPosted)
            and recorded.envelope.originator_id not in deleted
        ]
        _comments_posted(cursor, posted)
        torrents.update(fact.torrent for _, fact, _ in posted)
        members.update(fact.author for _, fact, _ in posted)
        gone = _comments_deleted(cursor, deleted) if deleted else []
        torrents.subtract(torrent for torrent, _ in gone)
        members.subtract(author for _, author in gone)
        _count_torrents(cursor, torrents, fewer=bool(gone))
        _count_members(cursor, members, fewer=bool(gone))


def _comments_posted(
    cursor: Cursor, posted: Sequence[tuple[UUID, CommentPosted, datetime]]
) -> None:
    if posted:
        cursor.execute(
            """
            INSERT INTO comments (id, torrent, author, created_at, content)
            SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::timestamptz[], %b::text[])
            """,
            [
                [comment for comment, _, _ in posted],
                [fact.torrent for _, fact, _ in posted],
                [fact.author for _, fact, _ in posted],
                [at for _, _, at in posted],
                [fact.content.text for _, fact, _ in posted],
            ],
        )


def _comments_deleted(cursor: Cursor, deleted: Iterable[UUID]) -> list[tuple[UUID, UUID]]:
    """Torrent and author of each comment that was there and is no longer."""
    return cursor.execute(
        "DELETE FROM comments WHERE id = ANY(%s::uuid[]) RETURNING torrent, author",
        [list(deleted)],
    ).fetchall()


def _count_torrents(cursor: Cursor, changes: Mapping[UUID, int], *, fewer: bool) -> None:
    cursor.execute(
        """
        INSERT INTO torrent_comments AS c (torrent, amount)
        SELECT * FROM unnest(%b::uuid[], %b::bigint[])
        ON CONFLICT (torrent) DO UPDATE SET amount = c.amount + excluded.amount
        """,
        _columns(changes),
    )
    if fewer:
        cursor.execute(
            "DELETE FROM torrent_comments WHERE torrent = ANY(%s::uuid[]) AND amount = 0",
            [list(changes)],
        )


def _count_members(cursor: Cursor, changes: Mapping[UUID, int], *, fewer: bool) -> None:
    cursor.execute(
        """
        INSERT INTO member_comments AS c (member, amount)
        SELECT * FROM unnest(%b::uuid[], %b::bigint[])
        ON CONFLICT (member) DO UPDATE SET amount = c.amount + excluded.amount
        """,
        _columns(changes),
    )
    if fewer:
        cursor.execute(
            "DELETE FROM member_comments WHERE member = ANY(%s::uuid[]) AND amount = 0",
            [list(changes)],
        )


def _columns(changes: Mapping[UUID, int]) -> list[list[UUID] | list[int]]:
    # In the order of the keys, so that two steps on one table can't wait for each other.
    keys = sorted(changes, key=attrgetter("int"))
    return [keys, [changes[key] for key in keys]]


_COMMENT: LiteralString = """
SELECT c.id, c.torrent, c.author, a.username AS author_name, c.created_at,
    c.content AS written
"""


def list_comments(
    conn: Connection, torrent: UUID, *, limit: int, offset: int = 0, before: UUID | None = None
) -> list[CommentRow]:
    """Comments below a torrent, newest first; with `before` those older than that comment."""
    with conn.cursor(row_factory=class_row(CommentRow)) as cursor:
        return cursor.execute(
            _COMMENT
            + """
            FROM (
                SELECT * FROM comments_1.comments
                WHERE torrent = %(torrent)s
                  AND id < coalesce(%(before)s, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                ORDER BY id DESC
                LIMIT %(limit)s OFFSET %(offset)s
            ) c
            LEFT JOIN users_1.accounts a ON a.id = c.author
            ORDER BY c.id DESC
            """,
            {"torrent": torrent, "before": before, "limit": limit, "offset": offset},
        ).fetchall()


def find_comment(conn: Connection, comment: UUID) -> CommentRow | None:
    """One comment, unless it was deleted."""
    with conn.cursor(row_factory=class_row(CommentRow)) as cursor:
        return cursor.execute(
            _COMMENT
            + """
            FROM comments_1.comments c LEFT JOIN users_1.accounts a ON a.id = c.author
            WHERE c.id = %s
            """,
            [comment],
        ).fetchone()


def count_torrent_comments(conn: Connection, torrent: UUID) -> int:
    """How many comments a torrent has."""
    return _number(
        conn, "SELECT amount FROM comments_1.torrent_comments WHERE torrent = %s", torrent
    )


def count_member_comments(conn: Connection, member: UUID) -> int:
    """How many of a member's comments stand."""
    return _number(conn, "SELECT amount FROM comments_1.member_comments WHERE member = %s", member)


def _number(conn: Connection, statement: LiteralString, of: UUID) -> int:
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement, [of]).fetchone()
    return int(row[0]) if row else 0
