"""Counters of the whole site: the fold, and what the public page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from psycopg.rows import class_row, tuple_row

from domain.kernel import Recorded
from domain.moderation import (
    ModerationOpened,
    StatusFact,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    status_after,
)
from domain.torrents import TorrentUploaded, TorrentWithdrawn
from domain.users import AccountRegistered
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE counters (
    name text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO counters VALUES ('users', 0), ('torrents', 0), ('uploads', 0), ('bytes', 0);
CREATE TABLE torrents (
    id uuid PRIMARY KEY,
    size bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    withdrawn boolean NOT NULL
);
"""
# users: accounts; torrents and bytes: what the catalogue holds; uploads: all ever made.


class SiteCounters(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts, torrents in the catalogue and their bytes, uploads ever made."""

    users: int
    torrents: int
    uploads: int
    bytes: int


class SwarmTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Seeds and leeches in all swarms, and the credited upload of all members in bytes."""

    seeders: int
    leechers: int
    uploaded: int


class StatsProjection:
    """A few numbers about everything."""

    name = "stats"
    version = 2
    topics: frozenset[str] | None = frozenset(
        {
            AccountRegistered.TOPIC,
            TorrentUploaded.TOPIC,
            TorrentWithdrawn.TOPIC,
            ModerationOpened.TOPIC,
            TorrentApproved.TOPIC,
            TorrentChangesRequested.TOPIC,
            TorrentRejected.TOPIC,
            TorrentReset.TOPIC,
            TorrentResubmitted.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"counters": ("name",), "torrents": ("id",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Take the touched torrents out of the counters, change them, and put them back in."""
        facts = [recorded.envelope.fact for recorded in batch]
        users = sum(isinstance(fact, AccountRegistered) for fact in facts)
        uploads = sum(isinstance(fact, TorrentUploaded) for fact in facts)
        _add(cursor, {"users": users, "uploads": uploads})
        touched = sorted(
            {
                fact.torrent
                if isinstance(fact := recorded.envelope.fact, ModerationOpened | StatusFact)
                else recorded.envelope.originator_id
                for recorded in batch
                if not isinstance(recorded.envelope.fact, AccountRegistered)
            }
        )
        if touched:
            _count(cursor, touched, sign=-1)
            _torrents_changed(cursor, batch)
            _count(cursor, touched, sign=1)


def _torrents_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    uploaded: list[tuple[UUID, int]] = []
    statuses: dict[UUID, str] = {}
    withdrawn: list[UUID] = []
    for recorded in batch:
        match recorded.envelope.fact:
            case TorrentUploaded() as fact:
                uploaded.append((recorded.envelope.originator_id, fact.size))
            case ModerationOpened() as fact:
                statuses[fact.torrent] = fact.status
            case TorrentWithdrawn():
                withdrawn.append(recorded.envelope.originator_id)
            case fact if isinstance(fact, StatusFact):
                statuses[fact.torrent] = status_after(fact)
    if uploaded:
        cursor.execute(
            """
            INSERT INTO torrents (id, size, status, withdrawn)
            SELECT id, size, status, false
            FROM unnest(%b::uuid[], %b::bigint[], %b::text[]) AS new (id, size, status)
            """,
            [
                [torrent for torrent, _ in uploaded],
                [size for _, size in uploaded],
                [statuses.pop(torrent, "pending") for torrent, _ in uploaded],
            ],
        )
    if statuses:
        cursor.execute(
            """
            UPDATE torrents t SET status = s.status
            FROM unnest(%b::uuid[], %b::text[]) AS s (torrent, status) WHERE t.id = s.torrent
            """,
            [list(statuses), list(statuses.values())],
        )
    if withdrawn:
        cursor.execute(
            "UPDATE torrents SET withdrawn = true WHERE id = ANY(%s::uuid[])", [withdrawn]
        )


def _count(cursor: Cursor, torrents: Sequence[UUID], *, sign: int) -> None:
    row = cursor.execute(
        """
        SELECT count(*), coalesce(sum(size), 0)::bigint FROM torrents
        WHERE id = ANY(%s::uuid[]) AND status = 'accepted' AND NOT withdrawn
        """,
        [list(torrents)],
    ).fetchone()
    if row is not None:
        _add(cursor, {"torrents": sign * row[0], "bytes": sign * row[1]})


def _add(cursor: Cursor, amounts: Mapping[str, int]) -> None:
    cursor.executemany(
        "UPDATE counters SET value = value + %s WHERE name = %s",
        [(amount, name) for name, amount in amounts.items() if amount],
    )


def find_site_counters(conn: Connection) -> SiteCounters:
    """The counters of the log."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute("SELECT name, value FROM stats_2.counters LIMIT 100").fetchall()
    values = {str(name): int(value) for name, value in rows}
    return SiteCounters(
        users=values["users"],
        torrents=values["torrents"],
        uploads=values["uploads"],
        bytes=values["bytes"],
    )


def find_swarm_totals(conn: Connection) -> SwarmTotals:
    """Sums over all swarms and members; the caller keeps the answer for some seconds."""
    with conn.cursor(row_factory=class_row(SwarmTotals)) as cursor:
        row = cursor.execute(
            """
            SELECT live.seeders, live.leechers, members.uploaded
            FROM (SELECT coalesce(sum(seeders), 0)::bigint AS seeders,
                         coalesce(sum(leechers), 0)::bigint AS leechers
                  FROM accounting_1.torrent_live) live,
                 (SELECT coalesce(sum(uploaded), 0)::bigint AS uploaded
                  FROM accounting_1.member_totals) members
            """
        ).fetchone()
    return row or SwarmTotals(seeders=0, leechers=0, uploaded=0)
