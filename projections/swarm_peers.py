"""Who is in a torrent's swarm, for moderators: members from holdings, clients from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row, dict_row

from domain.credit import MAX_TOTAL, MICROSECONDS, PeerEvent
from projections.engine import Connection
from tracker import wire

PAGE: Final = 100
"""Members of a page, at most; each has a few clients."""
CLIENTS: Final = 16
"""Clients shown of one member: those that announced last."""
BACK: Final = 2 * 3600 * MICROSECONDS
"""How far before a member's last announce his other clients may have announced theirs."""
_PATIENCE: Final = "5s"
_PROTOCOLS: Final = {wire.PROTOCOL_HTTP: "http", wire.PROTOCOL_UDP: "udp"}
_GONE: Final = (int(PeerEvent.STOPPED), int(PeerEvent.EXPIRED))


class SwarmMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member in the swarm as accounting sees him.

    `account` is his number. Bytes are credited and raw; `seeding` and `leeching` count his
    clients. Times are microseconds since 1970 UTC, `completed_at` 0 for never.
    """

    account: int
    id: UUID | None
    username: str | None
    uploaded: int
    downloaded: int
    raw_uploaded: int
    raw_downloaded: int
    seed_seconds: int
    first_at: int
    last_at: int
    completed_at: int
    seeding: int
    leeching: int


class SwarmClient(msgspec.Struct, frozen=True, kw_only=True):
    """The last announce of one client. `peer_id`, `client` and `address` are hex.

    `client` is the tracker's tag of the program; `address` the keyed hash, equal within a month
    for equal addresses. Totals are what the client said, in bytes; `left` None where it did not.
    """

    account: int
    at: int
    peer_id: str
    client: str
    address: str
    port: int
    family: int
    protocol: str
    event: str
    uploaded: int
    downloaded: int
    left: int | None
    late: bool


def list_swarm_members(
    conn: Connection, torrent: int, *, after: int = 0, limit: int = PAGE
) -> list[SwarmMember]:
    """Members with a client in the swarm, by account number behind `after`."""
    return (
        conn.cursor(row_factory=class_row(SwarmMember))
        .execute(
            """
            SELECT h.account, a.id, a.username, h.uploaded, h.downloaded, h.raw_uploaded,
                   h.raw_downloaded, h.seed_seconds, h.first_at, h.last_at, h.completed_at,
                   h.seeding, h.leeching
            FROM accounting_1.holdings h LEFT JOIN users_1.accounts a ON a.number = h.account
            WHERE h.torrent = %(torrent)s AND h.account > %(after)s AND h.seeding + h.leeching > 0
            ORDER BY h.account LIMIT %(limit)s
            """,
            {"torrent": torrent, "after": after, "limit": limit},
        )
        .fetchall()
    )


def list_swarm_clients(
    conn: Connection, torrent: int, members: Sequence[SwarmMember]
) -> list[SwarmClient]:
    """The clients of these members, by account and last announce; those that left are not.

    Only the ledger's rows are searched, from two hours before the earliest last announce of
    `members`. Raises `psycopg.errors.QueryCanceled` when that takes longer than five seconds.
    """
    if not members:
        return []
    with conn.transaction():
        conn.execute("SELECT set_config('statement_timeout', %s, true)", [_PATIENCE])
        rows = (
            conn.cursor(row_factory=dict_row)
            .execute(
                """
                SELECT account, at, encode(peer, 'hex') AS peer_id, encode(tag, 'hex') AS client,
                       encode(address, 'hex') AS address, port, family, protocol, event, up, down,
                       lft, flags
                FROM (
                    SELECT last.*, row_number() OVER (
                        PARTITION BY account ORDER BY batch DESC, ord DESC
                    ) AS place
                    FROM (
                        SELECT DISTINCT ON (account, peer) *
                        FROM ledger.records
                        WHERE torrent = %(torrent)s AND account = ANY(%(accounts)s)
                        AND at >= %(since)s
                        ORDER BY account, peer, batch DESC, ord DESC
                    ) last
                    WHERE event <> ALL(%(gone)s)
                ) placed
                WHERE place <= %(clients)s
                ORDER BY account, place
                """,
                {
                    # 32 unsigned bits stand in signed columns.
                    "torrent": _signed(torrent),
                    "accounts": [_signed(member.account) for member in members],
                    "since": min(member.last_at for member in members) - BACK,
                    "gone": list(_GONE),
                    "clients": CLIENTS,
                },
            )
            .fetchall()
        )
    return [_client(row) for row in rows]


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def _client(row: dict[str, Any]) -> SwarmClient:
    try:
        event = PeerEvent(row["event"]).name.lower()
    except ValueError:
        event = "unknown"
    return SwarmClient(
        account=row["account"] % 2**32,
        at=row["at"],
        peer_id=row["peer_id"],
        client=row["client"],
        address=row["address"],
        port=row["port"],
        family=row["family"],
        protocol=_PROTOCOLS.get(row["protocol"], "unknown"),
        event=event,
        uploaded=row["up"],
        downloaded=row["down"],
        # Kept totals are cut off at `MAX_TOTAL`, and "not told" is more than any.
        left=row["lft"] if row["lft"] < MAX_TOTAL else None,
        late=bool(row["flags"] & wire.FLAG_LATE),
    )
