"""A torrent for its page, its file and its thread: what is asked of the read model for one."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from projections.engine import Connection
from projections.torrent_browse import FAVORITED


class TorrentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One torrent for its page, its file and its thread; sizes are bytes, hashes hex.

    `favorited` is whether it is a favourite of who was named to the look-up.
    """

    id: UUID
    number: int
    info_hash: str
    info_hash_v2: str | None
    original_info_hash: str | None
    name: str
    description: str
    size: int
    piece_length: int
    file_count: int
    category: UUID | None
    uploader: UUID
    uploader_name: str | None
    status: str
    created_at: datetime
    moderator: UUID | None
    moderator_name: str | None
    moderated_at: datetime | None
    file_ref: str
    nfo_ref: str | None
    content_signature: str
    imdb: str | None
    tmdb: str | None
    tvdb: str | None
    igdb: str | None
    openlibrary: str | None
    tags: list[str]
    seeders: int
    leechers: int
    completed: int
    comments: int
    favorited: bool


_FIND = f"""
SELECT t.id, t.number, t.info_hash, t.info_hash_v2, t.original_info_hash, t.name,
       d.description, t.size, t.piece_length, t.file_count, t.category, t.uploader,
       u.username AS uploader_name, t.status, t.created_at, t.moderator,
       m.username AS moderator_name, t.moderated_at, t.file_ref, t.nfo_ref,
       t.content_signature, t.imdb, t.tmdb, t.tvdb, t.igdb, t.openlibrary, t.tags,
       f.seeders, f.leechers, f.completed, f.comments,
       {FAVORITED} AS favorited
FROM torrents_4.torrents t
JOIN torrents_4.descriptions d ON d.torrent = t.id
LEFT JOIN users_1.accounts u ON u.id = t.uploader
LEFT JOIN users_1.accounts m ON m.id = t.moderator
JOIN torrents_4.figures f ON f.number = t.number
"""


def find_torrent(conn: Connection, info_hash: str, viewer: UUID | None = None) -> TorrentRow | None:
    """The torrent of this hash: canonical, v2 in full, or the first 40 digits of v2.

    A withdrawn torrent is not found. `info_hash` is 40 or 64 hex digits in either case.
    """
    wanted = info_hash.lower()
    with conn.cursor(row_factory=class_row(TorrentRow)) as cursor:
        return cursor.execute(
            _FIND
            + """
            WHERE t.id = ANY(ARRAY(
                SELECT id FROM torrents_4.torrents WHERE info_hash = %(short)s
                UNION ALL
                SELECT id FROM torrents_4.torrents
                WHERE info_hash_v2 IS NOT NULL AND left(info_hash_v2, 40) = %(short)s
            ))
              AND NOT t.withdrawn
              AND (%(full)s::text IS NULL OR t.info_hash_v2 = %(full)s)
            LIMIT 1
            """,
            {
                "short": wanted[:40],
                "full": wanted if len(wanted) > 40 else None,
                "viewer": viewer,
            },
        ).fetchone()


def find_torrent_by_id(conn: Connection, torrent: UUID) -> TorrentRow | None:
    """The torrent with this id, unless it was withdrawn."""
    with conn.cursor(row_factory=class_row(TorrentRow)) as cursor:
        return cursor.execute(
            _FIND + "WHERE NOT t.withdrawn AND t.id = %(torrent)s",
            {"torrent": torrent, "viewer": None},
        ).fetchone()
