"""The peer ledger: archiving drained batches, and the chain of their rows."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
from psycopg.rows import class_row

from application.store.chain import batch_hash
from projections.engine import Connection, tuples
from projections.ledger_rows import DAY, copy_day
from projections.peer_records import Records

BATCHES_AT_ONCE: Final = 2_000


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `ledger.batches`: which entries of which stream, and the links of the chain.

    `log_position` is how far the event log was folded before this batch.
    """

    seq: int
    stream: str
    first_id: str
    last_id: str
    records: int
    log_position: int
    digest: bytes
    previous: bytes
    hash: bytes


class _Archived(Batch, frozen=True, kw_only=True):
    archived_at: datetime


class LedgerDamaged(Exception):
    """The ledger is not what was archived; `batch` is the first bad one, `reason` a sentence."""

    def __init__(self, batch: int, reason: str) -> None:
        super().__init__(f"Ledger batch {batch} is damaged: {reason}.")
        self.batch = batch
        self.reason = reason


def try_lease(conn: Connection, name: str) -> bool:
    """Become the one archiver for the life of this connection; False while another is."""
    row = tuples(conn).execute("SELECT pg_try_advisory_lock(4714, hashtext(%s))", [name]).fetchone()
    return row is not None and bool(row[0])


def digest_records(records: Records) -> bytes:
    """SHA-256 of records in the wire layout, as kept: totals cut off, addresses hashed."""
    return hashlib.sha256(np.ascontiguousarray(records).view(np.uint8).data).digest()


def hash_batch(batch: Batch) -> bytes:
    """The batch's link in the chain, from its row."""
    return batch_hash(
        batch.previous,
        batch.seq,
        stream=batch.stream,
        first_id=batch.first_id,
        last_id=batch.last_id,
        records=batch.records,
        log_position=batch.log_position,
        digest=batch.digest,
    )


def archive(
    conn: Connection,
    records: Records,
    *,
    stream: str,
    first_id: str,
    last_id: str,
    log_position: int,
    archived_at: datetime,
) -> int:
    """Append one batch with its records, in the caller's transaction; gives its number.

    `records` are as kept, with hashed addresses. Raises `psycopg.errors.UniqueViolation`
    (constraint `batches_overlap`) for entries the ledger already holds.
    """
    cursor = tuples(conn)
    row = cursor.execute(
        "SELECT ledger.append_batch(%s, %s, %s, %s::int, %s::bigint, %s::bytea, %s::timestamptz)",
        [
            stream,
            first_id,
            last_id,
            len(records),
            log_position,
            digest_records(records),
            archived_at,
        ],
    ).fetchone()
    seq = int(row[0]) if row else 0
    ordinals = np.arange(len(records))
    days = records["at"] // DAY
    for day in np.unique(days).tolist():
        rows = np.flatnonzero(days == day)
        copy_day(conn, records[rows], day, seq=seq, ordinals=ordinals[rows])
    return seq


def newest_batch(conn: Connection, stream: str | None = None) -> Batch | None:
    """The last batch of a stream, or of all; None in an empty ledger."""
    cursor = conn.cursor(row_factory=class_row(Batch))
    return cursor.execute(
        "SELECT seq, stream, first_id, last_id, records, log_position, digest, previous, hash"
        " FROM ledger.batches WHERE stream = %(stream)s::text OR %(stream)s::text IS NULL"
        " ORDER BY seq DESC LIMIT 1",
        {"stream": stream},
    ).fetchone()


def list_batches(conn: Connection, after_seq: int, limit: int = BATCHES_AT_ONCE) -> list[Batch]:
    """The next batches in order."""
    cursor = conn.cursor(row_factory=class_row(Batch))
    return cursor.execute(
        "SELECT seq, stream, first_id, last_id, records, log_position, digest, previous, hash"
        " FROM ledger.batches WHERE seq > %s ORDER BY seq LIMIT %s",
        [after_seq, limit],
    ).fetchall()


def list_recent_batches(conn: Connection, since: datetime) -> list[tuple[Batch, datetime]]:
    """The batches behind the last one archived before `since`, in order, with their times."""
    cursor = conn.cursor(row_factory=class_row(_Archived))
    rows = cursor.execute(
        "SELECT seq, stream, first_id, last_id, records, log_position, digest, previous, hash,"
        " archived_at FROM ledger.batches WHERE seq > coalesce("
        " (SELECT seq FROM ledger.batches WHERE archived_at < %s ORDER BY seq DESC LIMIT 1), 0)"
        " ORDER BY seq",
        [since],
    ).fetchall()
    return [(row, row.archived_at) for row in rows]
