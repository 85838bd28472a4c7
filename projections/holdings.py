"""Queries over accounting: totals of members and torrents, what a member holds, who snatched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from psycopg.rows import class_row

from projections.engine import Connection

LIMIT: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class MemberTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes credited and raw, seconds of seeding, completed downloads of one account number."""

    account: int
    uploaded: int = 0
    downloaded: int = 0
    raw_uploaded: int = 0
    raw_downloaded: int = 0
    seed_seconds: int = 0
    snatches: int = 0


class TorrentTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The same sums for one torrent number, and its swarm at present."""

    torrent: int
    uploaded: int = 0
    downloaded: int = 0
    raw_uploaded: int = 0
    raw_downloaded: int = 0
    seed_seconds: int = 0
    snatches: int = 0
    seeders: int = 0
    leechers: int = 0


class HoldingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One member's record with one torrent; `seeding` and `leeching` count clients at present.

    Times are microseconds since 1970 UTC, `completed_at` 0 for never; `bytes_left` is as last
    told, 2^62 where the client did not say.
    """

    account: int
    torrent: int
    uploaded: int
    downloaded: int
    raw_uploaded: int
    raw_downloaded: int
    seed_seconds: int
    snatches: int
    first_at: int
    last_at: int
    completed_at: int
    bytes_left: int
    seeding: int
    leeching: int


class FlagRow(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes withheld and their evidence: ledger batch and ordinal."""

    batch: int
    ord: int
    kind: str
    at: int
    account: int
    torrent: int
    uploaded: int
    downloaded: int


def moment(microseconds: int) -> datetime | None:
    """A stored time as a date and time in UTC; None for never."""
    return _EPOCH + timedelta(microseconds=microseconds) if microseconds else None


def find_member_totals(conn: Connection, account: int) -> MemberTotals:
    """What a member moved, by account number; zeros for one who never announced."""
    row = (
        conn.cursor(row_factory=class_row(MemberTotals))
        .execute("SELECT * FROM accounting_1.member_totals WHERE account = %s", [account])
        .fetchone()
    )
    return row or MemberTotals(account=account)


def find_torrent_totals(conn: Connection, torrents: Sequence[int]) -> dict[int, TorrentTotals]:
    """Totals and live counts by torrent number; zeros for those never announced."""
    cursor = conn.cursor(row_factory=class_row(TorrentTotals))
    rows = cursor.execute(
        "SELECT c.*, coalesce(l.seeders, 0) AS seeders, coalesce(l.leechers, 0) AS leechers"
        " FROM accounting_1.torrent_totals c"
        " LEFT JOIN accounting_1.torrent_live l ON l.torrent = c.torrent"
        " WHERE c.torrent = ANY(%s::bigint[])",
        [list(torrents)],
    ).fetchall()
    return {number: TorrentTotals(torrent=number) for number in torrents} | {
        row.torrent: row for row in rows
    }


def list_holdings(
    conn: Connection, account: int, *, active: bool = False, after: int = 0, limit: int = LIMIT
) -> list[HoldingRow]:
    """What a member holds, by torrent number behind `after`; `active` only what is in a client."""
    cursor = conn.cursor(row_factory=class_row(HoldingRow))
    return cursor.execute(
        "SELECT * FROM accounting_1.holdings"
        " WHERE account = %(account)s AND torrent > %(after)s"
        " AND (NOT %(active)s OR seeding + leeching > 0)"
        " ORDER BY torrent LIMIT %(limit)s",
        {"account": account, "after": after, "active": active, "limit": limit},
    ).fetchall()


def list_snatches(
    conn: Connection, torrent: int, *, after: int = 0, limit: int = LIMIT
) -> list[HoldingRow]:
    """Who completed a torrent, by account number behind `after`."""
    cursor = conn.cursor(row_factory=class_row(HoldingRow))
    return cursor.execute(
        "SELECT * FROM accounting_1.holdings"
        " WHERE torrent = %s AND account > %s AND completed_at > 0 ORDER BY account LIMIT %s",
        [torrent, after, limit],
    ).fetchall()


def list_flags(conn: Connection, account: int, *, limit: int = LIMIT) -> list[FlagRow]:
    """A member's withheld bytes, newest first."""
    cursor = conn.cursor(row_factory=class_row(FlagRow))
    return cursor.execute(
        "SELECT * FROM accounting_1.flags WHERE account = %s ORDER BY batch DESC, ord DESC LIMIT %s",
        [account, limit],
    ).fetchall()
