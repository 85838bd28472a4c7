"""The peer ledger: what goes in comes back byte for byte, and any change is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np
import psycopg
import pytest

from projections.ledger_reader import read_batches, verify_batches
from projections.peer_ledger import (
    LedgerDamaged,
    archive,
    hash_batch,
    list_batches,
    newest_batch,
)
from projections.peer_records import Records, UnreadableRecords, as_kept, decode_entry
from tests.projections.peer_sets import hostile_records, steady_records
from tracker import wire

AT = datetime(2026, 11, 25, tzinfo=UTC)
STREAM = "peer-events:{1.0}"


@pytest.fixture
def conn(app_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(app_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def keep_batch(conn: psycopg.Connection, records: Records, number: int) -> int:
    with conn.transaction():
        return archive(
            conn,
            records,
            stream=STREAM,
            first_id=f"1-{number}",
            last_id=f"1-{number}",
            log_position=number,
            archived_at=AT,
        )


def keep_hostile(conn: psycopg.Connection, batches: int = 4, count: int = 300) -> Records:
    records = as_kept(hostile_records(batches * count, seed=5))
    for number in range(batches):
        keep_batch(conn, records[number * count : (number + 1) * count], number + 1)
    return records


def test_records_come_back_byte_for_byte(conn: psycopg.Connection) -> None:
    records = as_kept(hostile_records(5_000, seed=3))
    # Long enough to cross midnight, so that one batch stands in several day partitions.
    assert len(np.unique(records["at"] // 86_400_000_000)) > 1
    records["address"] = np.frombuffer(np.random.default_rng(1).bytes(80_000), "V16")
    records["key"] = np.random.default_rng(2).integers(0, 2**32, 5_000)
    keep_batch(conn, records[:2_000], 1)
    keep_batch(conn, records[2_000:2_001], 2)
    keep_batch(conn, records[2_001:], 3)
    batches = list(read_batches(conn))
    assert [batch.seq for batch, _ in batches] == [1, 2, 3]
    assert b"".join(part.tobytes() for _, part in batches) == records.tobytes()
    assert [batch.seq for batch, _ in read_batches(conn, 1, upto_seq=2)] == [2]
    newest = newest_batch(conn, STREAM)
    assert newest is not None
    assert (newest.last_id, newest.log_position) == ("1-3", 3)
    assert newest_batch(conn, "peer-events:{1.1}") is None


def test_the_chain_is_the_one_the_database_computes(conn: psycopg.Connection) -> None:
    keep_hostile(conn)
    for batch in list_batches(conn, 0):
        assert hash_batch(batch) == batch.hash
    state = verify_batches(conn)
    assert (state.batches, state.records) == (4, 1_200)


def test_entries_the_ledger_holds_are_refused(conn: psycopg.Connection) -> None:
    records = keep_hostile(conn)
    with pytest.raises(psycopg.errors.UniqueViolation):
        keep_batch(conn, records[:10], 4)
    assert verify_batches(conn).records == 1_200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger.records SET up = up + 1 WHERE batch = 3 AND ord = 7",
        "UPDATE ledger.records SET peer = overlay(peer PLACING '\\x00' FROM 20) WHERE batch = 3 AND ord = 7",
        "UPDATE ledger.records SET peer = '\\x00' WHERE batch = 3 AND ord = 7",
        "DELETE FROM ledger.records WHERE batch = 3 AND ord = 299",
        "UPDATE ledger.records SET ord = ord + 1000 WHERE batch = 3 AND ord = 7",
        "INSERT INTO ledger.records SELECT * FROM ledger.records WHERE batch = 3 AND ord = 7",
        "UPDATE ledger.batches SET log_position = 0 WHERE seq = 3",
        "UPDATE ledger.batches SET last_id = '1-4' WHERE seq = 3",
        "UPDATE ledger.batches SET previous = sha256('x') WHERE seq = 3",
        "DELETE FROM ledger.batches WHERE seq = 3",
    ],
)
def test_a_change_names_its_batch(
    conn: psycopg.Connection, owner: psycopg.Connection, change: str
) -> None:
    keep_hostile(conn)
    assert owner.execute(change).rowcount == 1
    with pytest.raises(LedgerDamaged) as damaged:
        verify_batches(conn)
    assert damaged.value.batch == 3


def test_a_batch_forged_with_its_own_hash_breaks_the_next(
    conn: psycopg.Connection, owner: psycopg.Connection
) -> None:
    keep_hostile(conn)
    batch = list_batches(conn, 1, 1)[0]
    forged = hash_batch(msgspec.structs.replace(batch, log_position=1))
    owner.execute("UPDATE ledger.batches SET log_position = 1, hash = %s WHERE seq = 2", [forged])
    with pytest.raises(LedgerDamaged) as damaged:
        verify_batches(conn)
    assert (damaged.value.batch, damaged.value.reason) == (
        3,
        "it does not follow the batch before it",
    )


def test_a_ledger_larger_than_one_read_comes_back_whole(conn: psycopg.Connection) -> None:
    records = as_kept(steady_records(60_000, 2, seed=6))
    keep_batch(conn, records[:60_000], 1)
    keep_batch(conn, records[60_000:], 2)
    told: list[int] = []
    assert verify_batches(conn, progress=told.append).records == 120_000
    assert told == [60_000, 120_000]


def test_records_without_a_batch_are_found(
    conn: psycopg.Connection, owner: psycopg.Connection
) -> None:
    keep_hostile(conn)
    owner.execute("UPDATE ledger.records SET batch = 9 WHERE batch = 4")
    owner.execute("DELETE FROM ledger.batches WHERE seq = 4")
    with pytest.raises(LedgerDamaged) as damaged:
        verify_batches(conn)
    assert damaged.value.batch == 9


def test_unknown_versions_and_torn_entries_are_refused() -> None:
    packed = hostile_records(2, seed=1).tobytes()
    assert decode_entry(wire.VERSION, packed) == packed
    for version, payload in ((b"2", packed), (None, packed), (b"1", packed[:-1]), (b"1", b"")):
        with pytest.raises(UnreadableRecords):
            decode_entry(version, payload)
