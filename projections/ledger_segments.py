"""Closed days as they stand in the database: their segments, sealed blocks, and reading them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from hashlib import sha256
from typing import Final

import msgspec
import numpy as np
from psycopg.rows import class_row

from application.store.ledger_places import block_place
from application.store.sealing import SealBroken, Sealer
from projections.engine import Connection, tuples
from projections.ledger_blocks import (
    BlockUnreadable,
    Ordered,
    Segment,
    unpack_order,
    unpack_sorted,
)
from projections.peer_ledger import LedgerDamaged
from projections.peer_records import LAYOUT, Flags, Ints, Records

BLOCKS_AT_ONCE: Final = 16
ORDER, SORTED = "order", "sorted"

_BLOCKS: Final = """
SELECT kind, number, digest, body FROM ledger.blocks
WHERE day = %(day)s AND segment = %(segment)s AND kind = %(kind)s AND number > %(after)s
    AND (%(numbers)s::int[] IS NULL OR number = ANY(%(numbers)s::int[]))
    AND (%(holding)s::bigint IS NULL OR %(holding)s::bigint BETWEEN low AND high)
ORDER BY number LIMIT %(limit)s
"""


class LedgerSealed(Exception):
    """Days of the ledger stand as sealed blocks, and no keys were given to open them."""


class StoredSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `ledger.segments`; `closed` when it is the day's record, else it is a draft.

    `retired` when its blocks went by the operator's `ledgerKeepDays`.
    """

    day: date
    number: int
    first_batch: int
    last_batch: int
    records: int
    digest: bytes
    closed: bool
    retired: bool

    def damaged(self, reason: str) -> LedgerDamaged:
        return LedgerDamaged(self.first_batch, f"{reason}, in {self.day} segment {self.number}")


class StoredBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `ledger.blocks`."""

    kind: str
    number: int
    digest: bytes
    body: bytes


def list_segments(conn: Connection) -> list[StoredSegment]:
    """All segments by their first batch."""
    cursor = conn.cursor(row_factory=class_row(StoredSegment))
    return cursor.execute(
        "SELECT s.day, s.number, s.first_batch, s.last_batch, s.records, s.digest,"
        " c.seq IS NOT NULL AS closed, c.retired_at IS NOT NULL AS retired"
        " FROM ledger.segments s LEFT JOIN ledger.closings c"
        " ON c.day = s.day AND s.number BETWEEN c.first_segment AND c.last_segment"
        " ORDER BY s.first_batch, s.day, s.number"
    ).fetchall()


def draft_segment(
    conn: Connection, sealer: Sealer, *, day: date, number: int, ordered: Ordered, packed: Segment
) -> None:
    """Keep a packed segment as the day's draft `number`, in a transaction of its own."""
    named = [(ORDER, block) for block in packed.order]
    named += [(SORTED, block) for block in packed.sorted]
    places = [*range(1, len(packed.order) + 1), *range(1, len(packed.sorted) + 1)]
    bodies = [
        sealer.seal(block.body, block_place(day, number, kind, place))
        for (kind, block), place in zip(named, places, strict=True)
    ]
    with conn.transaction():
        row = (
            tuples(conn)
            .execute(
                "SELECT ledger.draft_segment(%s, %s::bigint, %s::bigint, %s::text[], %s::int[],"
                " %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[])",
                [
                    day,
                    int(ordered.seqs[0]),
                    int(ordered.seqs[-1]),
                    [kind for kind, _ in named],
                    [block.records for _, block in named],
                    [block.low for _, block in named],
                    [block.high for _, block in named],
                    [block.at_min for _, block in named],
                    [block.at_max for _, block in named],
                    [block.digest for _, block in named],
                    bodies,
                ],
            )
            .fetchone()
        )
        if row is None or row[0] != number:
            raise RuntimeError(f"another compaction keeps segments of {day}")


def read_blocks(
    conn: Connection,
    segment: StoredSegment,
    kind: str,
    *,
    numbers: Sequence[int] | None = None,
    holding: int | None = None,
) -> Iterator[StoredBlock]:
    """Blocks of one kind in order; when given, only these `numbers`, or whose bounds hold one."""
    wanted = {
        "day": segment.day,
        "segment": segment.number,
        "kind": kind,
        "numbers": None if numbers is None else list(numbers),
        "holding": holding,
        "limit": BLOCKS_AT_ONCE,
    }
    after = 0
    while blocks := (
        conn.cursor(row_factory=class_row(StoredBlock))
        .execute(_BLOCKS, {**wanted, "after": after}, binary=True)
        .fetchall()
    ):
        yield from blocks
        after = blocks[-1].number


class SegmentOpener:
    """Opens the blocks of one segment; every fault is a `LedgerDamaged` that names the block."""

    def __init__(self, sealer: Sealer, segment: StoredSegment) -> None:
        self._sealer = sealer
        self._segment = segment

    def order(self, block: StoredBlock) -> tuple[Ints, Ints, Ints]:
        try:
            return unpack_order(self._open(block), block.digest)
        except BlockUnreadable as unreadable:
            raise self._damaged(block, str(unreadable)) from None

    def sorted(self, block: StoredBlock) -> tuple[Records, Ints]:
        try:
            return unpack_sorted(self._open(block), block.digest)
        except BlockUnreadable as unreadable:
            raise self._damaged(block, str(unreadable)) from None

    def _open(self, block: StoredBlock) -> bytes:
        place = block_place(self._segment.day, self._segment.number, block.kind, block.number)
        try:
            return self._sealer.open(block.body, place)
        except SealBroken as broken:
            raise self._damaged(block, str(broken)) from None

    def _damaged(self, block: StoredBlock, reason: str) -> LedgerDamaged:
        return self._segment.damaged(f"{block.kind} block {block.number}: {reason}")


def read_segment(conn: Connection, sealer: Sealer, segment: StoredSegment) -> Ordered:
    """All records of a segment in the ledger's order; raises `LedgerDamaged`."""
    opener = SegmentOpener(sealer, segment)
    digests, order = [], []
    for block in read_blocks(conn, segment, ORDER):
        digests.append(block.digest)
        order.append(opener.order(block))
    if not order or sum(len(part[0]) for part in order) != segment.records:
        raise segment.damaged("order blocks are missing or added")
    seqs, ordinals, at = (np.concatenate(column) for column in zip(*order, strict=True))
    records = np.empty(segment.records, LAYOUT)
    filled: Flags = np.zeros(segment.records, np.bool_)
    for block in read_blocks(conn, segment, SORTED):
        digests.append(block.digest)
        found, ranks = opener.sorted(block)
        if len(ranks) and not (ranks.min() >= 0 and ranks.max() < segment.records):
            raise segment.damaged(f"sorted block {block.number}: its ranks lie outside")
        records[ranks] = found
        filled[ranks] = True
    if not filled.all():
        raise segment.damaged("sorted blocks are missing")
    records["at"] = at
    if sha256(b"".join(digests)).digest() != segment.digest:
        raise segment.damaged("its blocks do not match its digest")
    return Ordered(seqs, ordinals, records)
