"""The recorder: appends by one call in the database, reads by position or aggregate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import InterfaceError, OperationalError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.utils import retry
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, tuple_row
from psycopg.types.numeric import Int8
from psycopg_pool import PoolTimeout

from application.store.mapper import commit_of
from domain.errors import Unavailable

OUT_OF_REACH = "The event log is out of reach; try again."
READ_ATTEMPTS = 2
"""A read is tried again once, on a connection known to live; a write never blindly."""


class ClaimChange(NamedTuple):
    kind: str
    value: bytes
    owner: UUID
    take: bool


class ItemChange(NamedTuple):
    """A vault item to put, or to destroy when `value` is None; `absent`: only a new one."""

    kind: str
    owner: UUID
    id: str
    value: bytes | None
    absent: bool = False


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What one command changes beside its facts; values are sealed already."""

    command: UUID | None = None
    attempt: UUID | None = None
    body_hash: bytes | None = None
    answer: bytes | None = None
    claims: Sequence[ClaimChange] = ()
    items: Sequence[ItemChange] = ()
    blobs: Sequence[tuple[bytes, bytes]] = field(default=())
    reads: Sequence[tuple[UUID, int]] = ()


class Row(NamedTuple):
    """One stored event; `state` is None where the reader did not ask for its topic."""

    position: int
    originator_id: UUID
    version: int
    topic: str
    state: bytes | None


NOTHING = Changes()

_APPEND = """
CALL log.append_durably(
    %b::uuid, %b::uuid, %b::bytea, %b::bytea,
    %b::uuid[], %b::bigint[], %b::text[], %b::bytea[], %b::bytea[],
    %b::text[], %b::bytea[], %b::uuid[], %b::boolean[],
    %b::text[], %b::uuid[], %b::text[], %b::bytea[], %b::boolean[],
    %b::bytea[], %b::bytea[], %b::uuid[], %b::bigint[], NULL, NULL)
"""
_WRITE_ITEMS = "SELECT vault.write(%b::text[], %b::uuid[], %b::text[], %b::bytea[], %b::boolean[])"
# As in `log.append_durably`: a commit of our own waits for all that was written before it.
_AWAIT_DISK = "SELECT pg_logical_emit_message(true, 'trackarr', '')"
_SCAN = """
SELECT notification_id, originator_id, originator_version, topic,
       CASE WHEN %(topics)b::text[] IS NULL OR topic = ANY(%(topics)b::text[]) THEN state END
FROM log.events WHERE notification_id > %(after)b::bigint
ORDER BY notification_id LIMIT %(limit)b::bigint
"""
_SELECT = """
SELECT originator_id, originator_version, topic, state FROM log.events
WHERE originator_id = %(id)b AND originator_version > %(gt)b::bigint
  AND originator_version <= %(lte)b::bigint
ORDER BY originator_version
"""


def open_datastore(
    conninfo: str, *, pool_size: int, max_overflow: int, wait: float
) -> PostgresDatastore:
    """The library's connection pool for schema `log`, from any conninfo or URL of libpq.

    `wait` is how many seconds a caller waits for a connection.
    """
    given = conninfo_to_dict(conninfo)
    datastore = PostgresDatastore(
        dbname=str(given.pop("dbname", "")),
        host=str(given.pop("host", "")),
        port=str(given.pop("port", "") or "5432"),
        user=str(given.pop("user", "")),
        password=str(given.pop("password", "") or ""),
        pool_size=pool_size,
        max_overflow=max_overflow,
        connect_timeout=wait,
        idle_in_transaction_session_timeout=30,
        schema="log",
    )
    rest = {name: value for name, value in given.items() if value is not None}
    kwargs = datastore.pool.kwargs
    if isinstance(kwargs, dict):
        kwargs.update(rest)
    return datastore


def columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any] | None]:
    """Rows as one list for each column; None for each when there are no rows."""
    if not rows:
        return [None] * width
    return [list(column) for column in zip(*rows, strict=True)]


class EventLogRecorder(PostgresApplicationRecorder):
    """Records into `log.events` through `log.append_durably`; it never creates a table.

    The library's own insert locks the table against VACUUM and needs rights on it that the
    application does not have; its hidden retries hide whether an append happened.
    """

    def __init__(self, datastore: PostgresDatastore) -> None:
        super().__init__(datastore, events_table_name="events")
        self.channel_name = "log_events"
        self.sql_create_statements = []

    @contextmanager
    def connection(self) -> Iterator[Connection[DictRow]]:
        """A pooled connection in autocommit; psycopg's errors come out as the library's.

        Raises `Unavailable` when the pool had none to give in time: waiting again won't help.
        """
        try:
            with self.datastore.get_connection() as conn:
                yield conn
        except OperationalError as error:
            if isinstance(error.__cause__, PoolTimeout):
                raise Unavailable(OUT_OF_REACH, retry_after=1) from error
            raise

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, changes: Changes = NOTHING, **_: Any
    ) -> list[int]:
        """Append facts and changes in one round trip, or nothing; positions in order.

        Raises the library's `IntegrityError`, whose cause names the constraint.
        """
        events = [
            (e.originator_id, Int8(e.originator_version), e.topic, e.state, commit_of(e))
            for e in stored_events
        ]
        args = [
            changes.command,
            changes.attempt,
            changes.body_hash,
            changes.answer,
            *columns(events, 5),
            *columns(changes.claims, 4),
            *columns(changes.items, 5),
            *columns(changes.blobs, 2),
            *columns([(read, Int8(version)) for read, version in changes.reads], 2),
        ]
        with self.connection() as conn, conn.cursor(row_factory=tuple_row, binary=True) as cursor:
            first, last = cursor.execute(_APPEND, args, prepare=True).fetchone() or (0, 0)
        return list(range(first, last + 1)) if events else []

    def write_items(self, items: Sequence[ItemChange]) -> None:
        """Change vault items without a command."""
        with self.connection() as conn:
            conn.execute(_WRITE_ITEMS, columns(items, 5), prepare=True)

    def await_disk(self) -> None:
        """Return once everything seen in the log so far is durable."""
        self.rows(_AWAIT_DISK)

    def scan(self, after: int, limit: int, topics: Sequence[str] | None) -> list[Row]:
        """The next `limit` events behind a position, whatever their topic."""
        wanted = list(topics) if topics is not None else None
        params = {"after": Int8(after), "limit": Int8(limit), "topics": wanted}
        return [Row(*row) for row in self.rows(_SCAN, params)]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        if desc or limit is not None:
            found: Sequence[StoredEvent] = super().select_events(
                originator_id, gt=gt, lte=lte, desc=desc, limit=limit
            )
            return found
        params = {
            "id": originator_id,
            "gt": Int8(-1 if gt is None else gt),
            "lte": Int8(2**62 if lte is None else lte),
        }
        return [StoredEvent(*row) for row in self.rows(_SELECT, params)]

    def rows(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Rows of a literal query, prepared and in binary; once more when a connection broke."""
        return self._read(query, params)  # type: ignore[no-any-return]

    @retry((InterfaceError, OperationalError), max_attempts=READ_ATTEMPTS)
    def _read(self, query: str, params: Any) -> list[tuple[Any, ...]]:
        try:
            with self.connection() as conn, conn.cursor(row_factory=tuple_row, binary=True) as c:
                return c.execute(query.encode(), params, prepare=True).fetchall()
        except (InterfaceError, OperationalError):
            self.drop_broken_connections()
            raise

    def drop_broken_connections(self) -> None:
        """After a server restart: let the pool replace what no longer works."""
        self.datastore.pool.check()


def constraint_of(error: Exception) -> tuple[str, str]:
    """Name of the constraint an append broke, and the detail given with it."""
    cause = error.__cause__
    if isinstance(cause, psycopg.Error):
        return cause.diag.constraint_name or "", cause.diag.message_detail or ""
    return "", ""
