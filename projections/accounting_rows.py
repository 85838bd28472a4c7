"""Rows of the accounting tables: what changed in the fold, written as absolute values."""

from __future__ import annotations

from typing import Final

import numpy as np

from domain.credit import MICROSECONDS
from projections.accounting import BUCKETS, SCHEMA, WHOLE, Parts, Position
from projections.binary_rows import BigintArray, register_arrays
from projections.credit_fold import CreditFold
from projections.credit_slots import SlotTable
from projections.engine import Connection, Cursor, tuples, use_schema
from projections.peer_records import Ints
from projections.torrent_listing import write_counts

_SUM_COLUMNS: Final = (
    "uploaded",
    "downloaded",
    "raw_uploaded",
    "raw_downloaded",
    "seed_seconds",
    "snatches",
)
_ACCOUNT_SHIFT: Final = np.uint64(32)
_NUMBER: Final = np.uint64(0xFFFFFFFF)


def count_totals(fold: CreditFold) -> int:
    """How many rows of totals and flags wait to be written."""
    return fold.members.count_changed() + fold.torrents.count_changed() + len(fold.withheld)


def count_live(fold: CreditFold) -> int:
    """How many live counts wait to be written."""
    return fold.live.count_changed()


def count_holdings(fold: CreditFold) -> Ints:
    """How many holdings wait to be written, by bucket."""
    buckets = _buckets(fold.holdings, fold.holdings.changed())
    counts: Ints = np.bincount(buckets, minlength=BUCKETS)
    return counts


def flush(
    conn: Connection,
    fold: CreditFold,
    position: Position,
    schema: str = SCHEMA,
    parts: Parts = WHOLE,
) -> None:
    """Sweep `fold`, write what changed in these parts, and that they stand at `position` now.

    In the caller's transaction. Values are absolute and the fold is
    their only writer, so writing them twice is harmless. Call `settle` once it is committed.
    """
    fold.sweep()
    register_arrays(conn.adapters)
    cursor = tuples(conn)
    use_schema(cursor, schema)
    if parts.totals:
        _flush_sums(cursor, fold.members, _UPSERT_MEMBERS)
        _flush_sums(cursor, fold.torrents, _UPSERT_TORRENTS)
        _flush_flags(cursor, fold)
    if parts.live:
        _flush_live(cursor, fold.live)
    _flush_holdings(cursor, fold.holdings, parts)
    if schema == SCHEMA:
        _flush_figures(cursor, fold, parts)
    cursor.execute(
        _MOVE,
        {
            "totals": parts.totals,
            "live": parts.live,
            "buckets": [bucket + 1 for bucket in parts.holdings],
            "seq": position.ledger_seq,
            "log_position": position.log_position,
        },
    )


def settle(fold: CreditFold, parts: Parts = WHOLE) -> None:
    """Take note that the tables hold what the fold knows of these parts."""
    if parts.totals:
        fold.members.clean()
        fold.torrents.clean()
        fold.withheld.clear()
    if parts.live:
        fold.live.clean()
    fold.holdings.clean(_changed_holdings(fold.holdings, parts))


_MOVE: Final = """
UPDATE position SET
    ledger_seq = CASE WHEN %(totals)s THEN %(seq)s ELSE ledger_seq END,
    log_position = CASE WHEN %(totals)s THEN %(log_position)s ELSE log_position END,
    live_seq = CASE WHEN %(live)s THEN %(seq)s ELSE live_seq END,
    holdings_seq = (
        SELECT array_agg(
            CASE WHEN bucket = ANY(%(buckets)s::int[]) THEN %(seq)s ELSE seq END ORDER BY bucket
        )
        FROM unnest(holdings_seq) WITH ORDINALITY AS held (seq, bucket)
    )
"""
_UPSERT_MEMBERS: Final = """
INSERT INTO member_totals SELECT * FROM unnest(
    %(key)b, %(uploaded)b, %(downloaded)b, %(raw_uploaded)b, %(raw_downloaded)b,
    %(seed_seconds)b, %(snatches)b)
ON CONFLICT (account) DO UPDATE SET
    uploaded = excluded.uploaded, downloaded = excluded.downloaded,
    raw_uploaded = excluded.raw_uploaded, raw_downloaded = excluded.raw_downloaded,
    seed_seconds = excluded.seed_seconds, snatches = excluded.snatches
"""
_UPSERT_TORRENTS: Final = """
INSERT INTO torrent_totals SELECT * FROM unnest(
    %(key)b, %(uploaded)b, %(downloaded)b, %(raw_uploaded)b, %(raw_downloaded)b,
    %(seed_seconds)b, %(snatches)b)
ON CONFLICT (torrent) DO UPDATE SET
    uploaded = excluded.uploaded, downloaded = excluded.downloaded,
    raw_uploaded = excluded.raw_uploaded, raw_downloaded = excluded.raw_downloaded,
    seed_seconds = excluded.seed_seconds, snatches = excluded.snatches
"""
_UPSERT_LIVE: Final = """
INSERT INTO torrent_live SELECT * FROM unnest(%(torrent)b, %(seeders)b, %(leechers)b)
ON CONFLICT (torrent) DO UPDATE SET seeders = excluded.seeders, leechers = excluded.leechers
"""
_UPSERT_HOLDINGS: Final = """
INSERT INTO holdings SELECT * FROM unnest(
    %(account)b, %(torrent)b, %(uploaded)b, %(downloaded)b, %(raw_uploaded)b, %(raw_downloaded)b,
    %(seed_seconds)b, %(snatches)b, %(first_at)b, %(last_at)b, %(completed_at)b, %(left)b,
    %(seeding)b, %(leeching)b)
ON CONFLICT (account, torrent) DO UPDATE SET
    uploaded = excluded.uploaded, downloaded = excluded.downloaded,
    raw_uploaded = excluded.raw_uploaded, raw_downloaded = excluded.raw_downloaded,
    seed_seconds = excluded.seed_seconds, snatches = excluded.snatches,
    last_at = excluded.last_at, completed_at = excluded.completed_at,
    bytes_left = excluded.bytes_left, seeding = excluded.seeding, leeching = excluded.leeching
"""
_INSERT_FLAGS: Final = """
INSERT INTO flags SELECT batch, ord, 'rate', at, account, torrent, uploaded, downloaded
FROM unnest(%(batch)b, %(ordinal)b, %(at)b, %(account)b, %(torrent)b, %(uploaded)b, %(downloaded)b)
    AS withheld (batch, ord, at, account, torrent, uploaded, downloaded)
ON CONFLICT DO NOTHING
"""


def _sorted_changes(table: SlotTable) -> tuple[Ints, Ints]:
    """Changed slots and their first key word, in key order: so that locks and pages come in order."""
    slots = table.changed()
    keys = table.keys(0)[slots]
    order = np.argsort(keys)
    return slots[order], keys[order].view(np.int64)


def _sum_arrays(table: SlotTable, slots: Ints) -> dict[str, BigintArray]:
    arrays = {
        name: BigintArray(table[name][slots]) for name in _SUM_COLUMNS if name != "seed_seconds"
    }
    return arrays | {"seed_seconds": BigintArray(table["seed_time"][slots] // MICROSECONDS)}


def _flush_sums(cursor: Cursor, table: SlotTable, statement: str) -> None:
    slots, keys = _sorted_changes(table)
    if len(slots):
        cursor.execute(statement.encode(), {"key": BigintArray(keys)} | _sum_arrays(table, slots))


def _flush_live(cursor: Cursor, table: SlotTable) -> None:
    slots, keys = _sorted_changes(table)
    if len(slots):
        columns = {name: BigintArray(table[name][slots]) for name in ("seeders", "leechers")}
        cursor.execute(_UPSERT_LIVE, {"torrent": BigintArray(keys)} | columns)


def _flush_figures(cursor: Cursor, fold: CreditFold, parts: Parts) -> None:
    """Let the catalogue sort by what is written here."""
    live: dict[str, BigintArray] = {}
    totals: dict[str, BigintArray] = {}
    if parts.live:
        slots, keys = _sorted_changes(fold.live)
        if len(slots):
            live = {name: BigintArray(fold.live[name][slots]) for name in ("seeders", "leechers")}
            live["number"] = BigintArray(keys)
    if parts.totals:
        slots, keys = _sorted_changes(fold.torrents)
        if len(slots):
            totals = {
                "number": BigintArray(keys),
                "completed": BigintArray(fold.torrents["snatches"][slots]),
            }
    write_counts(cursor, live=live, totals=totals)


def _buckets(table: SlotTable, slots: Ints) -> Ints:
    accounts = table.keys(0)[slots] >> _ACCOUNT_SHIFT
    buckets: Ints = (accounts % np.uint64(BUCKETS)).astype(np.int64)
    return buckets


def _changed_holdings(table: SlotTable, parts: Parts) -> Ints:
    """Changed slots of these buckets, in key order."""
    wanted = np.zeros(BUCKETS, np.bool_)
    wanted[list(parts.holdings)] = True
    slots = table.changed()
    slots = slots[wanted[_buckets(table, slots)]]
    ordered: Ints = slots[np.argsort(table.keys(0)[slots])]
    return ordered


def _flush_holdings(cursor: Cursor, table: SlotTable, parts: Parts) -> None:
    slots = _changed_holdings(table, parts)
    if not len(slots):
        return
    pairs = table.keys(0)[slots]
    names = ("first_at", "last_at", "completed_at", "left", "seeding", "leeching")
    cursor.execute(
        _UPSERT_HOLDINGS,
        {
            "account": BigintArray((pairs >> _ACCOUNT_SHIFT).astype(np.int64)),
            "torrent": BigintArray((pairs & _NUMBER).astype(np.int64)),
        }
        | _sum_arrays(table, slots)
        | {name: BigintArray(table[name][slots]) for name in names},
    )


def _flush_flags(cursor: Cursor, fold: CreditFold) -> None:
    if not fold.withheld:
        return
    names = ("batch", "ordinal", "at", "account", "torrent", "uploaded", "downloaded")
    columns = {
        name: BigintArray(np.array([getattr(flag, name) for flag in fold.withheld], np.int64))
        for name in names
    }
    cursor.execute(_INSERT_FLAGS, columns)
