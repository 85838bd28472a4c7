"""Closing days of the ledger: packing their rows into blocks, proving them, dropping the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Final

import msgspec
import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from application.store.chain import GENESIS, closing_hash
from application.store.sealing import Sealer
from projections.engine import Connection, tuples
from projections.ledger_blocks import SEGMENT_RECORDS, Ordered, pack_segment
from projections.ledger_reader import read_batches
from projections.ledger_rows import DAY, EPOCH, row_days
from projections.ledger_segments import StoredSegment, draft_segment, list_segments
from projections.peer_ledger import Batch, LedgerDamaged
from projections.peer_records import LAYOUT, Records

SETTLED: Final = timedelta(hours=1)
"""A day is closed so long after its end: its last records are archived by then.

One that comes later still opens rows for the day again, which are closed by the next run.
"""
_WORK_LOCK: Final = (4711, 6)
Progress = Callable[[str, int, int], None]
"""Told what is done ("pack", "check"), the records so far, and of how many."""


class DayOpen(Exception):
    """The day is not over long enough to be closed, or has no rows."""


class CompactionBusy(Exception):
    """Another process compacts at this moment."""


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a day: `closing` is None when its rows are in use, so that they stay."""

    day: date
    records: int
    segments: int
    bytes: int
    closing: int | None


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `ledger.closings`."""

    seq: int
    day: date
    first_segment: int
    last_segment: int
    last_batch: int
    records: int
    digest: bytes
    previous: bytes
    hash: bytes
    retired_at: datetime | None


def closable_days(conn: Connection, now: datetime) -> list[date]:
    """Days that stand as rows and ended `SETTLED` before `now`, oldest first."""
    return [day for day in row_days(conn) if _over(day, now)]


def _over(day: date, now: datetime) -> bool:
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return end + SETTLED <= now


def compact_day(
    conn: Connection,
    sealer: Sealer,
    day: date,
    *,
    now: datetime,
    segment_records: int = SEGMENT_RECORDS,
    progress: Progress = lambda _work, _done, _of: None,
) -> Compaction:
    """Rewrite a day's rows as blocks, prove that they give every batch back, drop the rows.

    May be ended at any point and called again: until the last transaction the rows count, and
    finished segments are taken up. `conn` is in autocommit. Raises `DayOpen`, `CompactionBusy`,
    or `LedgerDamaged` where rows or blocks are not what was archived; then the rows stay.
    """
    if not _over(day, now):
        raise DayOpen(f"{day} is not over for an hour yet.")
    with _only_one(conn):
        bounds = _row_bounds(conn, day)
        if bounds is None:
            raise DayOpen(f"{day} has no rows to compact.")
        first, last, total = bounds
        size = max(segment_records, _largest_batch(conn, first, last))
        # Not kept: its arrays must be gone before the blocks are read back.
        _Packing(conn, sealer, day, size).fill(
            first, last, lambda done: progress("pack", done, total)
        )
        try:
            _prove(conn, sealer, day, lambda done: progress("check", done, total))
        except LedgerDamaged:
            conn.execute("SELECT ledger.discard_drafts(%s)", [day])
            raise
        drafts = _drafts(conn, day)
        return Compaction(
            day=day,
            records=sum(draft.records for draft in drafts),
            segments=len(drafts),
            bytes=_block_bytes(conn, day, drafts),
            closing=_close(conn, day, now),
        )


@contextmanager
def _only_one(conn: Connection) -> Iterator[None]:
    row = tuples(conn).execute("SELECT pg_try_advisory_lock(%s, %s)", _WORK_LOCK).fetchone()
    if row is None or not row[0]:
        raise CompactionBusy("Another process compacts the ledger at this moment.")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%s, %s)", _WORK_LOCK)


def _row_bounds(conn: Connection, day: date) -> tuple[int, int, int] | None:
    """First and last batch and number of the day's rows; None without any."""
    if day not in row_days(conn):
        return None
    part = sql.Identifier("ledger", f"records_{day:%Y%m%d}")
    query = sql.SQL("SELECT min(batch), max(batch), count(*) FROM {}").format(part)
    row = tuples(conn).execute(query).fetchone()
    return (int(row[0]), int(row[1]), int(row[2])) if row and row[2] else None


def _largest_batch(conn: Connection, first: int, last: int) -> int:
    query = "SELECT coalesce(max(records), 0) FROM ledger.batches WHERE seq BETWEEN %s AND %s"
    row = tuples(conn).execute(query, [first, last]).fetchone()
    return int(row[0]) if row else 0


def _drafts(conn: Connection, day: date) -> list[StoredSegment]:
    return [segment for segment in list_segments(conn) if segment.day == day and not segment.closed]


class _Packing:
    """Gathers a day's records, and keeps a segment whenever the next batch would not fit."""

    def __init__(self, conn: Connection, sealer: Sealer, day: date, size: int) -> None:
        self._conn = conn
        self._sealer = sealer
        self._day = day
        self._number = (day - EPOCH).days
        self._size = size
        # Memory is taken as it is filled.
        self._seqs = np.empty(size, np.int64)
        self._ordinals = np.empty(size, np.int64)
        self._records = np.empty(size, LAYOUT)
        self._count = 0

    def fill(self, first: int, last: int, progress: Callable[[int], None]) -> None:
        """Draft what no draft holds yet of batches `first` to `last`."""
        drafts = _drafts(self._conn, self._day)
        done = sum(draft.records for draft in drafts)
        after = max((draft.last_batch for draft in drafts), default=first - 1)
        for batch, records in read_batches(self._conn, after, upto_seq=last, sealer=self._sealer):
            done += self._add(batch, records)
            progress(done)
        if self._count:
            self._keep()

    def _add(self, batch: Batch, records: Records) -> int:
        ordinals = np.flatnonzero(records["at"] // DAY == self._number)
        count = len(ordinals)
        if self._count + count > self._size and self._count:
            self._keep()
        place = slice(self._count, self._count + count)
        self._seqs[place] = batch.seq
        self._ordinals[place] = ordinals
        self._records[place] = records[ordinals]
        self._count += count
        return count

    def _keep(self) -> None:
        filled = slice(0, self._count)
        ordered = Ordered(self._seqs[filled], self._ordinals[filled], self._records[filled])
        held = [s.number for s in list_segments(self._conn) if s.day == self._day]
        draft_segment(
            self._conn,
            self._sealer,
            day=self._day,
            number=max(held, default=0) + 1,
            ordered=ordered,
            packed=pack_segment(ordered),
        )
        self._count = 0


def _prove(conn: Connection, sealer: Sealer, day: date, progress: Callable[[int], None]) -> None:
    """Read the drafts back from the database: every batch must have its digest again."""
    drafts = _drafts(conn, day)
    if not drafts:
        return
    number, done = (day - EPOCH).days, 0
    for _, records in read_batches(
        conn,
        drafts[0].first_batch - 1,
        upto_seq=drafts[-1].last_batch,
        sealer=sealer,
        drafts_of=day,
    ):
        done += int((records["at"] // DAY == number).sum())
        progress(done)


def _block_bytes(conn: Connection, day: date, segments: Sequence[StoredSegment]) -> int:
    row = (
        tuples(conn)
        .execute(
            "SELECT coalesce(sum(length(body)), 0) FROM ledger.blocks"
            " WHERE day = %s AND segment = ANY(%s)",
            [day, [segment.number for segment in segments]],
        )
        .fetchone()
    )
    return int(row[0]) if row else 0


def _close(conn: Connection, day: date, now: datetime) -> int | None:
    try:
        with conn.transaction():
            conn.execute("SET LOCAL synchronous_commit = on")
            row = tuples(conn).execute("SELECT ledger.close_day(%s, %s)", [day, now]).fetchone()
    except psycopg.errors.LockNotAvailable:
        return None
    return row[0] if row else None


def list_closings(conn: Connection) -> list[Closing]:
    """All closings in order."""
    return (
        conn.cursor(row_factory=class_row(Closing))
        .execute(
            "SELECT seq, day, first_segment, last_segment, last_batch, records, digest, previous,"
            " hash, retired_at FROM ledger.closings ORDER BY seq"
        )
        .fetchall()
    )


def check_closings(conn: Connection) -> bytes:
    """Recompute the chain of closings over their segments and blocks; its last hash.

    Of what is retired the digests are still checked. Raises `LedgerDamaged`.
    """
    segments = {(segment.day, segment.number): segment for segment in list_segments(conn)}
    digests = _block_digests(conn)
    previous, expected = GENESIS, 1
    for closing in list_closings(conn):
        mine = [
            segments.get((closing.day, number))
            for number in range(closing.first_segment, closing.last_segment + 1)
        ]
        known = [segment for segment in mine if segment is not None]
        whole = sha256(b"".join(segment.digest for segment in known)).digest()
        linked = closing.seq == expected and closing.previous == previous
        if not linked or _hash(closing) != closing.hash or whole != closing.digest:
            raise LedgerDamaged(closing.last_batch, f"the closing of {closing.day} was changed")
        for segment in known if closing.retired_at is None else []:
            if digests.get((segment.day, segment.number)) != segment.digest:
                raise segment.damaged("blocks are missing, added or changed")
        previous, expected = closing.hash, expected + 1
    return previous


def _hash(closing: Closing) -> bytes:
    return closing_hash(
        closing.previous,
        closing.seq,
        (closing.day - EPOCH).days,
        segments=(closing.first_segment, closing.last_segment),
        last_batch=closing.last_batch,
        records=closing.records,
        digest=closing.digest,
    )


def _block_digests(conn: Connection) -> dict[tuple[date, int], bytes]:
    """SHA-256 over the digests of each segment's blocks, order blocks first."""
    rows = tuples(conn).execute(
        "SELECT day, segment, digest FROM ledger.blocks ORDER BY day, segment, kind, number"
    )
    return {
        place: sha256(b"".join(bytes(row[2]) for row in group)).digest()
        for place, group in groupby(rows, key=lambda row: (row[0], row[1]))
    }
