"""The history: who did what to which aggregate, when; an index over every fact's envelope."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import ClassVar, cast, get_args
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.kernel import Fact, Recorded
from projections.engine import Connection, Cursor

LIMIT = 200


class HistoryProjection:
    """One row a fact: its envelope without its contents, which stay sealed in the log.

    Beside it the ids of what the fact names, so that everything about one thing is found.
    """

    name = "history"
    version = 2
    topics = None
    ddl = """
        CREATE TABLE facts (
            position bigint PRIMARY KEY,
            at timestamptz NOT NULL,
            actor uuid,
            topic text COLLATE "C" NOT NULL,
            originator_id uuid NOT NULL,
            originator_version bigint NOT NULL,
            command uuid NOT NULL,
            correlation uuid NOT NULL
        );
        CREATE INDEX facts_originator ON facts (originator_id, position);
        CREATE INDEX facts_actor ON facts (actor, position) WHERE actor IS NOT NULL;
        CREATE INDEX facts_topic ON facts (topic, position);
        CREATE INDEX facts_at ON facts (at, position);
        CREATE INDEX facts_correlation ON facts (correlation, position);
        CREATE TABLE mentions (
            subject uuid NOT NULL,
            position bigint NOT NULL,
            PRIMARY KEY (subject, position)
        );
    """
    keys: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "facts": ("position",),
        "mentions": ("subject", "position"),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        envelopes = [recorded.envelope for recorded in batch]
        cursor.execute(
            """
            INSERT INTO facts (position, at, actor, topic, originator_id, originator_version,
                command, correlation)
            SELECT * FROM unnest(%b::bigint[], %b::timestamptz[], %b::uuid[], %b::text[],
                %b::uuid[], %b::bigint[], %b::uuid[], %b::uuid[])
            """,
            [
                [recorded.position for recorded in batch],
                [envelope.meta.at for envelope in envelopes],
                [envelope.meta.actor for envelope in envelopes],
                [envelope.fact.TOPIC for envelope in envelopes],
                [envelope.originator_id for envelope in envelopes],
                [envelope.originator_version for envelope in envelopes],
                [envelope.meta.command for envelope in envelopes],
                [envelope.meta.correlation for envelope in envelopes],
            ],
        )

        mentions = [
            (subject, recorded.position) for recorded in batch for subject in _mentions(recorded)
        ]
        if mentions:
            cursor.execute(
                "INSERT INTO mentions (subject, position)"
                " SELECT * FROM unnest(%b::uuid[], %b::bigint[])",
                [list(column) for column in zip(*mentions, strict=True)],
            )


def _mentions(recorded: Recorded) -> set[UUID]:
    """What a fact names beside the aggregate and the actor, which have columns of their own."""
    envelope = recorded.envelope
    fact = envelope.fact
    named: set[UUID] = set()
    for name in _naming_fields(fact.__class__):
        value = getattr(fact, name)
        named.update(value if isinstance(value, tuple) else () if value is None else (value,))
    return named - {envelope.originator_id, envelope.meta.actor}


@cache
def _naming_fields(kind: Hashable) -> tuple[str, ...]:
    """Fields that hold the id of a thing; those that end in `_id` only number a message."""
    return tuple(
        field.name
        for field in msgspec.structs.fields(cast("type[Fact]", kind))
        if not field.name.endswith("_id") and UUID in {field.type, *get_args(field.type)}
    )


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded fact without its contents; `at` is UTC."""

    position: int
    at: datetime
    actor: UUID | None
    topic: str
    originator_id: UUID
    originator_version: int
    command: UUID
    correlation: UUID


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for; every field left None matches all.

    `topic` is a whole topic or the beginning of one ("torrent."). `since` is included,
    `until` is not. `before` and `after` are positions, both excluded. `about` is a thing: its own
    facts, those that name it, and those of which it is the actor.
    """

    aggregate: UUID | None = None
    about: UUID | None = None
    actor: UUID | None = None
    topic: str | None = None
    correlation: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int | None = None
    before: int | None = None


_CONDITIONS = """
    (%(aggregate)s::uuid IS NULL OR originator_id = %(aggregate)s)
    AND (%(about)s::uuid IS NULL OR position IN (
        SELECT position FROM history_2.facts WHERE originator_id = %(about)s
        UNION SELECT position FROM history_2.facts WHERE actor = %(about)s
        UNION SELECT position FROM history_2.mentions WHERE subject = %(about)s
    ))
    AND (%(actor)s::uuid IS NULL OR actor = %(actor)s)
    AND (%(correlation)s::uuid IS NULL OR correlation = %(correlation)s)
    AND (%(topic)s::text IS NULL OR (topic >= %(topic)s AND topic < %(topic_end)s))
    AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
    AND (%(after)s::bigint IS NULL OR position > %(after)s)
    AND (%(before)s::bigint IS NULL OR position < %(before)s)
"""
_COLUMNS = "position, at, actor, topic, originator_id, originator_version, command, correlation"
LATEST = f"SELECT {_COLUMNS} FROM history_2.facts WHERE {_CONDITIONS} ORDER BY position DESC LIMIT %(limit)s"
EARLIEST = (
    f"SELECT {_COLUMNS} FROM history_2.facts WHERE {_CONDITIONS} ORDER BY position LIMIT %(limit)s"
)


def list_latest_facts(
    conn: Connection, query: HistoryQuery, *, limit: int = LIMIT
) -> list[HistoryRow]:
    """The newest facts that match, newest first; walk on with `before` = the last position."""
    return _list(conn, LATEST, query, limit)


def list_facts(conn: Connection, query: HistoryQuery, *, limit: int = LIMIT) -> list[HistoryRow]:
    """The oldest facts that match, oldest first; walk on with `after` = the last position."""
    return _list(conn, EARLIEST, query, limit)


def _list(conn: Connection, text: str, query: HistoryQuery, limit: int) -> list[HistoryRow]:
    # Every topic is ASCII, so this character is above all that begin with the text.
    end = None if query.topic is None else query.topic + "\x7f"
    values = msgspec.structs.asdict(query) | {"topic_end": end, "limit": limit}
    with conn.cursor(row_factory=class_row(HistoryRow)) as cursor:
        return cursor.execute(text, values, prepare=False).fetchall()
