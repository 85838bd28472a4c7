"""Torrents with the same content: which they are, and how many members seed several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import class_row

from domain.kernel import Recorded
from domain.torrents import TorrentUploaded, TorrentWithdrawn
from projections.engine import Connection, Cursor
from projections.torrent_browse import Viewer

DDL = """
CREATE TABLE contents (
    torrent uuid PRIMARY KEY,
    signature text COLLATE "C" NOT NULL,
    listed bigint NOT NULL
);
CREATE INDEX ON contents (signature, listed);
"""
LISTED: Final = 50
"""Siblings a page shows and a sum looks at, as in the reference."""
LOOKED_AT: Final = 1_000
"""Siblings that are looked through for visible ones; so many of one content are abuse."""


LONGEST: Final = "2s"
"""No sums may keep the database longer than this."""


class FiguresGivenUp(Exception):
    """The sums over a swarm took longer than `LONGEST`."""


class SiblingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A torrent with the same files. `size` is bytes."""

    id: UUID
    info_hash: str
    name: str
    size: int
    status: str
    created_at: datetime
    category: UUID | None
    uploader: UUID
    uploader_name: str | None


class CrossSeedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How far a torrent's swarm is also in the swarms of its siblings.

    `seeders` and `leechers` are clients of the torrent whose members are active in a sibling;
    `shared` is what these members uploaded of it, `uploaded` what all did, in credited bytes.
    """

    siblings: int
    seeders: int
    leechers: int
    shared: int
    uploaded: int


class CrossSeedsProjection:
    """The signature of every torrent's content, until it is withdrawn."""

    name = "cross_seeds"
    version = 1
    topics: frozenset[str] | None = frozenset({TorrentUploaded.TOPIC, TorrentWithdrawn.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"contents": ("torrent",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Insert what was uploaded and delete what was withdrawn; no torrent returns."""
        rows = [
            (recorded.envelope.originator_id, fact.content_signature, recorded.position)
            for recorded in batch
            if isinstance(fact := recorded.envelope.fact, TorrentUploaded)
            # A content nobody could read is like no other.
            and fact.content_signature
        ]
        if rows:
            cursor.execute(
                "INSERT INTO contents (torrent, signature, listed)"
                " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[])",
                [list(column) for column in zip(*rows, strict=True)],
            )
        withdrawn = [
            recorded.envelope.originator_id
            for recorded in batch
            if isinstance(recorded.envelope.fact, TorrentWithdrawn)
        ]
        if withdrawn:
            cursor.execute("DELETE FROM contents WHERE torrent = ANY(%s::uuid[])", [withdrawn])


_SIBLINGS: Final = """
    SELECT t.id, t.number, t.info_hash, t.name, t.size, t.status, t.created_at, t.category,
           t.uploader, near.listed
    FROM (SELECT c.torrent, c.listed FROM cross_seeds_1.contents own
          JOIN cross_seeds_1.contents c ON c.signature = own.signature
          WHERE own.torrent = %(torrent)s AND c.torrent <> own.torrent
          ORDER BY c.listed DESC LIMIT %(looked_at)s) near
    JOIN torrents_4.torrents t ON t.id = near.torrent
    WHERE NOT t.withdrawn AND (t.status = 'accepted' OR %(all)s OR t.uploader = %(viewer)s)
      AND (t.category IS NULL OR t.category <> ALL(%(without)s::uuid[]))
"""


def _values(torrent: UUID, viewer: Viewer, *, without: Sequence[UUID] = ()) -> dict[str, object]:
    return {
        "without": list(without),
        "torrent": torrent,
        "all": viewer.is_staff,
        "viewer": viewer.account,
        "looked_at": LOOKED_AT,
        "listed": LISTED,
    }


def list_siblings(
    conn: Connection, torrent: UUID, viewer: Viewer, *, without: Sequence[UUID] = ()
) -> list[SiblingRow]:
    """The newest 50 torrents of the same content that `viewer` may see, `without` categories."""
    return (
        conn.cursor(row_factory=class_row(SiblingRow))
        .execute(
            f"""
            SELECT s.id, s.info_hash, s.name, s.size, s.status, s.created_at, s.category,
                   s.uploader, u.username AS uploader_name
            FROM ({_SIBLINGS}) s LEFT JOIN users_1.accounts u ON u.id = s.uploader
            ORDER BY s.listed DESC LIMIT %(listed)s
            """,
            _values(torrent, viewer, without=without),
        )
        .fetchall()
    )


def find_cross_seed_figures(conn: Connection, torrent: UUID) -> CrossSeedFigures:
    """Sums over the torrent's swarm; only accepted siblings count, whoever asks.

    In the caller's transaction, whose settings it changes. Raises `FiguresGivenUp`.
    """
    conn.execute("SELECT set_config('statement_timeout', %s, true)", [LONGEST])
    try:
        return _sum_figures(conn, torrent)
    except psycopg.errors.QueryCanceled:
        raise FiguresGivenUp from None


def _sum_figures(conn: Connection, torrent: UUID) -> CrossSeedFigures:
    row = (
        conn.cursor(row_factory=class_row(CrossSeedFigures))
        .execute(
            f"""
            WITH siblings AS (SELECT number FROM ({_SIBLINGS}) s ORDER BY listed DESC LIMIT %(listed)s),
            own AS (SELECT number FROM torrents_4.torrents WHERE id = %(torrent)s),
            active AS MATERIALIZED (
                SELECT DISTINCT account FROM accounting_1.holdings
                WHERE torrent = ANY(ARRAY(SELECT number FROM siblings)) AND seeding + leeching > 0
            ),
            shared AS (
                SELECT coalesce(sum(h.seeding), 0)::bigint AS seeders,
                       coalesce(sum(h.leeching), 0)::bigint AS leechers,
                       coalesce(sum(h.uploaded), 0)::bigint AS shared
                FROM active JOIN accounting_1.holdings h USING (account)
                WHERE h.torrent = (SELECT number FROM own)
            )
            SELECT (SELECT count(*) FROM siblings) AS siblings, shared.*,
                   coalesce((SELECT t.uploaded FROM accounting_1.torrent_totals t
                             JOIN own ON own.number = t.torrent), 0) AS uploaded
            FROM shared
            """,
            _values(torrent, Viewer()),
        )
        .fetchone()
    )
    return row or CrossSeedFigures(siblings=0, seeders=0, leechers=0, shared=0, uploaded=0)
