"""Reading the peer ledger in order, from rows and from blocks alike, and checking all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import Final, Protocol

import msgspec
import numpy as np
import psycopg

from application.store.chain import GENESIS
from application.store.sealing import Sealer
from projections.binary_rows import RowsUnreadable
from projections.engine import Connection
from projections.ledger_blocks import Ordered
from projections.ledger_rows import RowScan, in_order, row_days, rows_of_batches
from projections.ledger_segments import LedgerSealed, StoredSegment, list_segments, read_segment
from projections.peer_ledger import (
    Batch,
    LedgerDamaged,
    digest_records,
    hash_batch,
    list_batches,
    newest_batch,
)
from projections.peer_records import Records

RECORDS_AT_ONCE: Final = 100_000
_LOCK: Final = (4711, 5)
_MIXED: Final = "records are missing, repeated or added"


class LedgerRetired(Exception):
    """The first batches of the ledger are not kept any more: begin behind `last_batch`."""

    def __init__(self, last_batch: int) -> None:
        super().__init__(
            f"Records up to batch {last_batch} are not kept any more; begin at a checkpoint."
        )
        self.last_batch = last_batch


@contextmanager
def held_ledger(conn: Connection) -> Iterator[None]:
    """Keep days from being closed meanwhile: their rows would go while we read them.

    Before a REPEATABLE READ transaction, not in it: the snapshot must be younger than the lock.
    """
    conn.execute("SELECT pg_advisory_lock_shared(%s, %s)", _LOCK)
    try:
        yield
    finally:
        # A failed transaction can't give it back; the connection's end does.
        with suppress(psycopg.Error):
            conn.execute("SELECT pg_advisory_unlock_shared(%s, %s)", _LOCK)


def read_batches(
    conn: Connection,
    after_seq: int = 0,
    *,
    upto_seq: int | None = None,
    sealer: Sealer | None = None,
    drafts_of: date | None = None,
) -> Iterator[tuple[Batch, Records]]:
    """Batches with their records in order, each checked against its digest and the chain.

    `drafts_of` reads this day's drafts in place of its rows. Memory holds `RECORDS_AT_ONCE`
    records of rows, and the segments of two days. Raises `LedgerDamaged` at the first batch that
    fails, `LedgerSealed` where blocks need a `sealer`, `LedgerRetired` for what is gone.
    """
    with held_ledger(conn):
        yield from _read(conn, after_seq, upto_seq, _sources(conn, after_seq, sealer, drafts_of))


def _read(
    conn: Connection, after_seq: int, upto_seq: int | None, sources: _Sources
) -> Iterator[tuple[Batch, Records]]:
    before = list_batches(conn, after_seq - 1, 1) if after_seq else []
    previous = before[0].hash if before else GENESIS
    expected, end = after_seq + 1, _newest(conn)
    if upto_seq is not None:
        end = min(end, upto_seq)
    while expected <= end and (batches := list_batches(conn, expected - 1)):
        for group in _grouped([batch for batch in batches if batch.seq <= end]):
            whole = sources.take(group)
            for batch in group:
                _check_link(batch, expected, previous)
                yield batch, _records_of(batch, whole)
                previous, expected = batch.hash, batch.seq + 1
        if batches[-1].seq >= end:
            break
    if upto_seq is None:
        sources.check_nothing_left(expected - 1)


def _newest(conn: Connection) -> int:
    newest = newest_batch(conn)
    return newest.seq if newest else 0


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


class _Source(Protocol):
    def take(self, last: int) -> list[Ordered]:
        """What it holds up to batch `last`, once."""
        ...


class _Rows:
    """The rows of one day, a stretch ahead."""

    def __init__(self, scan: RowScan, after_seq: int) -> None:
        self._stretches = scan.stretches()
        self._ahead: list[Ordered] = []
        self._after = after_seq
        self._front = 0

    def take(self, last: int) -> list[Ordered]:
        while self._front <= last:
            stretch = next(self._stretches, None)
            if stretch is None:
                break
            self._ahead.append(stretch)
            # Two writers may fill each other's pages, so only a whole later stretch is later.
            self._front = int(stretch.seqs.min())
        taken, ahead = [], []
        for piece in self._ahead:
            now = piece.seqs <= last
            kept = now & (piece.seqs > self._after)
            if kept.any():
                taken.append(piece if kept.all() else piece.only(kept))
            if not now.all():
                ahead.append(piece.only(~now) if now.any() else piece)
        self._ahead = ahead
        return taken


class _Blocks:
    """One segment, open from its first batch to its last."""

    def __init__(
        self, conn: Connection, sealer: Sealer | None, segment: StoredSegment, after_seq: int
    ) -> None:
        self._conn = conn
        self._sealer = sealer
        self._segment = segment
        self._whole: Ordered | None = None
        self._taken_to = after_seq
        self._at_start = True

    def take(self, last: int) -> list[Ordered]:
        segment = self._segment
        if not segment.first_batch <= last or self._taken_to >= segment.last_batch:
            return []
        if self._whole is None:
            if self._sealer is None:
                raise LedgerSealed("The ledger's closed days need the keyring to be read.")
            self._whole = read_segment(self._conn, self._sealer, segment)
        first, end = np.searchsorted(self._whole.seqs, [self._taken_to + 1, last + 1])
        piece = self._whole.only(slice(first, end))
        self._taken_to = last
        if last >= segment.last_batch:
            self._whole = None
        return [piece] if len(piece.seqs) else []


class _Sources:
    """Everything records may come from, read side by side in the order of batches."""

    def __init__(self, conn: Connection, sources: Sequence[_Source], days: Sequence[date]) -> None:
        self._conn = conn
        self._sources = sources
        self._days = days
        self._yielded = 0
        self._late: set[int] = set()

    def take(self, group: Sequence[Batch]) -> Ordered:
        """The records of these batches, by batch and ordinal; raises `LedgerDamaged`."""
        first, last = group[0].seq, group[-1].seq
        try:
            pieces = [piece for source in self._sources for piece in source.take(last)]
        except RowsUnreadable:
            raise self._unreadable(group) from None
        whole = in_order(pieces)
        begin = int(np.searchsorted(whole.seqs, first))
        if begin and not self._late.issuperset(whole.seqs[:begin].tolist()):
            raise LedgerDamaged(int(whole.seqs[0]), _MIXED)
        whole = whole.only(slice(begin, None))
        if len(whole.seqs) < sum(batch.records for batch in group):
            whole = self._look_again(whole, first, last)
        self._yielded = last
        return whole

    def _look_again(self, whole: Ordered, first: int, last: int) -> Ordered:
        """Rows may lie further on than any writer leaves them: a heap promises no order."""
        rows = rows_of_batches(self._conn, self._days, first, last)
        known = set(zip(whole.seqs.tolist(), whole.ordinals.tolist(), strict=True))
        fresh = np.array(
            [
                place not in known
                for place in zip(rows.seqs.tolist(), rows.ordinals.tolist(), strict=True)
            ],
            np.bool_,
        )
        missed = rows.only(fresh)
        self._late.update(missed.seqs.tolist())
        return in_order([whole, missed])

    def _unreadable(self, group: Sequence[Batch]) -> LedgerDamaged:
        """The first batch whose rows can't be read; the stretch holds others as well."""
        for batch in list_batches(self._conn, self._yielded):
            try:
                rows_of_batches(self._conn, self._days, batch.seq, batch.seq)
            except RowsUnreadable:
                return LedgerDamaged(batch.seq, "a record has a field of another width")
        return LedgerDamaged(group[0].seq, "a record near it has a field of another width")

    def check_nothing_left(self, last: int) -> None:
        """Raise `LedgerDamaged` for records under a number that no batch has."""
        left = in_order([piece for source in self._sources for piece in source.take(2**62)])
        for seq in np.unique(left.seqs).tolist():
            if seq <= last and seq not in self._late:
                raise LedgerDamaged(seq, _MIXED)
            # Others may have been archived meanwhile.
            found = list_batches(self._conn, seq - 1, 1)
            if seq > last and (not found or found[0].seq != seq):
                raise LedgerDamaged(seq, "records stand under a number without a batch")


def _sources(
    conn: Connection, after_seq: int, sealer: Sealer | None, drafts_of: date | None
) -> _Sources:
    segments = list_segments(conn)
    retired = max((s.last_batch for s in segments if s.retired), default=0)
    if retired > after_seq:
        raise LedgerRetired(retired)
    days = [day for day in row_days(conn) if day != drafts_of]
    blocks = [
        _Blocks(conn, sealer, segment, after_seq)
        for segment in segments
        if not segment.retired and (segment.closed or segment.day == drafts_of)
    ]
    rows = [_Rows(RowScan(conn, day, after_seq), after_seq) for day in days]
    return _Sources(conn, [*blocks, *rows], days)


def _records_of(batch: Batch, whole: Ordered) -> Records:
    first, last = np.searchsorted(whole.seqs, [batch.seq, batch.seq + 1])
    if not np.array_equal(whole.ordinals[first:last], np.arange(batch.records)):
        raise LedgerDamaged(batch.seq, _MIXED)
    records = whole.records[first:last]
    if digest_records(records) != batch.digest:
        raise LedgerDamaged(batch.seq, "its records do not match its digest")
    return records


def _check_link(batch: Batch, expected: int, previous: bytes) -> None:
    if batch.seq != expected:
        raise LedgerDamaged(expected, "it is missing")
    if batch.previous != previous:
        raise LedgerDamaged(batch.seq, "it does not follow the batch before it")
    if hash_batch(batch) != batch.hash:
        raise LedgerDamaged(batch.seq, "its hash does not match its row")


class LedgerState(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the ledger found; `records` counts those behind its start."""

    batches: int
    records: int
    hash: bytes


def verify_batches(
    conn: Connection,
    after_seq: int = 0,
    *,
    sealer: Sealer | None = None,
    progress: Callable[[int], None] | None = None,
) -> LedgerState:
    """Recompute every digest and link behind `after_seq` from rows and blocks.

    Run it in one REPEATABLE READ transaction. `progress` is told the records checked so far.
    Raises what `read_batches` raises.
    """
    before = list_batches(conn, after_seq - 1, 1) if after_seq else []
    count, total, head = after_seq, 0, before[0].hash if before else GENESIS
    for batch, records in read_batches(conn, after_seq, sealer=sealer):
        count, total, head = batch.seq, total + len(records), batch.hash
        if progress is not None:
            progress(total)
    return LedgerState(batches=count, records=total, hash=head)
