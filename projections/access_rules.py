"""What trackers are told beside accounts and torrents: banned networks and client lists."""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterator, Sequence

from psycopg.rows import tuple_row

from domain.address_bans import AddressBanned, AddressUnbanned
from domain.client_lists import client_prefixes
from domain.kernel import Recorded
from domain.site import SiteSettingsChanged
from projections.engine import Connection, Cursor
from tracker.wire import BannedAddress

_LISTS = ("allowedClients", "deniedClients")
"""Settings that are rules of the tracker, under the same names."""
_MAPPED = bytes(10) + b"\xff\xff"


def fold_banned_networks(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    """Bring each touched network to its last state; a lifted ban stays as such, to be told."""
    last: dict[tuple[int, bytes], tuple[int, bool, int]] = {}
    for recorded in batch:
        match recorded.envelope.fact:
            case AddressBanned(network=network, until=until):
                # Rounded up: nobody gets in before the end.
                ends = math.ceil(until.timestamp()) if until is not None else 0
                last[network_key(network)] = (ends, True, recorded.position)
            case AddressUnbanned(network=network):
                last[network_key(network)] = (0, False, recorded.position)
    if last:
        cursor.executemany(
            """
            INSERT INTO banned_networks (length, network, until, active, seq)
            VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (length, network) DO UPDATE
            SET until = excluded.until, active = excluded.active, seq = excluded.seq
            """,
            [(*key, *state) for key, state in last.items()],
        )


def network_key(text: str) -> tuple[int, bytes]:
    """Length of the prefix in 128 bits and the network's 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    network = ipaddress.ip_network(text)
    packed = network.network_address.packed
    return 128 - (network.max_prefixlen - network.prefixlen), _MAPPED[: 16 - len(packed)] + packed


def fold_rules(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    """Keep the last value of each setting that is a rule of the tracker."""
    last: dict[str, tuple[str, int]] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, SiteSettingsChanged):
            for name in _LISTS:
                value = fact.changes.get(name)
                if isinstance(value, str):
                    last[name] = (value, recorded.position)
    if last:
        cursor.executemany(
            "INSERT INTO rules (name, value, seq) VALUES (%s, %s, %s)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value, seq = excluded.seq",
            [(name, *row) for name, row in last.items()],
        )


def access_rules(conn: Connection) -> bytes:
    """The JSON object of rules that differ from a tracker's own (`tracker.rules.read_rules`)."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute("SELECT name, value FROM access_3.rules ORDER BY name").fetchall()
    return json.dumps({name: list(client_prefixes(value)) for name, value in rows}).encode("ascii")


def banned_networks(conn: Connection) -> Iterator[BannedAddress]:
    """All networks whose ban was not lifted; inside a transaction."""
    with conn.cursor("access_banned", row_factory=tuple_row) as cursor:
        cursor.execute(
            "SELECT length, network, until, active FROM access_3.banned_networks WHERE active"
        )
        for row in cursor:
            yield BannedAddress(*row)
