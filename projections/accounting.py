"""Accounting tables and where they stand; written by `accounting_rows`, queries in `holdings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from psycopg import sql

from domain.kernel import Recorded
from projections.engine import Connection, Cursor, is_installed, tuples, use_schema

SCHEMA: Final = "accounting_1"
BUCKETS: Final = 64
"""Holdings are written in so many parts, by account number: one part at a time keeps a step short."""

# Keys are 32 unsigned bits, so bigint. Times are microseconds since 1970 UTC; completed_at 0
# means never. Rows change often and keep their place: fillfactor, and no index on a sum.
# Each part of the tables is what the ledger says up to its own batch: totals and flags to
# ledger_seq, live counts to live_seq, holdings of account n to holdings_seq[n % 64].
# Snapshots hold the fold's state, sealed: they shorten a start and decide nothing.
DDL: Final = """
CREATE TABLE position (
    one boolean PRIMARY KEY CHECK (one), ledger_seq bigint NOT NULL, log_position bigint NOT NULL,
    live_seq bigint NOT NULL, holdings_seq bigint[] NOT NULL
);
INSERT INTO position VALUES (true, 0, 0, 0, array_fill(0::bigint, ARRAY[64]));
CREATE TABLE snapshots (
    ledger_seq bigint PRIMARY KEY, log_position bigint NOT NULL, ledger_hash bytea NOT NULL,
    fold text NOT NULL, policy bytea NOT NULL, digest bytea NOT NULL, taken_at timestamptz NOT NULL
);
CREATE TABLE snapshot_pieces (
    ledger_seq bigint NOT NULL REFERENCES snapshots ON DELETE CASCADE, number integer NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL, PRIMARY KEY (ledger_seq, number)
);
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
    """A ledger batch, and the log position that was folded before it."""

    ledger_seq: int
    log_position: int


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of the tables: totals with flags, live counts, holdings by bucket of the account."""

    totals: bool = False
    live: bool = False
    holdings: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.totals or self.live or bool(self.holdings)


WHOLE: Final = Parts(totals=True, live=True, holdings=tuple(range(BUCKETS)))


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger batch each part of the tables stands at; `holdings_seq` by bucket."""

    ledger_seq: int
    log_position: int
    live_seq: int
    holdings_seq: tuple[int, ...]

    @property
    def stops(self) -> list[int]:
        """Every batch some part stands at, in order."""
        return sorted({self.ledger_seq, self.live_seq, *self.holdings_seq})

    def parts_at(self, seq: int) -> Parts:
        """The parts that stand at this batch."""
        return Parts(
            totals=self.ledger_seq == seq,
            live=self.live_seq == seq,
            holdings=tuple(n for n, at in enumerate(self.holdings_seq) if at == seq),
        )


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


def read_standing(conn: Connection, schema: str = SCHEMA) -> Standing:
    """Where each part stands; raises `psycopg.errors.UndefinedTable` when never installed."""
    row = (
        tuples(conn)
        .execute(
            sql.SQL(
                "SELECT ledger_seq, log_position, live_seq, holdings_seq FROM {}.position"
            ).format(sql.Identifier(schema))
        )
        .fetchone()
    )
    if row is None:
        raise RuntimeError(f"{schema}.position has lost its row")
    return Standing(
        ledger_seq=row[0], log_position=row[1], live_seq=row[2], holdings_seq=tuple(row[3])
    )


def read_position(conn: Connection, schema: str = SCHEMA) -> Position:
    """Where the totals stand; raises `psycopg.errors.UndefinedTable` when never installed."""
    standing = read_standing(conn, schema)
    return Position(ledger_seq=standing.ledger_seq, log_position=standing.log_position)
