"""A ledger of past days to compact: made records, archived, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
import psycopg

from application.store.keyring import Keyring
from application.store.sealing import Sealer
from projections.ledger_reader import read_batches
from projections.peer_ledger import archive
from projections.peer_records import Records, as_kept
from tests.projections.peer_sets import SECOND, hostile_records

DAY = 86_400 * SECOND
MONDAY = date(2024, 3, 4)
START = int(datetime(2024, 3, 4, tzinfo=UTC).timestamp()) * SECOND
NOW = datetime(2024, 3, 12, tzinfo=UTC)
STREAM = "peer-events:{1.0}"


def make_sealer() -> Sealer:
    """Seals under a ring of its own; the database counts nothing."""
    return Sealer(Keyring.generate(), "events", lambda _key, amount: amount)


def spread_records(count: int, *, seed: int, days: float = 1.0) -> Records:
    """Hostile records in the order of their time, from the start of `MONDAY` over `days`."""
    records = as_kept(hostile_records(count, seed=seed))
    chance = np.random.default_rng(seed)
    records["at"] = START + np.sort(chance.integers(0, int(days * DAY), count))
    records["key"] = chance.integers(0, 2**32, count)
    records["port"] = chance.integers(0, 2**16, count)
    records["tag"] = np.frombuffer(chance.bytes(8 * count), "V8")
    addresses = np.frombuffer(chance.bytes(16 * 40), "V16")
    records["address"] = addresses[chance.integers(0, 40, count)]
    return records


def keep(
    conn: psycopg.Connection, records: Records, sizes: Sequence[int], *, streams: int = 1
) -> None:
    """Archive the records in batches of these sizes, by turns from so many streams."""
    start = 0
    row = conn.execute("SELECT coalesce(max(seq), 0) FROM ledger.batches").fetchone()
    before = int(row[0]) if row else 0
    for number, size in enumerate(sizes, before + 1):
        with conn.transaction():
            archive(
                conn,
                records[start : start + size],
                stream=f"peer-events:{{{streams}.{number % streams}}}",
                first_id=f"1-{number}",
                last_id=f"1-{number}",
                log_position=number,
                archived_at=NOW,
            )
        start += size
    assert start == len(records)


def whole_ledger(conn: psycopg.Connection, sealer: Sealer) -> bytes:
    """All records in the ledger's order, as they went in."""
    return b"".join(records.tobytes() for _, records in read_batches(conn, sealer=sealer))
