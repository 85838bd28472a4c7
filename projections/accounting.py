"""Accounting tables: what the credit fold knows, flushed as absolute values; queries: `holdings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from psycopg import sql
from psycopg.rows import class_row

from domain.credit import MICROSECONDS
from domain.kernel import Recorded
from projections.binary_rows import BigintArray, register_arrays
from projections.credit_fold import CreditFold
from projections.credit_slots import SlotTable
from projections.engine import Connection, Cursor, is_installed, tuples, use_schema
from projections.peer_records import Ints

SCHEMA: Final = "accounting_1"
_SUM_COLUMNS: Final = (
    "uploaded",
    "downloaded",
    "raw_uploaded",
    "raw_downloaded",
    "seed_seconds",
    "snatches",
)

# Keys are 32 unsigned bits, so bigint. Times are microseconds since 1970 UTC; completed_at 0
# means never. Rows change often and keep their place: fillfactor, and no index on a sum.
DDL: Final = """
CREATE TABLE position (
    one boolean PRIMARY KEY CHECK (one), ledger_seq bigint NOT NULL, log_position bigint NOT NULL
);
INSERT INTO position VALUES (true, 0, 0);
CREATE TABLE member_totals (
    account bigint PRIMARY KEY, uploaded bigint NOT NULL, downloaded bigint NOT NULL,
    raw_uploaded bigint NOT NULL, raw_downloaded bigint NOT NULL,
    seed_seconds bigint NOT NULL, snatches bigint NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE torrent_totals (
    torrent bigint PRIMARY KEY, uploaded bigint NOT NULL, downloaded bigint NOT NULL,
    raw_uploaded bigint NOT NULL, raw_downloaded bigint NOT NULL,
    seed_seconds bigint NOT NULL, snatches bigint NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE torrent_live (
    torrent bigint PRIMARY KEY, seeders bigint NOT NULL, leechers bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE holdings (
    account bigint NOT NULL, torrent bigint NOT NULL,
    uploaded bigint NOT NULL, downloaded bigint NOT NULL,
    raw_uploaded bigint NOT NULL, raw_downloaded bigint NOT NULL,
    seed_seconds bigint NOT NULL, snatches bigint NOT NULL,
    first_at bigint NOT NULL, last_at bigint NOT NULL, completed_at bigint NOT NULL,
    bytes_left bigint NOT NULL, seeding bigint NOT NULL, leeching bigint NOT NULL,
    PRIMARY KEY (account, torrent)
) WITH (fillfactor = 70);
CREATE INDEX holdings_torrent ON holdings (torrent, account);
CREATE TABLE flags (
    batch bigint NOT NULL, ord integer NOT NULL, kind text COLLATE "C" NOT NULL,
    at bigint NOT NULL, account bigint NOT NULL, torrent bigint NOT NULL,
    uploaded bigint NOT NULL, downloaded bigint NOT NULL,
    PRIMARY KEY (batch, ord, kind)
);
CREATE INDEX flags_account ON flags (account, batch);
"""


class Accounting:
    """The accounting schema as `projections.digest` sees it; folded from the ledger, not the log."""

    name = "accounting"
    version = 1
    topics: frozenset[str] | None = frozenset()
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "member_totals": ("account",),
        "torrent_totals": ("torrent",),
        "torrent_live": ("torrent",),
        "holdings": ("account", "torrent"),
        "flags": ("batch", "ord", "kind"),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:  # noqa: ARG002
        """Never called with a batch: no topic is declared, and the engine does not list this."""
        raise TypeError("accounting is folded from the peer ledger by the credit worker")


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger batch and the log position the tables stand at."""

    ledger_seq: int
    log_position: int


def install(conn: Connection, schema: str = SCHEMA) -> bool:
    """Create the schema with its tables at position 0; False when it is there already."""
    with conn.transaction():
        cursor = tuples(conn)
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 4712))", [schema])
        if is_installed(conn, schema):
            return False
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        use_schema(cursor, schema)
        cursor.execute(DDL.encode())
    return True


def read_position(conn: Connection, schema: str = SCHEMA) -> Position:
    """Where the tables stand; raises `psycopg.errors.UndefinedTable` when never installed."""
    cursor = conn.cursor(row_factory=class_row(Position))
    row = cursor.execute(
        sql.SQL("SELECT ledger_seq, log_position FROM {}.position").format(sql.Identifier(schema))
    ).fetchone()
    return row or Position(ledger_seq=0, log_position=0)


def changed_rows(fold: CreditFold) -> int:
    """How many rows `flush` would write."""
    tables = (fold.members, fold.torrents, fold.live, fold.holdings)
    return sum(len(table.changed()) for table in tables) + len(fold.withheld)


def flush(conn: Connection, fold: CreditFold, position: Position, schema: str = SCHEMA) -> None:
    """Sweep `fold`, write what changed and the position, in the caller's transaction.

    Values are absolute and the fold is their only writer, so writing them twice is harmless.
    Call `settle` once the transaction is committed.
    """
    fold.sweep()
    register_arrays(conn.adapters)
    cursor = tuples(conn)
    use_schema(cursor, schema)
    _flush_sums(cursor, fold.members, _UPSERT_MEMBERS)
    _flush_sums(cursor, fold.torrents, _UPSERT_TORRENTS)
    _flush_live(cursor, fold.live)
    _flush_holdings(cursor, fold.holdings)
    _flush_flags(cursor, fold)
    cursor.execute(
        "UPDATE position SET ledger_seq = %s, log_position = %s",
        [position.ledger_seq, position.log_position],
    )


def settle(fold: CreditFold) -> None:
    """Take note that everything `flush` wrote is committed."""
    for table in (fold.members, fold.torrents, fold.live, fold.holdings):
        table.clean()
    fold.withheld.clear()


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


def _flush_holdings(cursor: Cursor, table: SlotTable) -> None:
    slots, _ = _sorted_changes(table)
    if not len(slots):
        return
    pairs = table.keys(0)[slots]
    names = ("first_at", "last_at", "completed_at", "left", "seeding", "leeching")
    cursor.execute(
        _UPSERT_HOLDINGS,
        {
            "account": BigintArray((pairs >> np.uint64(32)).astype(np.int64)),
            "torrent": BigintArray((pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)),
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
