"""Accounts as pages show them: tables, fold and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg.rows import class_row, scalar_row

from domain.account_bans import AccountBanned, AccountUnbanned
from domain.kernel import Recorded
from domain.torrents import TorrentUploaded, TorrentWithdrawn
from domain.users import (
    AccountInviteRefunded,
    AccountInvitesGranted,
    AccountInviteSpent,
    AccountRegistered,
)
from projections import account_roles
from projections.account_roles import fold_roles
from projections.engine import Connection, Cursor

DDL = (
    """
CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    username text COLLATE "C" NOT NULL,
    is_admin boolean NOT NULL,
    is_moderator boolean NOT NULL,
    can_upload_without_moderation boolean NOT NULL,
    can_audit boolean NOT NULL,
    starter_upload bigint NOT NULL,
    invites integer NOT NULL,
    uploads bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX ON accounts (lower(username));
CREATE TABLE bans (
    account uuid PRIMARY KEY,
    reason text,
    until timestamptz,
    by_administrator boolean NOT NULL,
    banned_at timestamptz NOT NULL,
    banned_by uuid
);
CREATE INDEX ON bans (until);
CREATE TABLE uploads (
    torrent uuid PRIMARY KEY,
    account uuid NOT NULL
);
"""
    + account_roles.DDL
)


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account. `starter_upload` is in bytes, `invites` what he may still give.

    `uploads` counts his torrents of any status that were not withdrawn.
    """

    id: UUID
    number: int
    username: str
    is_admin: bool
    is_moderator: bool
    can_upload_without_moderation: bool
    can_audit: bool
    starter_upload: int
    invites: int
    uploads: int
    created_at: datetime


class UsersProjection:
    """Accounts and the roles they hold, as they are now."""

    name = "users"
    version = 1
    topics: frozenset[str] | None = account_roles.TOPICS | frozenset(
        {
            AccountRegistered.TOPIC,
            AccountBanned.TOPIC,
            AccountUnbanned.TOPIC,
            AccountInvitesGranted.TOPIC,
            AccountInviteSpent.TOPIC,
            AccountInviteRefunded.TOPIC,
            TorrentUploaded.TOPIC,
            TorrentWithdrawn.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "accounts": ("id",),
        **account_roles.KEYS,
        "bans": ("account",),
        "uploads": ("torrent",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        _accounts_registered(cursor, batch)
        fold_roles(cursor, batch)
        _account_invites_changed(cursor, batch)
        _accounts_banned(cursor, batch)
        _torrents_uploaded(cursor, batch)
        _torrents_withdrawn(cursor, batch)


def _accounts_registered(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (
            recorded.envelope.originator_id,
            fact.number,
            fact.username,
            fact.starter_upload,
            fact.invites,
            recorded.envelope.meta.at,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, AccountRegistered)
    ]
    if rows:
        cursor.execute(
            """
            INSERT INTO accounts (id, number, username, is_admin, is_moderator,
                can_upload_without_moderation, can_audit, starter_upload, invites, uploads, created_at)
            SELECT id, number, username, false, false, false, false, starter, invites, 0, at
            FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::bigint[], %s::integer[],
                %s::timestamptz[]) AS new(id, number, username, starter, invites, at)
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def _account_invites_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    changes: Counter[UUID] = Counter()
    for recorded in batch:
        account = recorded.envelope.originator_id
        match recorded.envelope.fact:
            case AccountInvitesGranted(amount=amount):
                changes[account] += amount
            case AccountInviteSpent():
                changes[account] -= 1
            case AccountInviteRefunded():
                changes[account] += 1
    if changes:
        cursor.execute(
            """
            UPDATE accounts a SET invites = a.invites + c.change
            FROM unnest(%s::uuid[], %s::integer[]) AS c (account, change)
            WHERE a.id = c.account
            """,
            [list(changes), list(changes.values())],
        )


def _accounts_banned(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    last: dict[UUID, Recorded] = {}
    for recorded in batch:
        if isinstance(recorded.envelope.fact, AccountBanned | AccountUnbanned):
            last[recorded.envelope.originator_id] = recorded
    if not last:
        return
    cursor.execute("DELETE FROM bans WHERE account = ANY(%s::uuid[])", [list(last)])
    rows = [
        (
            account,
            fact.reason.text,
            fact.until,
            fact.by_administrator,
            recorded.envelope.meta.at,
            recorded.envelope.meta.actor,
        )
        for account, recorded in last.items()
        if isinstance(fact := recorded.envelope.fact, AccountBanned)
    ]
    if rows:
        cursor.executemany("INSERT INTO bans VALUES (%s, %s, %s, %s, %s, %s)", rows)


def _torrents_uploaded(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (recorded.envelope.originator_id, fact.uploader)
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, TorrentUploaded)
    ]
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        cursor.execute(
            "INSERT INTO uploads (torrent, account) SELECT * FROM unnest(%s::uuid[], %s::uuid[])",
            columns,
        )
        _count_uploads(cursor, columns[1], sign=1)


def _torrents_withdrawn(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    gone = [
        recorded.envelope.originator_id
        for recorded in batch
        if isinstance(recorded.envelope.fact, TorrentWithdrawn)
    ]
    if gone:
        rows = cursor.execute(
            "DELETE FROM uploads WHERE torrent = ANY(%s::uuid[]) RETURNING account", [gone]
        ).fetchall()
        _count_uploads(cursor, [row[0] for row in rows], sign=-1)


def _count_uploads(cursor: Cursor, accounts: Sequence[UUID], *, sign: int) -> None:
    cursor.execute(
        """
        UPDATE accounts a SET uploads = a.uploads + %s * n.amount
        FROM (
            SELECT account, count(*) AS amount FROM unnest(%s::uuid[]) AS account GROUP BY account
        ) AS n
        WHERE a.id = n.account
        """,
        [sign, list(accounts)],
    )


def find_account(conn: Connection, account: UUID) -> AccountRow | None:
    """One account by id."""
    with conn.cursor(row_factory=class_row(AccountRow)) as cursor:
        return cursor.execute(
            """
            SELECT id, number, username, is_admin, is_moderator, can_upload_without_moderation,
                can_audit, starter_upload, invites, uploads, created_at
            FROM users_1.accounts
            WHERE id = %s
            """,
            [account],
        ).fetchone()


def find_account_by_name(conn: Connection, username: str) -> AccountRow | None:
    """One account by name; case does not matter."""
    with conn.cursor(row_factory=class_row(AccountRow)) as cursor:
        return cursor.execute(
            """
            SELECT id, number, username, is_admin, is_moderator, can_upload_without_moderation,
                can_audit, starter_upload, invites, uploads, created_at
            FROM users_1.accounts
            WHERE lower(username) = lower(%s)
            """,
            [username],
        ).fetchone()


def list_ended_bans(conn: Connection, at: datetime, limit: int) -> list[UUID]:
    """Accounts whose ban's time is over, which nobody wrote down yet."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            "SELECT account FROM users_1.bans WHERE until <= %s ORDER BY until, account LIMIT %s",
            [at, limit],
        ).fetchall()
