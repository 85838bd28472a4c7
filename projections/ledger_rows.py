"""Rows of the peer ledger: written by binary COPY, read back as whole buffers in heap order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from psycopg import sql

from domain.credit import MICROSECONDS
from projections.binary_rows import RowFormat, RowsUnreadable
from projections.engine import Connection, tuples
from projections.ledger_blocks import Ordered
from projections.peer_records import LAYOUT, Ints, Records

EPOCH: Final = date(1970, 1, 1)
DAY: Final = 86_400 * MICROSECONDS
PAGES_AT_ONCE: Final = 500
"""About 26,000 records and 3 MB an answer; larger answers cost more a record (measured)."""

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
_PLACES: Final = (("batch", ">i8"), ("ord", ">i4"))
_ROWS: Final = RowFormat([*_PLACES, *((name, kind) for name, kind, _ in _COLUMNS)])
_NAMES: Final = sql.SQL(", ").join(map(sql.Identifier, _ROWS.names))
_PACKED: Final[np.dtype[Any]] = np.dtype([*_PLACES, *((name, kind) for name, kind, _ in _COLUMNS)])
_SENDS: Final = {">i8": "int8send({})", ">i4": "int4send({})", ">i2": "int2send({})"}
# One buffer made by the server: a row each through COPY costs the client three times as much.
_SEND: Final = sql.SQL("||").join(
    sql.SQL(_SENDS.get(kind, "{}")).format(sql.Identifier(name))
    for name, kind in (*_PLACES, *((name, kind) for name, kind, _ in _COLUMNS))
)


def copy_day(conn: Connection, records: Records, day: int, *, seq: int, ordinals: Ints) -> None:
    """Write records of one day (counted from 1970) of a batch, in the caller's transaction."""
    cursor = tuples(conn)
    part = cursor.execute("SELECT ledger.ensure_day(%s)", [EPOCH + timedelta(days=day)]).fetchone()
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


def row_days(conn: Connection) -> list[date]:
    """The days that still stand as rows, oldest first."""
    rows = (
        tuples(conn)
        .execute(
            "SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i"
            " JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'ledger.records'::regclass ORDER BY 1"
        )
        .fetchall()
    )
    return [row[0] for row in rows]


def _part(day: date) -> sql.Identifier:
    return sql.Identifier("ledger", f"records_{day:%Y%m%d}")


def rows_of_batches(conn: Connection, days: Sequence[date], first: int, last: int) -> Ordered:
    """The rows of these batches, wherever they lie; raises `RowsUnreadable`."""
    pieces = [
        _select(conn, day, sql.SQL("batch BETWEEN {} AND {}").format(first, last)) for day in days
    ]
    return in_order(pieces)


def in_order(pieces: Sequence[Ordered]) -> Ordered:
    """All pieces as one, by batch and ordinal."""
    if not pieces:
        return Ordered(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, LAYOUT))
    if len(pieces) == 1:
        whole = pieces[0]
    else:
        whole = Ordered(
            np.concatenate([piece.seqs for piece in pieces]),
            np.concatenate([piece.ordinals for piece in pieces]),
            np.concatenate([piece.records for piece in pieces]),
        )
    seqs, ordinals = whole.seqs, whole.ordinals
    later = (seqs[1:] > seqs[:-1]) | ((seqs[1:] == seqs[:-1]) & (ordinals[1:] > ordinals[:-1]))
    if later.all():
        return whole
    # One writer appends in this order, but a heap promises none.
    order = np.lexsort((ordinals, seqs))
    return whole.only(order)


class RowScan:
    """The rows of one day from front to back, a stretch of pages at a time.

    A range of pages needs no index, so a read from anywhere costs what it gives. Rows come
    almost in the order of batches: two writers may fill each other's pages.
    """

    def __init__(self, conn: Connection, day: date, after_seq: int) -> None:
        self._conn = conn
        self.day = day
        self._page = self._first_page(after_seq) if after_seq else 0

    def stretches(self) -> Iterator[Ordered]:
        """Raises `RowsUnreadable` for rows no archiver writes."""
        while self._page < self._pages():
            found = self._read(self._page, self._page + PAGES_AT_ONCE)
            self._page += PAGES_AT_ONCE
            if len(found.seqs):
                yield found

    def _read(self, first: int, end: int) -> Ordered:
        return _select(self._conn, self.day, _pages(first, end))

    def _first_page(self, after_seq: int) -> int:
        """A page before which all rows are of batches up to `after_seq`, by halving."""
        low, high = 0, self._pages()
        query = sql.SQL("SELECT max(batch) FROM {} WHERE {}")
        while high - low > PAGES_AT_ONCE:
            middle = (low + high) // 2
            where = _pages(middle, middle + 20)
            row = tuples(self._conn).execute(query.format(_part(self.day), where)).fetchone()
            if row and row[0] is not None and row[0] <= after_seq:
                low = middle
            else:
                high = middle
        return max(0, low - PAGES_AT_ONCE)

    def _pages(self) -> int:
        query = sql.SQL("SELECT pg_relation_size({}) / current_setting('block_size')::int")
        name = sql.Literal(f"ledger.records_{self.day:%Y%m%d}")
        row = tuples(self._conn).execute(query.format(name)).fetchone()
        return int(row[0]) if row else 0


def _pages(first: int, end: int) -> sql.Composed:
    return sql.SQL("ctid >= {}::tid AND ctid < {}::tid").format(f"({first},0)", f"({end},0)")


def _select(conn: Connection, day: date, where: sql.Composed) -> Ordered:
    return _packed(conn, sql.SQL("{} WHERE {}").format(_part(day), where))


def _packed(conn: Connection, source: sql.Composed) -> Ordered:
    query = sql.SQL("SELECT string_agg({}, '') FROM {}").format(_SEND, source)
    cursor = conn.cursor(binary=True)
    cursor.execute(query)
    result = cursor.pgresult
    packed = (result.get_value(0, 0) if result else None) or b""
    if len(packed) % _PACKED.itemsize:
        raise RowsUnreadable("rows of another width")
    rows = np.frombuffer(packed, _PACKED)
    records = np.empty(len(rows), LAYOUT)
    for name, _, field in _COLUMNS:
        records[field] = rows[name]
    return Ordered(rows["batch"].astype(np.int64), rows["ord"].astype(np.int64), records)


def matching_rows(
    conn: Connection, day: date, *, column: str, number: int, after: tuple[int, int], limit: int
) -> Ordered:
    """A day's rows of one `account` or `torrent` behind a batch and ordinal, in that order.

    The whole day is read: rows have no index by account. Raises `RowsUnreadable`.
    """
    inner = sql.SQL(
        "(SELECT * FROM {} WHERE {} = {} AND (batch, ord) > ({}, {}) ORDER BY batch, ord LIMIT {})"
        " AS found"
    ).format(
        _part(day),
        sql.Identifier(column),
        # The column is signed; the number has 32 unsigned bits.
        np.uint32(number).view(np.int32).item(),
        *after,
        limit,
    )
    return in_order([_packed(conn, inner)])
