"""Torrents as pages and lists show them: tables, fold, and single-row queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.comments import CommentDeleted, CommentPosted
from domain.kernel import Recorded
from domain.moderation_events import (
    ModerationOpened,
    StatusFact,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    moderator_of,
    status_after,
)
from domain.tags import TagRemoved
from domain.taxonomy import slugify
from domain.torrents import TorrentEdited, TorrentUploaded, TorrentWithdrawn
from projections.engine import Connection, Cursor
from projections.runs import runs_between
from projections.torrent_listing import LISTING_DDL, comments_of, fill_counts, list_again

NO_CATEGORY = UUID(int=0)
"""Counter rows of torrents without a category; NULL cannot be part of a key."""

DDL = """
CREATE TABLE torrents (
    id uuid PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    listed bigint NOT NULL,
    info_hash text COLLATE "C" NOT NULL,
    info_hash_v2 text COLLATE "C",
    original_info_hash text COLLATE "C",
    name text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    piece_length bigint NOT NULL,
    file_count integer NOT NULL,
    category uuid,
    uploader uuid NOT NULL,
    status text COLLATE "C" NOT NULL,
    withdrawn boolean NOT NULL,
    created_at timestamptz NOT NULL,
    moderator uuid,
    moderated_at timestamptz,
    file_ref text COLLATE "C" NOT NULL,
    nfo_ref text COLLATE "C",
    content_signature text COLLATE "C" NOT NULL,
    imdb text COLLATE "C",
    tmdb text COLLATE "C",
    tvdb text COLLATE "C",
    igdb text COLLATE "C",
    openlibrary text COLLATE "C",
    tags text[] COLLATE "C" NOT NULL,
    tag_slugs text[] COLLATE "C" NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX ON torrents (info_hash);
CREATE INDEX ON torrents (left(info_hash_v2, 40)) WHERE info_hash_v2 IS NOT NULL;
CREATE INDEX ON torrents (listed) WHERE status = 'accepted' AND NOT withdrawn;
CREATE INDEX ON torrents (name, listed) WHERE status = 'accepted' AND NOT withdrawn;
CREATE INDEX ON torrents (imdb) WHERE imdb IS NOT NULL;
CREATE INDEX ON torrents (tmdb) WHERE tmdb IS NOT NULL;
CREATE INDEX ON torrents (tvdb) WHERE tvdb IS NOT NULL;
CREATE INDEX ON torrents (size, listed) WHERE status = 'accepted' AND NOT withdrawn;
CREATE INDEX ON torrents (category, listed) WHERE status = 'accepted' AND NOT withdrawn;
CREATE INDEX ON torrents (listed) WHERE NOT withdrawn;
CREATE INDEX ON torrents (listed) WHERE status <> 'accepted' AND NOT withdrawn;
CREATE INDEX ON torrents (uploader, listed) WHERE NOT withdrawn;
CREATE INDEX ON torrents (uploader, listed) WHERE status <> 'accepted' AND NOT withdrawn;
CREATE INDEX ON torrents USING gin (tag_slugs);
CREATE TABLE descriptions (
    torrent uuid PRIMARY KEY,
    description text COLLATE "C" NOT NULL
);
CREATE TABLE counts (
    category uuid NOT NULL,
    status text COLLATE "C" NOT NULL,
    torrents bigint NOT NULL,
    PRIMARY KEY (category, status)
);
"""


class TorrentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One torrent for its page, its file and its thread; sizes are bytes, hashes hex."""

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


class TorrentsProjection:
    """Every torrent with its details, its moderation status and where it stands in "newest"."""

    name = "torrents"
    version = 3
    topics: frozenset[str] | None = frozenset(
        {
            TorrentUploaded.TOPIC,
            TorrentEdited.TOPIC,
            TorrentWithdrawn.TOPIC,
            ModerationOpened.TOPIC,
            TorrentApproved.TOPIC,
            TorrentChangesRequested.TOPIC,
            TorrentRejected.TOPIC,
            TorrentReset.TOPIC,
            TorrentResubmitted.TOPIC,
            TagRemoved.TOPIC,
            CommentPosted.TOPIC,
            CommentDeleted.TOPIC,
        }
    )
    ddl = DDL + LISTING_DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "torrents": ("id",),
        "descriptions": ("torrent",),
        "counts": ("category", "status"),
        "tag_links": ("tag", "listed", "number"),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Insert what was uploaded, then bring each touched torrent to its last state.

        An upload always precedes every other fact about its torrent, and of the others only
        the last of each kind is visible, so a few statements fold a batch of any size.
        """
        for run in runs_between(batch, TagRemoved):
            if isinstance(removed := run[0].envelope.fact, TagRemoved):
                _tag_removed(cursor, removed.slug)
            else:
                _torrents_changed(cursor, run)

    def settle(self, conn: Connection, schema: str, *, last: bool) -> None:
        """Give tables made anew the counts that are not in the log."""
        fill_counts(conn, schema, last=last)


def _torrents_changed(cursor: Cursor, run: Sequence[Recorded]) -> None:
    touched = sorted({_torrent_of(recorded) for recorded in run})
    _count(cursor, touched, sign=-1)
    names = {**_torrents_uploaded(cursor, run), **_torrents_edited(cursor, run)}
    _statuses_changed(cursor, run)
    _torrents_withdrawn(cursor, run)
    _count(cursor, touched, sign=1)
    cursor.execute("DELETE FROM counts WHERE torrents = 0")
    list_again(cursor, touched, names=names, comments=comments_of(run))


def _tag_removed(cursor: Cursor, slug: str) -> None:
    """Unbind the tag from every torrent, however they spell it."""
    cursor.execute(
        """
        UPDATE torrents
        SET tag_slugs = array_remove(tag_slugs, %(slug)s),
            tags = ARRAY(
                SELECT name
                FROM unnest(tags, tag_slugs) WITH ORDINALITY AS each (name, its_slug, place)
                WHERE its_slug <> %(slug)s
                ORDER BY place
            )
        WHERE tag_slugs @> ARRAY[%(slug)s]
        """,
        {"slug": slug},
    )
    cursor.execute("DELETE FROM tag_links WHERE tag = %s", [slug])


def _torrent_of(recorded: Recorded) -> UUID:
    fact = recorded.envelope.fact
    if isinstance(fact, ModerationOpened | StatusFact | CommentPosted | CommentDeleted):
        return fact.torrent
    return recorded.envelope.originator_id


def _torrents_uploaded(cursor: Cursor, batch: Sequence[Recorded]) -> dict[UUID, str]:
    """Insert them; gives their names."""
    rows: list[dict[str, Any]] = []
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, TorrentUploaded):
            rows.append(
                {
                    "id": recorded.envelope.originator_id,
                    "listed": recorded.position,
                    "created_at": recorded.envelope.meta.at,
                    "number": fact.number,
                    "info_hash": fact.info_hash,
                    "info_hash_v2": fact.info_hash_v2,
                    "original_info_hash": fact.original_info_hash,
                    "size": fact.size,
                    "piece_length": fact.piece_length,
                    "file_count": fact.files,
                    "uploader": fact.uploader,
                    "file_ref": fact.file_ref,
                    "nfo_ref": fact.nfo_ref,
                    "content_signature": fact.content_signature,
                    **_details(fact),
                }
            )
    cursor.executemany(
        """
        INSERT INTO torrents (
            id, number, listed, info_hash, info_hash_v2, original_info_hash, name, size,
            piece_length, file_count, category, uploader, status, withdrawn, created_at,
            file_ref, nfo_ref, content_signature, imdb, tmdb, tvdb, igdb, openlibrary, tags,
            tag_slugs
        ) VALUES (
            %(id)s, %(number)s, %(listed)s, %(info_hash)s, %(info_hash_v2)s,
            %(original_info_hash)s, %(name)s, %(size)s, %(piece_length)s, %(file_count)s,
            %(category)s, %(uploader)s, 'pending', false, %(created_at)s, %(file_ref)s,
            %(nfo_ref)s, %(content_signature)s, %(imdb)s, %(tmdb)s, %(tvdb)s, %(igdb)s,
            %(openlibrary)s, %(tags)s, %(tag_slugs)s
        )
        """,
        rows,
    )
    _write_descriptions(cursor, rows)
    return {row["id"]: row["name"] for row in rows}


def _torrents_edited(cursor: Cursor, batch: Sequence[Recorded]) -> dict[UUID, str]:
    """Write what they say now; gives the names among it."""
    last: dict[UUID, dict[str, Any]] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, TorrentEdited):
            torrent = recorded.envelope.originator_id
            last[torrent] = {"id": torrent, **_details(fact)}
    cursor.executemany(
        """
        UPDATE torrents
        SET name = %(name)s, category = %(category)s, imdb = %(imdb)s, tmdb = %(tmdb)s,
            tvdb = %(tvdb)s, igdb = %(igdb)s, openlibrary = %(openlibrary)s, tags = %(tags)s,
            tag_slugs = %(tag_slugs)s
        WHERE id = %(id)s
        """,
        list(last.values()),
    )
    _write_descriptions(cursor, list(last.values()))
    return {torrent: row["name"] for torrent, row in last.items()}


def _statuses_changed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    """Take over the last status of each torrent; coming into the catalogue makes it newest."""
    last: dict[UUID, tuple[str, UUID | None, datetime | None]] = {}
    listed: dict[UUID, int] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, ModerationOpened):
            last[fact.torrent] = (fact.status, None, None)
        elif isinstance(fact, StatusFact):
            status = status_after(fact)
            last[fact.torrent] = (status, moderator_of(fact), recorded.envelope.meta.at)
            if status == "accepted":
                listed[fact.torrent] = recorded.position
    if not last:
        return
    cursor.executemany(
        """
        UPDATE torrents
        SET status = %s, moderator = %s, moderated_at = %s, listed = coalesce(%s, listed)
        WHERE id = %s
        """,
        [(*state, listed.get(torrent), torrent) for torrent, state in last.items()],
    )


def _torrents_withdrawn(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    withdrawn = [
        recorded.envelope.originator_id
        for recorded in batch
        if isinstance(recorded.envelope.fact, TorrentWithdrawn)
    ]
    if withdrawn:
        cursor.execute(
            "UPDATE torrents SET withdrawn = true WHERE id = ANY(%s::uuid[])", [withdrawn]
        )


def _count(cursor: Cursor, torrents: Sequence[UUID], *, sign: int) -> None:
    """Take these torrents out of the counters, or put them back in, as they are now."""
    cursor.execute(
        """
        INSERT INTO counts AS c (category, status, torrents)
        SELECT coalesce(category, %(none)s), status, %(sign)s * count(*)
        FROM torrents
        WHERE id = ANY(%(torrents)s::uuid[]) AND NOT withdrawn
        GROUP BY 1, 2
        ON CONFLICT (category, status) DO UPDATE SET torrents = c.torrents + excluded.torrents
        """,
        {"none": NO_CATEGORY, "sign": sign, "torrents": list(torrents)},
    )


def _write_descriptions(cursor: Cursor, rows: Sequence[Mapping[str, Any]]) -> None:
    cursor.executemany(
        """
        INSERT INTO descriptions (torrent, description) VALUES (%(id)s, %(description)s)
        ON CONFLICT (torrent) DO UPDATE SET description = excluded.description
        """,
        rows,
    )


def _details(fact: TorrentUploaded | TorrentEdited) -> dict[str, Any]:
    return {
        "name": fact.name,
        "description": fact.description,
        "category": fact.category,
        "imdb": fact.imdb,
        "tmdb": fact.tmdb,
        "tvdb": fact.tvdb,
        "igdb": fact.igdb,
        "openlibrary": fact.openlibrary,
        "tags": list(fact.tags),
        "tag_slugs": [slugify(name) for name in fact.tags],
    }


_FIND = """
SELECT t.id, t.number, t.info_hash, t.info_hash_v2, t.original_info_hash, t.name,
       d.description, t.size, t.piece_length, t.file_count, t.category, t.uploader,
       u.username AS uploader_name, t.status, t.created_at, t.moderator,
       m.username AS moderator_name, t.moderated_at, t.file_ref, t.nfo_ref,
       t.content_signature, t.imdb, t.tmdb, t.tvdb, t.igdb, t.openlibrary, t.tags,
       f.seeders, f.leechers, f.completed, f.comments
FROM torrents_3.torrents t
JOIN torrents_3.descriptions d ON d.torrent = t.id
LEFT JOIN users_1.accounts u ON u.id = t.uploader
LEFT JOIN users_1.accounts m ON m.id = t.moderator
JOIN torrents_3.figures f ON f.number = t.number
"""


def find_torrent(conn: Connection, info_hash: str) -> TorrentRow | None:
    """The torrent of this hash: canonical, v2 in full, or the first 40 digits of v2.

    A withdrawn torrent is not found. `info_hash` is 40 or 64 hex digits in either case.
    """
    wanted = info_hash.lower()
    with conn.cursor(row_factory=class_row(TorrentRow)) as cursor:
        return cursor.execute(
            _FIND
            + """
            WHERE t.id = ANY(ARRAY(
                SELECT id FROM torrents_3.torrents WHERE info_hash = %(short)s
                UNION ALL
                SELECT id FROM torrents_3.torrents
                WHERE info_hash_v2 IS NOT NULL AND left(info_hash_v2, 40) = %(short)s
            ))
              AND NOT t.withdrawn
              AND (%(full)s::text IS NULL OR t.info_hash_v2 = %(full)s)
            LIMIT 1
            """,
            {"short": wanted[:40], "full": wanted if len(wanted) > 40 else None},
        ).fetchone()


def find_torrent_by_id(conn: Connection, torrent: UUID) -> TorrentRow | None:
    """The torrent with this id, unless it was withdrawn."""
    with conn.cursor(row_factory=class_row(TorrentRow)) as cursor:
        return cursor.execute(_FIND + "WHERE NOT t.withdrawn AND t.id = %s", [torrent]).fetchone()
