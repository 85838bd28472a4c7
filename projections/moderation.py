"""Moderation threads and their messages: tables, fold and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, get_args
from uuid import UUID

import msgspec
from psycopg.rows import class_row, scalar_row

from domain.kernel import Private, Recorded
from domain.moderation_events import (
    ModerationClosed,
    ModerationMessagePosted,
    ModerationOpened,
    ModeratorFact,
    StatusFact,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    author_of,
    moderator_of,
    status_after,
    system_body,
    words_of,
)
from domain.torrents import TorrentEdited
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE threads (
    torrent uuid PRIMARY KEY,
    uploader uuid NOT NULL,
    status text COLLATE "C" NOT NULL,
    bypass text COLLATE "C",
    moderator uuid,
    opened_at timestamptz NOT NULL,
    changed_at timestamptz,
    closed boolean NOT NULL,
    version bigint NOT NULL
);
CREATE TABLE messages (
    id uuid PRIMARY KEY,
    torrent uuid NOT NULL,
    position bigint NOT NULL,
    author uuid NOT NULL,
    body text COLLATE "C",
    is_system boolean NOT NULL,
    status_change text COLLATE "C",
    by_moderator boolean NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ON messages (torrent, position);
CREATE INDEX ON messages (author, created_at);
CREATE INDEX ON messages (position) WHERE by_moderator;
CREATE TABLE statuses (
    status text COLLATE "C" PRIMARY KEY,
    threads bigint NOT NULL
);
INSERT INTO statuses VALUES
    ('pending', 0), ('accepted', 0), ('changes_requested', 0), ('rejected', 0);
"""
# `body` is the words as they may be read now. A replay after a member's key was destroyed finds
# no words (`Private.text` is None); the fact that records the destruction blanks the live rows
# of that author, which the index on `author` is for. `version` is the torrent's, as uploads begin
# with 1 and each edit is one fact. `by_moderator` are the decisions about uploads;
# `statuses` counts the threads that were not closed.


class ThreadRow(msgspec.Struct, frozen=True, kw_only=True):
    """A thread: whose torrent it is about, in which `version`, and where it stands."""

    torrent: UUID
    uploader: UUID
    status: str
    moderator: UUID | None
    moderator_name: str | None
    closed: bool
    version: int


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message with its author; `body` is None once its words were destroyed."""

    id: UUID
    torrent: UUID
    author: UUID
    author_name: str | None
    author_is_admin: bool
    author_is_moderator: bool
    body: str | None
    is_system: bool
    status_change: str | None
    created_at: datetime


class ActionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A moderator's decision about an upload; `status` is where it led."""

    torrent: UUID
    info_hash: str | None
    name: str | None
    moderator: UUID
    moderator_name: str | None
    status: str
    created_at: datetime


class ModerationProjection:
    """The thread of each torrent with all that was said in it."""

    name = "moderation"
    version = 4
    topics: frozenset[str] | None = frozenset(
        {
            ModerationOpened.TOPIC,
            TorrentApproved.TOPIC,
            TorrentChangesRequested.TOPIC,
            TorrentRejected.TOPIC,
            TorrentReset.TOPIC,
            TorrentResubmitted.TOPIC,
            ModerationMessagePosted.TOPIC,
            ModerationClosed.TOPIC,
            TorrentEdited.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "threads": ("torrent",),
        "messages": ("id",),
        "statuses": ("status",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Open threads first, then set each touched one to its last state, then add messages."""
        touched = list(
            {
                fact.torrent: None
                for recorded in batch
                if isinstance(fact := recorded.envelope.fact, _MOVES)
            }
        )
        before = _statuses(cursor, touched)
        _moderation_opened(cursor, batch)
        _statuses_changed(cursor, batch)
        _moderation_closed(cursor, batch)
        _torrents_edited(cursor, batch)
        _messages_posted(cursor, batch)
        _count(cursor, before, _statuses(cursor, touched))


_MOVES: Final = (ModerationOpened, *get_args(StatusFact), ModerationClosed)
"""Facts behind which a thread may stand elsewhere."""


def _statuses(cursor: Cursor, torrents: Sequence[UUID]) -> Counter[str]:
    """How many of these threads, as far as they are not closed, stand where."""
    rows = cursor.execute(
        """
        SELECT status, count(*) FROM threads
        WHERE torrent = ANY(%s::uuid[]) AND NOT closed GROUP BY status
        """,
        [torrents],
    ).fetchall()
    return Counter(dict(rows))


def _count(cursor: Cursor, before: Counter[str], after: Counter[str]) -> None:
    changes = {status: after[status] - before[status] for status in sorted(before | after)}
    cursor.executemany(
        "UPDATE statuses SET threads = threads + %s WHERE status = %s",
        [(change, status) for status, change in changes.items() if change],
    )


def _moderation_opened(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (fact.torrent, fact.uploader, fact.status, fact.bypass, recorded.envelope.meta.at)
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ModerationOpened)
    ]
    if rows:
        cursor.execute(
            """
            INSERT INTO threads (torrent, uploader, status, bypass, opened_at, closed, version)
            SELECT *, false, 1
            FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::timestamptz[])
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def _statuses_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    last = {
        fact.torrent: (status_after(fact), moderator_of(fact), recorded.envelope.meta.at)
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, StatusFact)
    }
    if last:
        cursor.executemany(
            "UPDATE threads SET status = %s, moderator = %s, changed_at = %s WHERE torrent = %s",
            [(*state, torrent) for torrent, state in last.items()],
        )


def _moderation_closed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    closed = [
        recorded.envelope.fact.torrent
        for recorded in batch
        if isinstance(recorded.envelope.fact, ModerationClosed)
    ]
    if closed:
        cursor.execute("UPDATE threads SET closed = true WHERE torrent = ANY(%s::uuid[])", [closed])


def _torrents_edited(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    versions = {
        recorded.envelope.originator_id: recorded.envelope.originator_version
        for recorded in batch
        if isinstance(recorded.envelope.fact, TorrentEdited)
    }
    if versions:
        cursor.execute(
            """
            UPDATE threads t SET version = e.version
            FROM unnest(%s::uuid[], %s::bigint[]) AS e (torrent, version)
            WHERE t.torrent = e.torrent
            """,
            [list(versions), list(versions.values())],
        )


def _messages_posted(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [row for recorded in batch if (row := _message(recorded)) is not None]
    if rows:
        cursor.executemany(
            """
            INSERT INTO messages
                (id, torrent, position, author, body, is_system, status_change, by_moderator,
                created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            rows,
        )


def _message(recorded: Recorded) -> tuple[Any, ...] | None:
    """The message a fact leaves in the thread; a status change always leaves one."""
    fact = recorded.envelope.fact
    at = recorded.envelope.meta.at
    change: str | None = None
    if isinstance(fact, ModerationMessagePosted):
        words: Private | None = fact.message
        author = fact.author
    elif isinstance(fact, StatusFact):
        words, author, change = words_of(fact), author_of(fact), status_after(fact)
    else:
        return None
    if words is not None:
        body = _words(words)
    else:
        body = system_body(fact) if isinstance(fact, StatusFact) else None
    return (
        fact.message_id,
        fact.torrent,
        recorded.position,
        author,
        body,
        words is None,
        change,
        isinstance(fact, ModeratorFact),
        at,
    )


def _words(words: Private) -> str | None:
    # PostgreSQL text cannot hold NUL, and a fact once recorded must never stop a projection.
    return words.text.replace("\0", "\ufffd") if words.text is not None else None


def find_thread(conn: Connection, torrent: UUID) -> ThreadRow | None:
    """The moderation thread of a torrent."""
    with conn.cursor(row_factory=class_row(ThreadRow)) as cursor:
        return cursor.execute(
            """
            SELECT t.torrent, t.uploader, t.status, t.moderator, m.username AS moderator_name,
                   t.closed, t.version
            FROM moderation_4.threads t
            LEFT JOIN users_1.accounts m ON m.id = t.moderator
            WHERE t.torrent = %s
            """,
            [torrent],
        ).fetchone()


_MESSAGE = """
SELECT m.id, m.torrent, m.author, a.username AS author_name,
       coalesce(a.is_admin, false) AS author_is_admin,
       coalesce(a.is_moderator, false) AS author_is_moderator,
       m.body, m.is_system, m.status_change, m.created_at
FROM moderation_4.messages m
LEFT JOIN users_1.accounts a ON a.id = m.author
"""


def list_moderation_messages(
    conn: Connection, torrent: UUID, *, limit: int = 1000
) -> list[MessageRow]:
    """The last `limit` messages of a torrent's thread, oldest first."""
    with conn.cursor(row_factory=class_row(MessageRow)) as cursor:
        rows = cursor.execute(
            _MESSAGE + "WHERE m.torrent = %s ORDER BY m.position DESC LIMIT %s", [torrent, limit]
        ).fetchall()
    return rows[::-1]


def count_threads(conn: Connection, status: str) -> int:
    """How many uploads that were not withdrawn have this status."""
    return _number(conn, "SELECT threads FROM moderation_4.statuses WHERE status = %s", [status])


def count_actions(conn: Connection, moderator: UUID, since: datetime) -> int:
    """How many decisions about uploads a moderator made since then."""
    return _number(
        conn,
        """
        SELECT count(*) FROM moderation_4.messages
        WHERE author = %s AND created_at >= %s AND by_moderator
        """,
        [moderator, since],
    )


def list_recent_actions(conn: Connection, *, limit: int) -> list[ActionRow]:
    """The last decisions about uploads, of all moderators, the newest first."""
    with conn.cursor(row_factory=class_row(ActionRow)) as cursor:
        return cursor.execute(
            """
            SELECT m.torrent, t.info_hash, t.name, m.author AS moderator,
                a.username AS moderator_name, m.status_change AS status, m.created_at
            FROM (
                SELECT * FROM moderation_4.messages WHERE by_moderator
                ORDER BY position DESC LIMIT %s
            ) m
            LEFT JOIN torrents_4.torrents t ON t.id = m.torrent
            LEFT JOIN users_1.accounts a ON a.id = m.author
            ORDER BY m.position DESC
            """,
            [limit],
        ).fetchall()


def _number(conn: Connection, statement: LiteralString, values: Sequence[object]) -> int:
    with conn.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(statement, values).fetchone() or 0)
