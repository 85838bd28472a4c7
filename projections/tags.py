"""Tags and how many torrents bear each: tables, fold and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.kernel import Recorded
from domain.moderation_events import (
    ModerationOpened,
    StatusFact,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    status_after,
)
from domain.tags import DEFAULT_COLOR, TagCreated, TagRemoved, tag_id
from domain.taxonomy import slugify
from domain.torrents import TorrentEdited, TorrentUploaded, TorrentWithdrawn
from projections.engine import Connection, Cursor
from projections.runs import runs_between

DDL = """
CREATE TABLE tags (
    slug text COLLATE "C" PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    color text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    torrents bigint NOT NULL
);
CREATE TABLE torrents (
    id uuid PRIMARY KEY,
    tags text[] COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    withdrawn boolean NOT NULL
);
CREATE INDEX ON torrents USING gin (tags);
"""
LISTED = 1_000


class TagRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tag, and how many torrents of the catalogue bear it."""

    id: UUID
    name: str
    slug: str
    color: str
    created_at: datetime
    torrents: int


class TagsProjection:
    """Every tag in use or created, with its torrents that everybody may see."""

    name = "tags"
    version = 1
    topics: frozenset[str] | None = frozenset(
        {
            TagCreated.TOPIC,
            TagRemoved.TOPIC,
            TorrentUploaded.TOPIC,
            TorrentEdited.TOPIC,
            TorrentWithdrawn.TOPIC,
            ModerationOpened.TOPIC,
            TorrentApproved.TOPIC,
            TorrentChangesRequested.TOPIC,
            TorrentRejected.TOPIC,
            TorrentReset.TOPIC,
            TorrentResubmitted.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"tags": ("slug",), "torrents": ("id",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Fold torrents in runs between the few facts about tags, whose place matters."""
        for run in runs_between(batch, TagCreated, TagRemoved):
            match run[0].envelope.fact:
                case TagCreated() as fact:
                    _tag_created(cursor, fact, run[0].envelope.meta.at)
                case TagRemoved() as fact:
                    _tag_removed(cursor, fact)
                case _:
                    _torrents_changed(cursor, run)


def _tag_created(cursor: Cursor, fact: TagCreated, at: datetime) -> None:
    cursor.execute(
        """
        INSERT INTO tags (slug, id, name, color, created_at, torrents)
        VALUES (%(slug)s, %(id)s, %(name)s, %(color)s, %(at)s, 0)
        ON CONFLICT (slug) DO UPDATE SET name = excluded.name, color = excluded.color
        """,
        {
            "slug": fact.slug,
            "id": tag_id(fact.slug),
            "name": fact.name,
            "color": fact.color,
            "at": at,
        },
    )


def _tag_removed(cursor: Cursor, fact: TagRemoved) -> None:
    cursor.execute("DELETE FROM tags WHERE slug = %s", [fact.slug])
    cursor.execute(
        "UPDATE torrents SET tags = array_remove(tags, %(slug)s) WHERE tags @> ARRAY[%(slug)s]",
        {"slug": fact.slug},
    )


def _torrents_changed(cursor: Cursor, run: Sequence[Recorded]) -> None:
    """Take the touched torrents out of the counts, change them, and put them back in."""
    touched = sorted({_torrent_of(recorded) for recorded in run}, key=attrgetter("int"))
    _count(cursor, touched, sign=-1)
    slugs = _tags_used(cursor, run)
    rows = _torrents_uploaded(run, slugs)
    _tags_written(cursor, run, slugs, rows)
    _statuses_changed(cursor, run, rows)
    if rows:
        cursor.execute(
            "INSERT INTO torrents SELECT * FROM json_populate_recordset(NULL::torrents, %s::json)",
            [msgspec.json.encode(list(rows.values())).decode()],
        )
    _count(cursor, touched, sign=1)


def _torrent_of(recorded: Recorded) -> UUID:
    fact = recorded.envelope.fact
    if isinstance(fact, ModerationOpened | StatusFact):
        return fact.torrent
    return recorded.envelope.originator_id


def _tags_used(cursor: Cursor, run: Sequence[Recorded]) -> dict[str, str]:
    """Whoever uses a new word makes the tag, named as he wrote it; gives the slug of each word."""
    slugs: dict[str, str] = {}
    used: dict[str, tuple[Any, ...]] = {}
    for recorded in run:
        fact = recorded.envelope.fact
        if isinstance(fact, TorrentUploaded | TorrentEdited):
            for name in fact.tags:
                if name in slugs:
                    continue
                slug = slugs[name] = slugify(name)
                if slug not in used:
                    used[slug] = (slug, tag_id(slug), name, recorded.envelope.meta.at)
    if used:
        cursor.execute(
            """
            INSERT INTO tags (slug, id, name, color, created_at, torrents)
            SELECT slug, id, name, %s, at, 0
            FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::timestamptz[])
                AS used (slug, id, name, at)
            ON CONFLICT (slug) DO NOTHING
            """,
            [DEFAULT_COLOR, *(list(column) for column in zip(*used.values(), strict=True))],
        )
    return slugs


def _torrents_uploaded(
    run: Sequence[Recorded], slugs: Mapping[str, str]
) -> dict[UUID, dict[str, Any]]:
    """The rows of those that are new, which what follows in the run is written into."""
    return {
        recorded.envelope.originator_id: {
            "id": recorded.envelope.originator_id,
            "tags": [slugs[name] for name in fact.tags],
            "status": "pending",
            "withdrawn": False,
        }
        for recorded in run
        if isinstance(fact := recorded.envelope.fact, TorrentUploaded)
    }


def _tags_written(
    cursor: Cursor,
    run: Sequence[Recorded],
    slugs: Mapping[str, str],
    new: Mapping[UUID, dict[str, Any]],
) -> None:
    edited: dict[UUID, list[str]] = {}
    for recorded in run:
        fact, torrent = recorded.envelope.fact, recorded.envelope.originator_id
        if isinstance(fact, TorrentEdited):
            tags = [slugs[name] for name in fact.tags]
            if torrent in new:
                new[torrent]["tags"] = tags
            else:
                edited[torrent] = tags
    if edited:
        cursor.executemany(
            "UPDATE torrents SET tags = %s WHERE id = %s",
            [(tags, torrent) for torrent, tags in edited.items()],
        )


def _statuses_changed(
    cursor: Cursor, run: Sequence[Recorded], new: Mapping[UUID, dict[str, Any]]
) -> None:
    statuses: dict[UUID, str] = {}
    withdrawn: list[UUID] = []
    for recorded in run:
        fact = recorded.envelope.fact
        if isinstance(fact, ModerationOpened):
            statuses[fact.torrent] = fact.status
        elif isinstance(fact, StatusFact):
            statuses[fact.torrent] = status_after(fact)
        elif isinstance(fact, TorrentWithdrawn):
            torrent = recorded.envelope.originator_id
            if torrent in new:
                new[torrent]["withdrawn"] = True
            else:
                withdrawn.append(torrent)
    for torrent in statuses.keys() & new.keys():
        new[torrent]["status"] = statuses.pop(torrent)
    if statuses:
        cursor.execute(
            """
            UPDATE torrents t SET status = s.status
            FROM unnest(%b::uuid[], %b::text[]) AS s (torrent, status) WHERE t.id = s.torrent
            """,
            [list(statuses), list(statuses.values())],
        )
    if withdrawn:
        cursor.execute(
            "UPDATE torrents SET withdrawn = true WHERE id = ANY(%s::uuid[])", [withdrawn]
        )


def _count(cursor: Cursor, torrents: Sequence[UUID], *, sign: int) -> None:
    """Take these torrents out of their tags' counts, or put them back in, as they are now."""
    cursor.execute(
        """
        UPDATE tags SET torrents = tags.torrents + counted.change
        FROM (
            SELECT slug, %(sign)s * count(*) AS change
            FROM torrents, unnest(torrents.tags) AS slug
            WHERE id = ANY(%(torrents)s::uuid[]) AND status = 'accepted' AND NOT withdrawn
            GROUP BY slug
        ) counted
        WHERE tags.slug = counted.slug
        """,
        {"sign": sign, "torrents": list(torrents)},
    )


_TAG = "SELECT id, name, slug, color, created_at, torrents FROM tags_1.tags "


def list_tags(conn: Connection, *, beginning: str = "", limit: int = LISTED) -> list[TagRow]:
    """Tags in order of their slugs, at most `limit`; those whose slug begins so, if given."""
    with conn.cursor(row_factory=class_row(TagRow)) as cursor:
        return cursor.execute(
            _TAG + "WHERE slug >= %(from)s AND slug < %(to)s ORDER BY slug LIMIT %(limit)s",
            # Slugs are of a to z, digits and dashes, and "{" is the sign behind "z".
            {"from": beginning, "to": beginning + "{", "limit": limit},
        ).fetchall()


def find_tags(conn: Connection, ids: Sequence[UUID]) -> list[TagRow]:
    """The tags with these ids, in order of their slugs."""
    with conn.cursor(row_factory=class_row(TagRow)) as cursor:
        return cursor.execute(
            _TAG + "WHERE id = ANY(%s::uuid[]) ORDER BY slug LIMIT %s", [list(ids), len(ids)]
        ).fetchall()
