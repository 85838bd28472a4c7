"""Searching the history with the contents of the facts, unsealed as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from application.ports import EventLogPort
from domain.kernel import Fact, Private, Recorded
from projections.engine import Connection
from projections.history import HistoryQuery, HistoryRow, list_facts, list_latest_facts

PAGE = 500
SPARSE = 4
"""Positions per wanted fact up to which one reading of them all beats single readings."""
ERASED = "(erased)"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A fact as an auditor sees it: envelope and plain contents; erased text says so."""

    position: int
    at: datetime
    topic: str
    actor: UUID | None
    aggregate: UUID
    version: int
    command: UUID
    correlation: UUID
    fact: dict[str, Any]


def search_facts(
    conn: Connection, log: EventLogPort, query: HistoryQuery, *, text: str | None, limit: int | None
) -> Iterator[Entry]:
    """Facts that match `query` and hold `text` (any case), oldest first.

    With a `limit` the newest that many are given. Raises what reading the log raises.
    """
    if limit is None:
        yield from _holding(_forward(conn, log, query), text)
        return
    yield from reversed(list(islice(_holding(_backward(conn, log, query), text), limit)))


def _holding(entries: Iterator[Entry], text: str | None) -> Iterator[Entry]:
    if text is None:
        yield from entries
        return
    wanted = text.casefold()
    for entry in entries:
        if wanted in msgspec.json.encode(entry.fact).decode().casefold():
            yield entry


def _forward(conn: Connection, log: EventLogPort, query: HistoryQuery) -> Iterator[Entry]:
    while rows := list_facts(conn, query, limit=PAGE):
        yield from _entries(log, rows)
        query = msgspec.structs.replace(query, after=rows[-1].position)


def _backward(conn: Connection, log: EventLogPort, query: HistoryQuery) -> Iterator[Entry]:
    while rows := list_latest_facts(conn, query, limit=PAGE):
        yield from reversed(list(_entries(log, rows[::-1])))
        query = msgspec.structs.replace(query, before=rows[-1].position)


def _entries(log: EventLogPort, rows: Sequence[HistoryRow]) -> Iterator[Entry]:
    """Rows in ascending order with their contents."""
    first, last = rows[0].position, rows[-1].position
    if last - first < SPARSE * len(rows):
        found = {r.position: r for r in log.read(first - 1, last - first + 1)[0]}
        yield from (_entry(found[row.position]) for row in rows)
    else:
        yield from (_entry(log.read(row.position - 1, 1)[0][0]) for row in rows)


def _entry(recorded: Recorded) -> Entry:
    envelope = recorded.envelope
    return Entry(
        position=recorded.position,
        at=envelope.meta.at,
        topic=envelope.fact.TOPIC,
        actor=envelope.meta.actor,
        aggregate=envelope.originator_id,
        version=envelope.originator_version,
        command=envelope.meta.command,
        correlation=envelope.meta.correlation,
        fact=plain_fact(envelope.fact),
    )


def plain_fact(fact: Fact) -> dict[str, Any]:
    """The fields of a fact as plain JSON values; private text whose key is gone is `ERASED`."""
    plain: dict[str, Any] = msgspec.to_builtins(fact, enc_hook=_plain_private)
    return plain


def _plain_private(value: object) -> str:
    if isinstance(value, Private):
        return ERASED if value.text is None else value.text
    raise TypeError(f"{type(value).__name__} can't stand in a fact")
