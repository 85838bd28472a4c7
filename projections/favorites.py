"""Members' favourites: tables, fold and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import tuple_row

from domain.favorites import TorrentFavorited, TorrentUnfavorited
from domain.kernel import Recorded
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE favorites (
    member uuid NOT NULL,
    torrent uuid NOT NULL,
    listed bigint NOT NULL,
    favorited_at timestamptz NOT NULL,
    PRIMARY KEY (member, torrent)
);
CREATE INDEX ON favorites (member, listed);
CREATE TABLE member_favorites (
    member uuid PRIMARY KEY,
    amount bigint NOT NULL
) WITH (fillfactor = 90);
"""
# listed: the log position of the fact, by which "recent" is ordered and a cursor walks on.


class FavoritesProjection:
    """Which torrents are whose favourites now, and how many each member has."""

    name = "favorites"
    version = 1
    topics: frozenset[str] | None = frozenset({TorrentFavorited.TOPIC, TorrentUnfavorited.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "favorites": ("member", "torrent"),
        "member_favorites": ("member",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Set each touched pair to its last state, and count what became different."""
        last: dict[tuple[UUID, UUID], tuple[int, datetime] | None] = {}
        for recorded in batch:
            match recorded.envelope.fact:
                case TorrentFavorited(member=member, torrent=torrent):
                    last[member, torrent] = (recorded.position, recorded.envelope.meta.at)
                case TorrentUnfavorited(member=member, torrent=torrent):
                    last[member, torrent] = None
        if last:
            _set_pairs(cursor, last)


def _set_pairs(
    cursor: Cursor, last: Mapping[tuple[UUID, UUID], tuple[int, datetime] | None]
) -> None:
    gone = cursor.execute(
        """
        DELETE FROM favorites f USING unnest(%s::uuid[], %s::uuid[]) AS touched (member, torrent)
        WHERE (f.member, f.torrent) = (touched.member, touched.torrent)
        RETURNING f.member
        """,
        [[member for member, _ in last], [torrent for _, torrent in last]],
    ).fetchall()
    kept = [(*pair, *since) for pair, since in last.items() if since is not None]
    if kept:
        cursor.execute(
            """
            INSERT INTO favorites (member, torrent, listed, favorited_at)
            SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::timestamptz[])
            """,
            [list(column) for column in zip(*kept, strict=True)],
        )
    change = Counter(member for member, *_ in kept)
    change.subtract(row[0] for row in gone)
    cursor.execute(
        """
        INSERT INTO member_favorites AS m (member, amount)
        SELECT * FROM unnest(%s::uuid[], %s::bigint[])
        ON CONFLICT (member) DO UPDATE SET amount = m.amount + excluded.amount
        """,
        [list(change), list(change.values())],
    )
    cursor.execute(
        "DELETE FROM member_favorites WHERE member = ANY(%s::uuid[]) AND amount = 0",
        [list(change)],
    )


def is_favorite(conn: Connection, member: UUID, torrent: UUID) -> bool:
    """Whether the torrent is the member's favourite."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(
            "SELECT 1 FROM favorites_1.favorites WHERE member = %s AND torrent = %s",
            [member, torrent],
        ).fetchone()
    return row is not None
