"""Torrents as pages and lists show them: tables and fold. `torrent_pages` asks for single ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

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
from projections.torrent_listing import (
    LISTING_DDL,
    comments_of,
    count_comments,
    fill_counts,
    list_again,
    write_names_at_once,
    write_names_later,
)

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


class TorrentsProjection:
    """Every torrent with its details, its moderation status and where it stands in "newest"."""

    name = "torrents"
    version = 4
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
        """Insert what was uploaded as it is by the end, and bring the others to their last state.

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

    def expect_many(self, conn: Connection, schema: str) -> None:
        """Let the indexes of names collect what is new."""
        write_names_later(conn, schema)

    def expect_few(self, conn: Connection, schema: str) -> None:
        """Bring what they collected to its place, and what comes from now on at once."""
        write_names_at_once(conn, schema)


def _torrents_changed(cursor: Cursor, run: Sequence[Recorded]) -> None:
    rows = _torrents_uploaded(run)
    others = sorted({t for each in run if (t := _changes(each)) is not None and t not in rows})
    if others:
        _count(cursor, others, sign=-1)
    names = _torrents_edited(cursor, run, rows)
    _statuses_changed(cursor, run, rows)
    _torrents_withdrawn(cursor, run, rows)
    _insert(cursor, list(rows.values()))
    if touched := [*rows, *others]:
        _count(cursor, touched, sign=1)
        cursor.execute("DELETE FROM counts WHERE torrents = 0")
        names = {**{torrent: row["name"] for torrent, row in rows.items()}, **names}
        list_again(cursor, new=list(rows), others=others, names=names)
    count_comments(cursor, comments_of(run))


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


def _changes(recorded: Recorded) -> UUID | None:
    """The torrent a fact changes; a comment changes a figure of it only."""
    fact = recorded.envelope.fact
    if isinstance(fact, ModerationOpened | StatusFact):
        return fact.torrent
    if isinstance(fact, CommentPosted | CommentDeleted):
        return None
    return recorded.envelope.originator_id


def _torrents_uploaded(batch: Sequence[Recorded]) -> dict[UUID, dict[str, Any]]:
    """The rows of those that are new, which what follows in the batch is written into."""
    rows: dict[UUID, dict[str, Any]] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, TorrentUploaded):
            rows[recorded.envelope.originator_id] = {
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
                "status": "pending",
                "withdrawn": False,
                "moderator": None,
                "moderated_at": None,
                **_details(fact),
            }
    return rows


def _insert(cursor: Cursor, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    cursor.execute(
        """
        INSERT INTO torrents (
            id, number, listed, info_hash, info_hash_v2, original_info_hash, name, size,
            piece_length, file_count, category, uploader, status, withdrawn, created_at,
            moderator, moderated_at, file_ref, nfo_ref, content_signature, imdb, tmdb, tvdb,
            igdb, openlibrary, tags, tag_slugs
        )
        SELECT id, number, listed, info_hash, info_hash_v2, original_info_hash, name, size,
            piece_length, file_count, category, uploader, status, withdrawn, created_at,
            moderator, moderated_at, file_ref, nfo_ref, content_signature, imdb, tmdb, tvdb,
            igdb, openlibrary, tags, tag_slugs
        FROM json_populate_recordset(NULL::torrents, %s::json)
        """,
        [_as_json(rows)],
    )
    _write_descriptions(cursor, rows)


def _torrents_edited(
    cursor: Cursor, batch: Sequence[Recorded], new: Mapping[UUID, dict[str, Any]]
) -> dict[UUID, str]:
    """Write what they say now, of the new ones into their rows; gives the names of the others."""
    last: dict[UUID, dict[str, Any]] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, TorrentEdited):
            torrent = recorded.envelope.originator_id
            if torrent in new:
                new[torrent].update(_details(fact))
            else:
                last[torrent] = {"id": torrent, **_details(fact)}
    if last:
        cursor.execute(
            """
            UPDATE torrents t
            SET name = e.name, category = e.category, imdb = e.imdb, tmdb = e.tmdb,
                tvdb = e.tvdb, igdb = e.igdb, openlibrary = e.openlibrary, tags = e.tags,
                tag_slugs = e.tag_slugs
            FROM json_populate_recordset(NULL::torrents, %s::json) e
            WHERE t.id = e.id
            """,
            [_as_json(list(last.values()))],
        )
        _write_descriptions(cursor, list(last.values()))
    return {torrent: row["name"] for torrent, row in last.items()}


def _statuses_changed(
    cursor: Cursor, batch: Sequence[Recorded], new: Mapping[UUID, dict[str, Any]]
) -> None:
    """Take over the last status of each torrent; coming into the catalogue makes it newest."""
    last: dict[UUID, dict[str, Any]] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        state: dict[str, Any]
        if isinstance(fact, ModerationOpened):
            state = {"status": fact.status, "moderator": None, "moderated_at": None}
        elif isinstance(fact, StatusFact):
            status = status_after(fact)
            state = {
                "status": status,
                "moderator": moderator_of(fact),
                "moderated_at": recorded.envelope.meta.at,
            }
            if status == "accepted":
                state["listed"] = recorded.position
        else:
            continue
        row = new.get(fact.torrent)
        if row is None:
            row = last.setdefault(fact.torrent, {"id": fact.torrent})
        row.update(state)
    if last:
        cursor.execute(
            """
            UPDATE torrents t
            SET status = s.status, moderator = s.moderator, moderated_at = s.moderated_at,
                listed = coalesce(s.listed, t.listed)
            FROM json_populate_recordset(NULL::torrents, %s::json) s
            WHERE t.id = s.id
            """,
            [_as_json(list(last.values()))],
        )


def _torrents_withdrawn(
    cursor: Cursor, batch: Sequence[Recorded], new: Mapping[UUID, dict[str, Any]]
) -> None:
    withdrawn: list[UUID] = []
    for recorded in batch:
        if isinstance(recorded.envelope.fact, TorrentWithdrawn):
            torrent = recorded.envelope.originator_id
            if torrent in new:
                new[torrent]["withdrawn"] = True
            else:
                withdrawn.append(torrent)
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
    cursor.execute(
        """
        INSERT INTO descriptions (torrent, description)
        SELECT * FROM unnest(%b::uuid[], %b::text[])
        ON CONFLICT (torrent) DO UPDATE SET description = excluded.description
        """,
        [[row["id"] for row in rows], [row["description"] for row in rows]],
    )


def _as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows for `json_populate_recordset`, which unlike `unnest` can take arrays in columns."""
    shown = [{k: v for k, v in row.items() if k != "description"} for row in rows]
    return msgspec.json.encode(shown).decode()


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
