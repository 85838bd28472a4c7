"""Looking up announces: the same pages from rows, from blocks, and from both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from application.store.sealing import Sealer
from projections.ledger_days import compact_day
from projections.ledger_lookup import Announce, Owner, Place, list_announces
from projections.peer_records import Records
from tests.projections.ledger_kit import DAY, MONDAY, NOW, START, keep, make_sealer, spread_records
from tracker import wire

TUESDAY = MONDAY + timedelta(days=1)


@pytest.fixture
def sealer() -> Sealer:
    return make_sealer()


def expected(records: Records, owner: Owner, number: int) -> list[tuple[int, int, int]]:
    """Time, totals up and port of each, in order."""
    mine = records[records[owner] == number]
    return list(zip(mine["at"].tolist(), mine["up"].tolist(), mine["port"].tolist(), strict=True))


def told(announces: list[Announce]) -> list[tuple[int, int, int]]:
    epoch = datetime.fromtimestamp(0, UTC)
    micros = timedelta(microseconds=1)
    return [((found.at - epoch) // micros, found.uploaded, found.port) for found in announces]


def pages(
    conn: psycopg.Connection, sealer: Sealer, owner: Owner, number: int, size: int
) -> list[Announce]:
    found: list[Announce] = []
    after: Place | None = None
    while page := list_announces(conn, sealer, owner, number, after=after, limit=size):
        assert len(page) <= size
        found += page
        after = page[-1].place
    assert [one.place for one in found] == sorted(one.place for one in found)
    return found


@pytest.mark.parametrize(("owner", "number"), [("account", 2**32 - 1), ("torrent", 2**31)])
def test_pages_are_the_same_before_and_after_days_are_closed(
    conn: psycopg.Connection, sealer: Sealer, owner: Owner, number: int
) -> None:
    records = spread_records(3_000, seed=21, days=1.9)
    keep(conn, records, [900, 1_200, 900], streams=2)
    before = pages(conn, sealer, owner, number, 70)
    assert told(before) == expected(records, owner, number)
    for day in (MONDAY, TUESDAY):
        compact_day(conn, sealer, day, now=NOW, segment_records=1_000)
        assert pages(conn, sealer, owner, number, 70) == before
    late = spread_records(200, seed=22)
    keep(conn, late, [200])
    monday = list_announces(conn, sealer, owner, number, day=MONDAY, limit=10_000)
    first = records[records["at"] < START + DAY]
    assert told(monday) == expected(np.concatenate([first, late]), owner, number)


def test_an_announce_tells_what_was_archived(conn: psycopg.Connection, sealer: Sealer) -> None:
    records = spread_records(2, seed=23)
    records["account"] = [7, 8]
    records["left"] = [2**62, 5]
    records["event"] = [wire.EVENT_STOPPED, 99]
    records["protocol"] = [wire.PROTOCOL_UDP, wire.PROTOCOL_HTTP]
    records["flags"] = [wire.FLAG_LATE, 0]
    keep(conn, records, [2])
    first, second = (list_announces(conn, sealer, "account", n)[0] for n in (7, 8))
    assert first.place == Place(day=MONDAY, batch=1, ordinal=0)
    assert (first.left, first.event, first.protocol, first.late) == (None, "stopped", "udp", True)
    assert (second.left, second.event, second.protocol, second.late) == (
        5,
        "unknown",
        "http",
        False,
    )
    assert first.address == bytes(records["address"][0]).hex()
    assert first.peer == bytes(records["peer"][0]).hex()


@pytest.mark.parametrize(("number", "limit"), [(0, 1), (2**32, 1), (1, 0), (1, 10_001)])
def test_numbers_out_of_bounds_are_refused(
    conn: psycopg.Connection, sealer: Sealer, number: int, limit: int
) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        list_announces(conn, sealer, "account", number, limit=limit)
