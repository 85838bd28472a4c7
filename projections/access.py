"""What a tracker may let in: accounts and torrents in the shape the access feed carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
from psycopg.rows import tuple_row

from domain.account_bans import AccountBanned, AccountUnbanned
from domain.address_bans import AddressBanned, AddressUnbanned
from domain.kernel import Recorded
from domain.moderation import (
    ModerationOpened,
    ModerationStatus,
    StatusFact,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    status_after,
)
from domain.passkeys import FIRST_EPOCH, AccountAnnounceKeyRotated
from domain.site import SiteSettingsChanged
from domain.torrents import TorrentUploaded, TorrentWithdrawn
from domain.users import AccountRegistered
from projections.access_rules import access_rules, fold_banned_networks, fold_rules
from projections.engine import Connection, Cursor
from tracker.wire import (
    ACCOUNT_MAY_ANNOUNCE,
    ACCOUNT_MAY_DOWNLOAD,
    NO_HASH,
    TORRENT_ACCEPTED,
    TORRENT_CLOSED,
    TORRENT_PENDING,
    AccountEntry,
    BannedAddress,
    TorrentEntry,
)

_ROWS_A_FETCH: Final = 4_096
HISTORY_UNBEGUN = "access_3:empty"

DDL = """
CREATE TABLE accounts (
    number bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    kid integer NOT NULL,
    flags integer NOT NULL,
    epoch_announce bigint NOT NULL,
    epoch_torznab bigint NOT NULL,
    epoch_feed bigint NOT NULL,
    epoch_api bigint NOT NULL,
    seq bigint NOT NULL
);
CREATE INDEX ON accounts (seq);
CREATE TABLE torrents (
    number bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    uploader bigint NOT NULL,
    canonical bytea NOT NULL,
    alias bytea NOT NULL,
    state smallint NOT NULL,
    withdrawn boolean NOT NULL,
    seq bigint NOT NULL
);
CREATE INDEX ON torrents (seq);
CREATE TABLE banned_networks (
    length smallint NOT NULL,
    network bytea NOT NULL,
    until bigint NOT NULL,
    active boolean NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (length, network)
);
CREATE INDEX ON banned_networks (seq);
CREATE TABLE rules (
    name text PRIMARY KEY,
    value text NOT NULL,
    seq bigint NOT NULL
);
"""
# `seq`, the change sequence, is the log position of the last fact about a row. So it never goes
# back when the tables are rebuilt, and needs no counter of its own.

STATES: Mapping[ModerationStatus, int] = {
    "accepted": TORRENT_ACCEPTED,
    "pending": TORRENT_PENDING,
    "changes_requested": TORRENT_PENDING,
    "rejected": TORRENT_CLOSED,
}


Entry: TypeAlias = AccountEntry | TorrentEntry | BannedAddress | bytes
"""Bytes are the rules, as `access_rules` writes them."""


class Change(msgspec.Struct, frozen=True):
    """An entry and the sequence of its last change."""

    seq: int
    entry: Entry


class PasskeyState(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's passkeys are made from: key id, and one epoch per kind of key."""

    number: int
    kid: int
    epoch_announce: int


class AccessProjection:
    """Who may announce, and what."""

    name = "access"
    version = 3
    topics: frozenset[str] | None = frozenset(
        {
            AccountRegistered.TOPIC,
            AccountBanned.TOPIC,
            AccountUnbanned.TOPIC,
            AccountAnnounceKeyRotated.TOPIC,
            TorrentUploaded.TOPIC,
            TorrentWithdrawn.TOPIC,
            ModerationOpened.TOPIC,
            TorrentApproved.TOPIC,
            TorrentChangesRequested.TOPIC,
            TorrentRejected.TOPIC,
            TorrentReset.TOPIC,
            TorrentResubmitted.TOPIC,
            AddressBanned.TOPIC,
            AddressUnbanned.TOPIC,
            SiteSettingsChanged.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "accounts": ("number",),
        "torrents": ("number",),
        "banned_networks": ("length", "network"),
        "rules": ("name",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Insert what is new, then bring each touched torrent to its last state."""
        _accounts_registered(cursor, batch)
        _accounts_banned(cursor, batch)
        _announce_keys_rotated(cursor, batch)
        _torrents_uploaded(cursor, batch)
        _torrents_withdrawn(cursor, batch)
        _states_changed(cursor, batch)
        fold_banned_networks(cursor, batch)
        fold_rules(cursor, batch)


def _accounts_registered(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (
            fact.number,
            recorded.envelope.originator_id,
            fact.kid,
            ACCOUNT_MAY_ANNOUNCE | ACCOUNT_MAY_DOWNLOAD,
            *[FIRST_EPOCH] * 4,
            recorded.position,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, AccountRegistered)
    ]
    if rows:
        cursor.execute(
            """
            INSERT INTO accounts (number, id, kid, flags, epoch_announce, epoch_torznab,
                epoch_feed, epoch_api, seq)
            SELECT * FROM unnest(%b::bigint[], %b::uuid[], %b::integer[], %b::integer[],
                %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def _accounts_banned(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (
            0 if isinstance(recorded.envelope.fact, AccountBanned) else ACCOUNT_MAY_ANNOUNCE,
            recorded.position,
            recorded.envelope.originator_id,
        )
        for recorded in batch
        if isinstance(recorded.envelope.fact, AccountBanned | AccountUnbanned)
    ]
    if rows:
        cursor.executemany(
            f"UPDATE accounts SET flags = flags & ~{ACCOUNT_MAY_ANNOUNCE} | %s, seq = %s"
            " WHERE id = %s",
            rows,
        )


def _announce_keys_rotated(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (fact.epoch, recorded.position, recorded.envelope.originator_id)
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, AccountAnnounceKeyRotated)
    ]
    if rows:
        cursor.executemany(
            "UPDATE accounts SET epoch_announce = %s, seq = greatest(seq, %s) WHERE id = %s", rows
        )


def _torrents_uploaded(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (
            fact.number,
            recorded.envelope.originator_id,
            fact.uploader_number,
            bytes.fromhex(fact.info_hash),
            _alias(fact),
            TORRENT_PENDING,
            recorded.position,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, TorrentUploaded)
    ]
    if rows:
        cursor.execute(
            """
            INSERT INTO torrents (number, id, uploader, canonical, alias, state, withdrawn, seq)
            SELECT number, id, uploader, canonical, alias, state, false, seq
            FROM unnest(%b::bigint[], %b::uuid[], %b::bigint[], %b::bytea[], %b::bytea[],
                %b::smallint[], %b::bigint[])
                AS new (number, id, uploader, canonical, alias, state, seq)
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def _alias(fact: TorrentUploaded) -> bytes:
    """The other hash a hybrid torrent is announced under (BEP 52)."""
    if fact.info_hash_v2 is None or fact.info_hash_v2[:40] == fact.info_hash:
        return NO_HASH
    return bytes.fromhex(fact.info_hash_v2[:40])


def _torrents_withdrawn(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (TORRENT_CLOSED, recorded.position, recorded.envelope.originator_id)
        for recorded in batch
        if isinstance(recorded.envelope.fact, TorrentWithdrawn)
    ]
    if rows:
        cursor.executemany(
            "UPDATE torrents SET withdrawn = true, state = %s, seq = %s WHERE id = %s", rows
        )


def _states_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    last: dict[UUID, tuple[int, int]] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, ModerationOpened):
            last[fact.torrent] = (STATES[fact.status], recorded.position)
        elif isinstance(fact, StatusFact):
            last[fact.torrent] = (STATES[status_after(fact)], recorded.position)
    if last:
        cursor.execute(
            """
            UPDATE torrents t
            SET state = CASE WHEN t.withdrawn THEN t.state ELSE s.state END,
                seq = greatest(t.seq, s.seq)
            FROM unnest(%b::uuid[], %b::smallint[], %b::bigint[]) AS s (torrent, state, seq)
            WHERE t.id = s.torrent
            """,
            [list(last), *(list(column) for column in zip(*last.values(), strict=True))],
        )


_ACCOUNT_COLUMNS = "number, kid, flags, epoch_announce, epoch_torznab, epoch_feed, epoch_api"


def access_source(conn: Connection) -> str:
    """A word for the history these tables come from: another database has another."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(
            "SELECT 'access_3:' || id FROM access_3.accounts ORDER BY number LIMIT 1"
        ).fetchone()
    return str(row[0]) if row else HISTORY_UNBEGUN


def access_head(conn: Connection) -> int:
    """The sequence of the newest change, 0 when there is none."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(
            "SELECT coalesce(greatest((SELECT max(seq) FROM access_3.accounts),"
            " (SELECT max(seq) FROM access_3.torrents),"
            " (SELECT max(seq) FROM access_3.banned_networks),"
            " (SELECT max(seq) FROM access_3.rules)), 0)"
        ).fetchone()
    return int(row[0]) if row else 0


def access_changes(conn: Connection, *, after: int, limit: int) -> list[Change]:
    """Entries changed after that sequence, in its order: each as it is now, once.

    One statement, so that all kinds are of one instant. The rules are one entry, of the
    sequence of the last one that changed.
    """
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(
            f"""
            (SELECT 'a', seq, {_ACCOUNT_COLUMNS}, NULL::bytea, NULL::bytea, NULL::smallint
             FROM access_3.accounts WHERE seq > %(after)s ORDER BY seq LIMIT %(limit)s)
            UNION ALL
            (SELECT 't', seq, number, uploader, NULL, NULL, NULL, NULL, NULL, canonical, alias,
                state
             FROM access_3.torrents WHERE seq > %(after)s ORDER BY seq LIMIT %(limit)s)
            UNION ALL
            (SELECT 'b', seq, until, length, active::integer, NULL, NULL, NULL, NULL, network,
                NULL, NULL
             FROM access_3.banned_networks WHERE seq > %(after)s ORDER BY seq LIMIT %(limit)s)
            UNION ALL
            (SELECT 'r', max(seq), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
             FROM access_3.rules HAVING max(seq) > %(after)s)
            ORDER BY 2 LIMIT %(limit)s
            """,
            {"after": after, "limit": limit},
        ).fetchall()
    return [Change(row[1], _entry(conn, row[0], row[2:])) for row in rows]


def _entry(conn: Connection, kind: str, row: tuple[Any, ...]) -> Entry:
    match kind:
        case "a":
            return AccountEntry(*row[:7])
        case "t":
            return TorrentEntry(row[0], row[1], row[7], row[8], row[9])
        case "b":
            return BannedAddress(row[1], row[7], row[0], bool(row[2]))
        case _:
            return access_rules(conn)


def account_entries(conn: Connection) -> Iterator[AccountEntry]:
    """All accounts by number, read in portions; inside a transaction."""
    with conn.cursor("access_accounts", row_factory=tuple_row) as cursor:
        cursor.itersize = _ROWS_A_FETCH
        cursor.execute(f"SELECT {_ACCOUNT_COLUMNS} FROM access_3.accounts ORDER BY number")
        for row in cursor:
            yield AccountEntry(*row)


def torrent_entries(conn: Connection) -> Iterator[TorrentEntry]:
    """All torrents by number, read in portions; inside a transaction."""
    with conn.cursor("access_torrents", row_factory=tuple_row) as cursor:
        cursor.itersize = _ROWS_A_FETCH
        cursor.execute(
            "SELECT number, uploader, canonical, alias, state FROM access_3.torrents"
            " ORDER BY number"
        )
        for row in cursor:
            yield TorrentEntry(*row)


def find_passkey_state(conn: Connection, account: UUID) -> PasskeyState | None:
    """What the passkeys of this account are made from."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(
            "SELECT number, kid, epoch_announce FROM access_3.accounts WHERE id = %s", [account]
        ).fetchone()
    return PasskeyState(number=row[0], kid=row[1], epoch_announce=row[2]) if row else None
