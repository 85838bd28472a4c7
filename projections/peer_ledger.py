"""The peer ledger: archiving drained batches, reading them back, and checking them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import msgspec
import numpy as np
from psycopg import sql
from psycopg.rows import class_row

from application.store.chain import GENESIS, batch_hash
from domain.credit import MICROSECONDS
from projections.binary_rows import RowFormat, RowsUnreadable
from projections.engine import Connection, tuples
from projections.peer_records import LAYOUT, Ints, Records

BATCHES_AT_ONCE: Final = 2_000
RECORDS_AT_ONCE: Final = 100_000
"""Records per query when reading back: about 20 MB on the way; smaller costs more a record."""
EPOCH: Final = date(1970, 1, 1)
_DAY: Final = 86_400 * MICROSECONDS
_ADDRESSES_KEPT: Final = 200_000

# Ledger column → numpy type in binary COPY → field of the wire record.
_COLUMNS: Final = (
    ("at", ">i8", "at"),
    ("up", ">i8", "up"),
    ("down", ">i8", "down"),
    ("lft", ">i8", "left"),
    ("key", ">i8", "key"),
    ("torrent", ">i4", "torrent"),
    ("account", ">i4", "account"),
    ("port", ">i4", "port"),
    ("interval", ">i4", "interval"),
    ("event", ">i2", "event"),
    ("family", ">i2", "family"),
    ("protocol", ">i2", "protocol"),
    ("flags", ">i2", "flags"),
    ("peer", "V20", "peer"),
    ("address", "V16", "address"),
    ("tag", "V8", "tag"),
)
_ROWS: Final = RowFormat(
    [("batch", ">i8"), ("ord", ">i4"), *((name, kind) for name, kind, _ in _COLUMNS)]
)
_NAMES: Final = sql.SQL(", ").join(map(sql.Identifier, _ROWS.names))


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


class AddressHasher:
    """Replaces addresses by hashes under one key a month, so that links can be destroyed.

    `key_of` gives the key (16 to 64 bytes) of a month ("2026-11"). Raises what it raises.
    """

    def __init__(self, key_of: Callable[[str], bytes]) -> None:
        self._key_of = key_of
        self._known: dict[str, dict[bytes, bytes]] = {}

    def hash_addresses(self, records: Records) -> Records:
        """A copy whose addresses are 16-byte keyed BLAKE2b hashes."""
        hashed = records.copy()
        months = (records["at"] // MICROSECONDS).astype("datetime64[s]").astype("datetime64[M]")
        for month in np.unique(months):
            rows = np.flatnonzero(months == month)
            hashed["address"][rows] = self._hash_month(str(month), records["address"][rows])
        return hashed

    def _hash_month(self, month: str, addresses: Records) -> Records:
        if month not in self._known and len(self._known) > 1:
            self._known.clear()
        known = self._known.setdefault(month, {})
        if len(known) > _ADDRESSES_KEPT:
            known.clear()
        plain = addresses.tobytes()
        parts = [plain[start : start + 16] for start in range(0, len(plain), 16)]
        missing = set(parts).difference(known)
        if missing:
            key = self._key_of(month)
            for part in missing:
                known[part] = hashlib.blake2b(part, digest_size=16, key=key).digest()
        return np.frombuffer(b"".join([known[part] for part in parts]), "V16")


def digest_records(records: Records) -> bytes:
    """SHA-256 of records in the wire layout, as kept: totals cut off, addresses hashed."""
    return hashlib.sha256(records.tobytes()).digest()


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
    days = records["at"] // _DAY
    for day in np.unique(days).tolist():
        rows = np.flatnonzero(days == day)
        _copy_day(
            conn, records[rows], EPOCH + timedelta(days=day), seq=seq, ordinals=ordinals[rows]
        )
    return seq


def _copy_day(conn: Connection, records: Records, day: date, *, seq: int, ordinals: Ints) -> None:
    cursor = tuples(conn)
    part = cursor.execute("SELECT ledger.ensure_day(%s)", [day]).fetchone()
    values = {name: records[field] for name, _, field in _COLUMNS}
    for name in ("torrent", "account"):
        # 32 unsigned bits in a signed column: the same bits, read back as such.
        values[name] = records[name].astype(np.uint32).view(np.int32)
    values["batch"] = np.full(len(records), seq)
    values["ord"] = ordinals
    statement = sql.SQL("COPY ledger.{} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(part[0] if part else ""), _NAMES
    )
    with cursor.copy(statement) as copy:
        copy.write(_ROWS.encode(len(records), values))


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


def read_batches(
    conn: Connection, after_seq: int = 0, *, upto_seq: int | None = None
) -> Iterator[tuple[Batch, Records]]:
    """Batches with their records in order, each checked against its digest and the chain.

    Raises `LedgerDamaged` at the first that fails. Memory holds `RECORDS_AT_ONCE` records.
    """
    before = list_batches(conn, after_seq - 1, 1) if after_seq else []
    previous = before[0].hash if before else GENESIS
    expected = after_seq + 1
    while batches := list_batches(conn, expected - 1):
        for group in _grouped(batches):
            records = _read_group(conn, group)
            for batch in group:
                if upto_seq is not None and batch.seq > upto_seq:
                    return
                _check_link(batch, expected, previous)
                yield batch, _check_records(batch, records[batch.seq])
                previous, expected = batch.hash, batch.seq + 1


def _grouped(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    group: list[Batch] = []
    size = 0
    for batch in batches:
        if group and size + batch.records > RECORDS_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(batch)
        size += batch.records
    if group:
        yield group


def _read_group(conn: Connection, group: Sequence[Batch]) -> dict[int, Records]:
    """Records by batch number; raises `LedgerDamaged` for rows no archiver writes."""
    try:
        rows = _copy_rows(conn, group[0].seq, group[-1].seq)
    except RowsUnreadable:
        if len(group) == 1:
            raise LedgerDamaged(group[0].seq, "a record has a field of another width") from None
        middle = len(group) // 2
        return _read_group(conn, group[:middle]) | _read_group(conn, group[middle:])
    seqs, ordinals = rows["batch"].astype(np.int64), rows["ord"].astype(np.int64)
    # One writer appends in this order, but a heap promises none.
    order = np.lexsort((ordinals, seqs))
    seqs, ordinals = seqs[order], ordinals[order]
    records = np.empty(len(rows), LAYOUT)
    for name, _, field in _COLUMNS:
        records[field] = rows[name][order]
    found = {}
    for batch in group:
        first, last = np.searchsorted(seqs, [batch.seq, batch.seq + 1])
        if not np.array_equal(ordinals[first:last], np.arange(batch.records)):
            raise LedgerDamaged(batch.seq, "records are missing, repeated or added")
        found[batch.seq] = records[first:last]
    return found


def _copy_rows(conn: Connection, first: int, last: int) -> Records:
    statement = sql.SQL(
        "COPY (SELECT {} FROM ledger.records WHERE batch BETWEEN {} AND {})"
        " TO STDOUT (FORMAT binary)"
    ).format(_NAMES, sql.Literal(first), sql.Literal(last))
    with tuples(conn).copy(statement) as copy:
        return _ROWS.decode(b"".join(copy))


def _check_link(batch: Batch, expected: int, previous: bytes) -> None:
    if batch.seq != expected:
        raise LedgerDamaged(expected, "it is missing")
    if batch.previous != previous:
        raise LedgerDamaged(batch.seq, "it does not follow the batch before it")
    if hash_batch(batch) != batch.hash:
        raise LedgerDamaged(batch.seq, "its hash does not match its row")


def _check_records(batch: Batch, records: Records) -> Records:
    if digest_records(records) != batch.digest:
        raise LedgerDamaged(batch.seq, "its records do not match its digest")
    return records


class LedgerState(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the whole ledger found."""

    batches: int
    records: int
    hash: bytes


def verify_batches(
    conn: Connection, *, progress: Callable[[int], None] | None = None
) -> LedgerState:
    """Recompute every digest and link from the rows; raises `LedgerDamaged`.

    Run it in one REPEATABLE READ transaction. `progress` is told the records checked so far.
    """
    count, total, head = 0, 0, GENESIS
    for batch, records in read_batches(conn):
        count, total, head = batch.seq, total + len(records), batch.hash
        if progress is not None:
            progress(total)
    row = (
        tuples(conn)
        .execute(
            "SELECT count(*), max(batch) FILTER (WHERE batch > %s) FROM ledger.records", [count]
        )
        .fetchone()
    )
    if row and row[0] != total:
        raise LedgerDamaged(row[1] or count + 1, "records stand under a number without a batch")
    return LedgerState(batches=count, records=total, hash=head)
