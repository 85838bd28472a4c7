"""Notices, as an inbox will show them: tables, fold and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.account_bans import AccountBanned
from domain.kernel import Fact, Recorded
from domain.moderation_events import (
    ModerationMessagePosted,
    ModerationOpened,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
)
from domain.notices import NoticeRaised
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE notices (
    position bigint PRIMARY KEY,
    recipient uuid,
    kind text COLLATE "C" NOT NULL,
    subject_kind text COLLATE "C" NOT NULL,
    subject uuid NOT NULL,
    by uuid,
    raised_at timestamptz NOT NULL
);
CREATE INDEX ON notices (recipient, position) WHERE recipient IS NOT NULL;
CREATE INDEX ON notices (position) WHERE recipient IS NULL;
CREATE INDEX ON notices (subject, recipient, position);
CREATE TABLE uploaders (
    torrent uuid PRIMARY KEY,
    uploader uuid NOT NULL
);
"""
# `recipient` NULL is all staff. Decisions about uploads and bans name whom they concern, so they
# are notices as they stand; what needs a recipient of its own is a `notice.raised.1`.

_DECISIONS: Final[Mapping[type[Fact], str]] = {
    TorrentApproved: "upload_accepted",
    TorrentChangesRequested: "upload_changes_requested",
    TorrentRejected: "upload_rejected",
    TorrentReset: "upload_reset",
}
"""Kinds of the reference's inbox."""


class NoticeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A notice; `recipient` None is all staff but `by`, whose doing it tells of."""

    position: int
    recipient: UUID | None
    kind: str
    subject_kind: str
    subject: UUID
    by: UUID | None
    by_name: str | None
    raised_at: datetime


class NoticesProjection:
    """Who is to be told of what."""

    name = "notices"
    version = 2
    topics: frozenset[str] | None = frozenset(
        {
            NoticeRaised.TOPIC,
            AccountBanned.TOPIC,
            ModerationOpened.TOPIC,
            ModerationMessagePosted.TOPIC,
            TorrentApproved.TOPIC,
            TorrentChangesRequested.TOPIC,
            TorrentRejected.TOPIC,
            TorrentReset.TOPIC,
            TorrentResubmitted.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"notices": ("position",), "uploaders": ("torrent",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        _moderation_opened(cursor, batch)
        uploaders = _uploaders_of(cursor, batch)
        rows = [row for recorded in batch if (row := _notice(recorded, uploaders)) is not None]
        if rows:
            cursor.executemany(
                """
                INSERT INTO notices (recipient, kind, subject_kind, subject, by, position, raised_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s)
                """,
                rows,
            )


def _moderation_opened(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    opened = [
        recorded.envelope.fact
        for recorded in batch
        if isinstance(recorded.envelope.fact, ModerationOpened)
    ]
    if opened:
        cursor.execute(
            "INSERT INTO uploaders SELECT * FROM unnest(%s::uuid[], %s::uuid[])",
            [[fact.torrent for fact in opened], [fact.uploader for fact in opened]],
        )


def _uploaders_of(cursor: Cursor, batch: Sequence[Recorded]) -> Mapping[UUID, UUID]:
    """Uploaders of the torrents that are written about."""
    torrents = [
        recorded.envelope.fact.torrent
        for recorded in batch
        if isinstance(recorded.envelope.fact, ModerationMessagePosted)
    ]
    if not torrents:
        return {}
    rows = cursor.execute(
        "SELECT torrent, uploader FROM uploaders WHERE torrent = ANY(%s::uuid[])", [torrents]
    ).fetchall()
    return dict(rows)


def _notice(recorded: Recorded, uploaders: Mapping[UUID, UUID]) -> tuple[object, ...] | None:
    """The notice a fact is, None where it would tell somebody of his own doing."""
    envelope = recorded.envelope
    fact, by = envelope.fact, envelope.meta.actor
    recipient: UUID | None
    kind: str
    subject_kind: str
    match fact:
        case NoticeRaised():
            recipient, kind, by = fact.recipient, fact.kind, fact.by
            subject_kind, subject = fact.subject_kind, fact.subject
        case AccountBanned():
            recipient, kind = envelope.originator_id, "account_banned"
            subject_kind, subject = "account", envelope.originator_id
        case TorrentResubmitted(previous="pending"):
            # Moderators were told when it came into the queue.
            return None
        case ModerationOpened(status="pending") | TorrentResubmitted():
            recipient, kind, by = None, "new_pending_upload", fact.uploader
            subject_kind, subject = "torrent", fact.torrent
        case ModerationMessagePosted(torrent=torrent, author=author):
            uploader = uploaders[torrent]
            recipient = None if author == uploader else uploader
            kind, by = "moderation_message_received", author
            subject_kind, subject = "torrent", torrent
        case _ if type(fact) in _DECISIONS:
            recipient, kind, by = fact.uploader, _DECISIONS[type(fact)], fact.moderator
            subject_kind, subject = "torrent", fact.torrent
        case _:
            return None
    if recipient is not None and recipient == by:
        return None
    return recipient, kind, subject_kind, subject, by, recorded.position, envelope.meta.at


_COLUMNS = """
    SELECT n.position, n.recipient, n.kind, n.subject_kind, n.subject, n.by,
        a.username AS by_name, n.raised_at
    FROM notices_2.notices n LEFT JOIN users_1.accounts a ON a.id = n.by
"""


_PAGE = """
    (SELECT position FROM notices_2.notices
    WHERE {whose} AND (%(before)s::bigint IS NULL OR position < %(before)s)
    ORDER BY position DESC LIMIT %(limit)s)
"""


def list_notices(
    conn: Connection, account: UUID, *, is_staff: bool, limit: int, before: int | None = None
) -> list[NoticeRow]:
    """What a member is told, the newest first; to staff also what all staff is told.

    Walk on with `before` = the last position.
    """
    arms = [_PAGE.format(whose="recipient = %(account)s")]
    if is_staff:
        everybody = "recipient IS NULL AND by IS DISTINCT FROM %(account)s"
        arms.append(_PAGE.format(whose=everybody))
    statement = (
        f"{_COLUMNS} WHERE n.position IN ({' UNION ALL '.join(arms)})"
        " ORDER BY n.position DESC LIMIT %(limit)s"
    )
    values = {"account": account, "before": before, "limit": limit}
    with conn.cursor(row_factory=class_row(NoticeRow)) as cursor:
        return cursor.execute(statement.encode(), values).fetchall()


def notices_about(
    conn: Connection, subjects: Sequence[UUID], recipient: UUID
) -> Mapping[UUID, NoticeRow]:
    """The newest notice that a member has of each subject."""
    with conn.cursor(row_factory=class_row(NoticeRow)) as cursor:
        rows = cursor.execute(
            _COLUMNS
            + " WHERE n.subject = ANY(%s::uuid[]) AND n.recipient = %s ORDER BY n.position",
            [list(subjects), recipient],
        ).fetchall()
    return {row.subject: row for row in rows}
