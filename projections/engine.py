"""The projection engine: a schema per read model, its position, and one exact step forward."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import psycopg
import structlog
from psycopg import sql
from psycopg.rows import TupleRow, tuple_row

from application.store.sealing import SealKeyMissing
from application.store.topics import UnknownTopic
from domain.errors import Unavailable
from domain.kernel import Recorded

Connection = psycopg.Connection[Any]
Cursor = psycopg.Cursor[TupleRow]
STEP_LIMIT = 500
"""Facts per step: larger batches gain little once the fold is set-based (measured)."""
TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError)
"""Failures of the server or the connection; they say nothing about the facts."""
OF_THE_FACT = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)
"""Operational by their class, yet the same at every attempt: a value too large for an index."""
OF_THIS_PROCESS = (UnknownTopic, SealKeyMissing)
"""Failures of a process older than the log it reads; a fact is not bad for that."""

_logger = structlog.get_logger("projections")


class Reads(Protocol):
    """Where facts are read: the log (`application.ports.EventLogPort`), or what stands for it."""

    def read(
        self, after: int, limit: int, topics: frozenset[str] | None = None
    ) -> tuple[list[Recorded], int]: ...


class Projection(Protocol):
    """A read model: tables that are a pure function of the facts up to its position.

    `topics` are the facts it folds, None for all; others are passed over without unsealing.
    `ddl` is unqualified and runs, like `fold`, with the schema first on the search path.
    `keys` gives the primary key columns of each table that belongs to the digest.
    A changed `ddl` or `fold` raises `version`; a batch of any size gives the same rows.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def topics(self) -> frozenset[str] | None: ...

    @property
    def ddl(self) -> str: ...

    @property
    def keys(self) -> Mapping[str, tuple[str, ...]]: ...

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None: ...


class Pause(enum.Enum):
    """Why a step moved nothing."""

    BUSY = "another worker is folding it"
    IDLE = "nothing new to fold"
    STOPPED = "a fact it cannot fold stopped it"
    OUTDATED = "this process lacks a topic or a key the log uses by now"
    ABSENT = "it was never installed"


BUSY, IDLE, STOPPED, OUTDATED, ABSENT = Pause


class Poison(msgspec.Struct, frozen=True, kw_only=True):
    """The alarm of a stopped projection: where and what kind, never the contents."""

    position: int
    topic: str
    error: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far one projection is: `behind` counts the facts up to the head not yet passed."""

    name: str
    schema: str
    position: int | None
    behind: int
    poison: Poison | None

    @property
    def state(self) -> str:
        if self.position is None:
            return "absent"
        if self.poison is not None:
            return "stopped"
        return "behind" if self.behind else "current"


class FoldFailed(Exception):
    """Some fact from `first` to `last` can't be read or folded; `__cause__` tells why."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(f"a fact from {first} to {last} does not fold")
        self.first = first
        self.last = last


def schema_of(projection: Projection) -> str:
    """The name of the projection's schema: `torrents_1`."""
    return f"{projection.name}_{projection.version}"


def tuples(conn: Connection) -> Cursor:
    """A cursor of plain tuples, whatever rows the connection gives by itself."""
    return conn.cursor(row_factory=tuple_row)


def use_schema(cursor: Cursor, schema: str) -> None:
    """Put `schema` first on the search path to the end of the transaction.

    `public` follows for the operator classes of extensions.
    """
    path = sql.SQL("{}, public").format(sql.Identifier(schema)).as_string(cursor)
    cursor.execute("SELECT set_config('search_path', %s, true)", [path])


def is_installed(conn: Connection, schema: str) -> bool:
    row = tuples(conn).execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone()
    return row is not None


def install(conn: Connection, projection: Projection, schema: str | None = None) -> bool:
    """Create the projection's schema, tables and position 0; False when it is there already."""
    name = schema or schema_of(projection)
    with conn.transaction():
        cursor = tuples(conn)
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 4712))", [name])
        if is_installed(conn, name):
            return False
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        use_schema(cursor, name)
        cursor.execute(
            "CREATE TABLE position (one boolean PRIMARY KEY CHECK (one), last bigint NOT NULL)"
        )
        cursor.execute("INSERT INTO position VALUES (true, 0)")
        cursor.execute(
            'CREATE TABLE poison (position bigint PRIMARY KEY, topic text COLLATE "C" NOT NULL,'
            ' error text COLLATE "C" NOT NULL)'
        )
        cursor.execute(sql.SQL(projection.ddl))
    return True


def drop(conn: Connection, schema: str) -> None:
    """Remove a projection's schema with all it holds; nothing happens when there is none."""
    conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def step(
    conn: Connection,
    log: Reads,
    projection: Projection,
    schema: str | None = None,
    limit: int = STEP_LIMIT,
) -> int | Pause:
    """Fold the next facts and move the position, both or neither; gives the new position.

    A batch that fails is halved until the facts before the bad one are in; the bad one stops
    the projection and is recorded as `Poison`. What only this process can't read is not
    recorded: others may. Raises `psycopg.OperationalError`, `InterfaceError` or
    `Unavailable` when a server, not a fact, is the trouble.
    """
    name = schema or schema_of(projection)
    while True:
        try:
            return _advance(conn, log, projection, name, limit)
        except psycopg.errors.UndefinedTable:
            if is_installed(conn, name):
                raise
            return ABSENT
        except FoldFailed as failed:
            if failed.first < failed.last:
                limit = (failed.last - failed.first + 1) // 2
                continue
            if isinstance(failed.__cause__, OF_THIS_PROCESS):
                return OUTDATED
            return _stop(conn, name, failed.first, type(failed.__cause__).__name__)


def _advance(
    conn: Connection, log: Reads, projection: Projection, schema: str, limit: int
) -> int | Pause:
    with conn.transaction():
        cursor = tuples(conn)
        after = _lock_position(cursor, schema)
        if isinstance(after, Pause):
            return after
        batch, last = read(log, projection, after, limit)
        if last <= after:
            return IDLE
        # A crash may lose this commit, then the facts are folded again: the log has them.
        cursor.execute("SET LOCAL synchronous_commit = off")
        use_schema(cursor, schema)
        fold(cursor, projection, batch)
        cursor.execute("UPDATE position SET last = %s", [last])
        return last


def _lock_position(cursor: Cursor, schema: str) -> int | Pause:
    """Take the projection for this transaction; gives its position."""
    row = cursor.execute(
        sql.SQL(
            "SELECT p.last, EXISTS (SELECT FROM {schema}.poison)"
            " FROM {schema}.position p FOR UPDATE OF p SKIP LOCKED"
        ).format(schema=sql.Identifier(schema))
    ).fetchone()
    if row is None:
        return BUSY
    return STOPPED if row[1] else int(row[0])


def read(log: Reads, projection: Projection, after: int, limit: int) -> tuple[list[Recorded], int]:
    """The projection's facts in the next `limit` positions, and the last position passed."""
    try:
        return log.read(after, limit, projection.topics)
    except Unavailable:
        raise
    except Exception as error:
        raise FoldFailed(after + 1, after + limit) from error


def fold(cursor: Cursor, projection: Projection, batch: Sequence[Recorded]) -> None:
    """Fold `batch` on the present search path; a failure that is the facts' own is told apart."""
    if not batch:
        return
    try:
        projection.fold(cursor, batch)
    except OF_THE_FACT as error:
        raise FoldFailed(batch[0].position, batch[-1].position) from error
    except TRANSIENT:
        raise
    except Exception as error:
        raise FoldFailed(batch[0].position, batch[-1].position) from error


def _stop(conn: Connection, schema: str, position: int, error: str) -> Pause:
    """Record the alarm, unless another worker has dealt with the fact since."""
    with conn.transaction():
        cursor = tuples(conn)
        after = _lock_position(cursor, schema)
        if isinstance(after, Pause):
            return after
        if after >= position:
            return BUSY
        topic = _topic_at(cursor, position)
        use_schema(cursor, schema)
        cursor.execute("INSERT INTO poison VALUES (%s, %s, %s)", [position, topic, error])
    _logger.error("projection.stopped", schema=schema, position=position, topic=topic, error=error)
    return STOPPED


def _topic_at(cursor: Cursor, position: int) -> str:
    """The stored topic: a body that can't be read gives none."""
    row = cursor.execute(
        "SELECT topic FROM log.events WHERE notification_id = %s", [position]
    ).fetchone()
    return str(row[0]) if row else ""


def resume(conn: Connection, projection: Projection) -> bool:
    """Clear the alarm so that the next step tries the fact again; False when there was none."""
    with conn.transaction():
        cursor = tuples(conn)
        use_schema(cursor, schema_of(projection))
        return cursor.execute("DELETE FROM poison").rowcount > 0


def standings(
    conn: Connection, head: int, projections: Sequence[Projection]
) -> dict[str, Standing]:
    """Position, lag and alarm of each projection by name, seen at one moment."""
    cursor = tuples(conn)
    schemas = {projection.name: schema_of(projection) for projection in projections}
    found = cursor.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", [list(schemas.values())]
    ).fetchall()
    present = {str(row[0]) for row in found}
    rows = _read_positions(cursor, [schema for schema in schemas.values() if schema in present])
    return {
        name: _standing(name, schema, rows.get(schema), head) for name, schema in schemas.items()
    }


def _read_positions(cursor: Cursor, schemas: Sequence[str]) -> dict[str, TupleRow]:
    if not schemas:
        return {}
    parts = [
        sql.SQL(
            "SELECT {name}, p.last, b.position, b.topic, b.error FROM {schema}.position p"
            " LEFT JOIN {schema}.poison b ON true"
        ).format(name=sql.Literal(schema), schema=sql.Identifier(schema))
        for schema in schemas
    ]
    return {row[0]: row for row in cursor.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall()}


def _standing(name: str, schema: str, row: TupleRow | None, head: int) -> Standing:
    if row is None:
        return Standing(name=name, schema=schema, position=None, behind=head, poison=None)
    poison = Poison(position=row[2], topic=row[3], error=row[4]) if row[2] is not None else None
    behind = max(0, head - row[1])
    return Standing(name=name, schema=schema, position=row[1], behind=behind, poison=poison)
