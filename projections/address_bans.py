"""Banned addresses: table, fold and queries."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from domain.address_bans import AddressBanned, AddressUnbanned
from domain.kernel import Recorded
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE bans (
    ip text PRIMARY KEY,
    network cidr NOT NULL,
    reason text,
    created_at timestamptz NOT NULL,
    until timestamptz,
    automatic boolean NOT NULL,
    author uuid
);
CREATE INDEX ON bans (created_at, ip);
CREATE INDEX ON bans (network);
"""
Sort = Literal["createdAt", "ip"]
Direction = Literal["asc", "desc"]
_COLUMNS: Final[Mapping[Sort, sql.SQL]] = {
    "createdAt": sql.SQL("created_at"),
    "ip": sql.SQL("network"),
}
_DIRECTIONS: Final[Mapping[Direction, sql.SQL]] = {"asc": sql.SQL("ASC"), "desc": sql.SQL("DESC")}


class AddressBanRow(msgspec.Struct, frozen=True, kw_only=True):
    """A ban in force. `ip` may be a range; `reason` is None once its words were erased."""

    ip: str
    reason: str | None
    created_at: datetime
    until: datetime | None
    automatic: bool


class AddressBanCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many bans are in force: all, of today (UTC), of the last 7 days, by origin."""

    total: int
    today: int
    week: int
    manual: int
    automatic: int


class AddressBansProjection:
    """Which addresses and ranges are banned now."""

    name = "address_bans"
    version = 1
    topics: frozenset[str] | None = frozenset({AddressBanned.TOPIC, AddressUnbanned.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"bans": ("ip",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Bring each touched network to its last state; a changed ban keeps its beginning."""
        begun: dict[str, datetime] = {}
        last: dict[str, tuple[AddressBanned, UUID | None] | None] = {}
        gone: set[str] = set()
        for recorded in batch:
            envelope = recorded.envelope
            match envelope.fact:
                case AddressBanned(network=network) as fact:
                    begun.setdefault(network, envelope.meta.at)
                    last[network] = (fact, envelope.meta.actor)
                case AddressUnbanned(network=network):
                    begun.pop(network, None)
                    gone.add(network)
                    last[network] = None
        if gone:
            cursor.execute("DELETE FROM bans WHERE ip = ANY(%s)", [list(gone)])
        rows = [
            (ip, ip, ban[0].reason.text, begun[ip], ban[0].until, ban[0].automatic, ban[1])
            for ip, ban in last.items()
            if ban is not None
        ]
        if rows:
            cursor.executemany(
                """
                INSERT INTO bans (ip, network, reason, created_at, until, automatic, author)
                VALUES (%s, %s::cidr, %s, %s, %s, %s, %s)
                ON CONFLICT (ip) DO UPDATE SET reason = excluded.reason, until = excluded.until,
                    automatic = excluded.automatic, author = excluded.author
                """,
                rows,
            )


_IN_FORCE: Final = sql.SQL("(until IS NULL OR until > %(now)s)")
# A search for an address also finds the ranges that hold it.
_FOUND: Final = sql.SQL(
    """
    (%(text)s::text IS NULL OR strpos(lower(ip), %(text)s) > 0
        OR strpos(lower(coalesce(reason, '')), %(text)s) > 0
        OR network >>= %(address)s::inet)
    """
)


def list_banned_addresses(
    conn: Connection,
    *,
    now: datetime,
    search: str | None,
    sort: Sort,
    direction: Direction,
    limit: int,
    offset: int,
) -> list[AddressBanRow]:
    """Bans in force at `now` whose address or reason holds `search`, or that hold it."""
    statement = sql.SQL(
        "SELECT ip, reason, created_at, until, automatic FROM address_bans_1.bans"
        " WHERE {in_force} AND {found} ORDER BY {column} {direction}, ip"
        " LIMIT %(limit)s OFFSET %(offset)s"
    ).format(
        in_force=_IN_FORCE,
        found=_FOUND,
        column=_COLUMNS[sort],
        direction=_DIRECTIONS[direction],
    )
    values = {**_searched(search), "now": now, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(AddressBanRow)) as cursor:
        return cursor.execute(statement, values).fetchall()


def count_banned_addresses(conn: Connection, *, now: datetime, search: str | None) -> int:
    """How many bans `list_banned_addresses` finds in all."""
    statement = sql.SQL(
        "SELECT count(*) FROM address_bans_1.bans WHERE {in_force} AND {found}"
    ).format(in_force=_IN_FORCE, found=_FOUND)
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement, {**_searched(search), "now": now}).fetchone()
    return int(row[0]) if row else 0


def _searched(search: str | None) -> dict[str, Any]:
    text = search.strip().lower() if search else None
    try:
        address = str(ipaddress.ip_address(text)) if text else None
    except ValueError:
        address = None
    return {"text": text or None, "address": address}


def read_address_ban_counts(conn: Connection, *, now: datetime) -> AddressBanCounts:
    """Figures over all bans in force at `now`."""
    statement = sql.SQL(
        """
        SELECT count(*) AS total,
            count(*) FILTER (WHERE created_at >= %(today)s) AS today,
            count(*) FILTER (WHERE created_at >= %(week)s) AS week,
            count(*) FILTER (WHERE NOT automatic) AS manual,
            count(*) FILTER (WHERE automatic) AS automatic
        FROM address_bans_1.bans WHERE {in_force}
        """
    ).format(in_force=_IN_FORCE)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    values = {"now": now, "today": today, "week": now - timedelta(days=7)}
    with conn.cursor(row_factory=class_row(AddressBanCounts)) as cursor:
        row = cursor.execute(statement, values).fetchone()
    return row or AddressBanCounts(total=0, today=0, week=0, manual=0, automatic=0)


def find_address_ban(conn: Connection, ip: str) -> AddressBanRow | None:
    """The ban of exactly this address or range, in its one spelling."""
    with conn.cursor(row_factory=class_row(AddressBanRow)) as cursor:
        return cursor.execute(
            "SELECT ip, reason, created_at, until, automatic FROM address_bans_1.bans"
            " WHERE ip = %s",
            [ip],
        ).fetchone()


def address_bans_position(conn: Connection) -> int:
    """The log position of this read model: while it stays, the bans do."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute("SELECT last FROM address_bans_1.position").fetchone()
    return int(row[0]) if row else 0


def all_banned_networks(conn: Connection) -> list[tuple[str, datetime | None]]:
    """Every banned network with its end, in CIDR form or as an address."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return [
            (row[0], row[1])
            for row in cursor.execute("SELECT ip, until FROM address_bans_1.bans").fetchall()
        ]
