"""A small projection of its own facts, and a log that knows them, for the engine's tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid4

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import TopicRegistry
from domain.kernel import Claim, Envelope, Fact, Meta, Private, Recorded
from projections.engine import Cursor

START = datetime(2026, 1, 1, tzinfo=UTC)


class JarOpened(Fact, frozen=True):
    """A jar was opened."""

    TOPIC: ClassVar[str] = "jar.opened.1"

    label: str

    def claims(self) -> tuple[Claim, ...]:
        return (Claim("jar.label", self.label),)


class JarClosed(Fact, frozen=True):
    """A jar was closed; its label is free again."""

    TOPIC: ClassVar[str] = "jar.closed.1"

    label: str

    def releases(self) -> tuple[Claim, ...]:
        return (Claim("jar.label", self.label),)


class MarblesAdded(Fact, frozen=True):
    """Marbles went into a jar."""

    TOPIC: ClassVar[str] = "jar.marbles_added.1"

    marbles: int


class WeatherNoted(Fact, frozen=True):
    """Somebody noted the weather: no projection here reads it but the history."""

    TOPIC: ClassVar[str] = "weather.noted.1"

    text: str


class NoteLeft(Fact, frozen=True):
    """Somebody left a note that only some may read."""

    TOPIC: ClassVar[str] = "note.left.1"

    text: Private


class JarMoved(Fact, frozen=True):
    """A jar was put on a table, perhaps beside another, before others."""

    TOPIC: ClassVar[str] = "jar.moved.1"

    table: UUID
    beside: UUID | None
    note_id: UUID
    before: tuple[UUID, ...] = ()


FACTS: tuple[type[Fact], ...] = (
    JarOpened,
    JarClosed,
    JarMoved,
    MarblesAdded,
    WeatherNoted,
    NoteLeft,
)


class Jars:
    """Jars with their marbles, and the number of jars: a counter that a double fold would show."""

    name = "jars"
    version = 1
    topics = frozenset({JarOpened.TOPIC, JarClosed.TOPIC, MarblesAdded.TOPIC})
    ddl = """
        CREATE TABLE jars (
            id uuid PRIMARY KEY,
            label text COLLATE "C" NOT NULL,
            marbles bigint NOT NULL CHECK (marbles < 1000000),
            changed_at timestamptz NOT NULL
        );
        CREATE INDEX ON jars (label);
        CREATE TABLE counters (name text COLLATE "C" PRIMARY KEY, value bigint NOT NULL);
        INSERT INTO counters VALUES ('jars', 0);
    """
    keys: ClassVar[Mapping[str, tuple[str, ...]]] = {"jars": ("id",), "counters": ("name",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        opened = [r.envelope for r in batch if isinstance(r.envelope.fact, JarOpened)]
        added = [r.envelope for r in batch if isinstance(r.envelope.fact, MarblesAdded)]
        self._open(cursor, opened)
        self._add(cursor, added)

    def _open(self, cursor: Cursor, opened: Sequence[Envelope]) -> None:
        cursor.executemany(
            "INSERT INTO jars VALUES (%s, %s, 0, %s)",
            [(e.originator_id, e.fact.label, e.meta.at) for e in opened],
        )
        cursor.execute("UPDATE counters SET value = value + %s", [len(opened)])

    def _add(self, cursor: Cursor, added: Sequence[Envelope]) -> None:
        sums: dict[UUID, tuple[int, datetime]] = {}
        for envelope in added:
            before = sums.get(envelope.originator_id, (0, START))[0]
            total = before + envelope.fact.marbles
            sums[envelope.originator_id] = (total, envelope.meta.at)
        cursor.execute(
            "UPDATE jars SET marbles = jars.marbles + new.marbles, changed_at = new.at"
            " FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[]) new(id, marbles, at)"
            " WHERE jars.id = new.id",
            [list(sums), [s[0] for s in sums.values()], [s[1] for s in sums.values()]],
        )


def jar(number: int) -> UUID:
    return UUID(int=0x7000 << 64 | 0x8000 << 48 | number)


def envelope(
    originator: UUID, version: int, fact: Fact, *, number: int = 1, actor: UUID | None = None
) -> Envelope:
    meta = Meta(
        at=START + timedelta(seconds=number),
        actor=actor,
        command=UUID(int=1 << 100 | number),
        correlation=UUID(int=2 << 100 | number),
    )
    return Envelope(originator_id=originator, originator_version=version, meta=meta, fact=fact)


def story(length: int, *, bad_at: int | None = None) -> Iterator[Envelope]:
    """`length` facts over a few jars, with facts of another topic between them.

    The fact at `bad_at` breaks a constraint of the table; it is one about marbles.
    """
    versions: dict[UUID, int] = {}
    for number in range(1, length + 1):
        who, fact = _happening(number)
        if number == bad_at:
            assert isinstance(fact, MarblesAdded)
            fact = MarblesAdded(marbles=2_000_000)
        versions[who] = versions.get(who, 0) + 1
        yield envelope(who, versions[who], fact, number=number)


def _happening(number: int) -> tuple[UUID, Fact]:
    """The first of five opens a jar, the third is about the weather, the others fill a jar."""
    if number % 5 == 1:
        return jar(number), JarOpened(label=f"jar {number}")
    if number % 5 == 3:
        return UUID(int=99), WeatherNoted(text=f"rain {number}")
    opened = 1 + (number - 1) // 5
    return jar(1 + 5 * (number * 7919 % opened)), MarblesAdded(marbles=number % 97)


@contextmanager
def open_jar_log(url: str, keyring: Keyring | None = None) -> Iterator[EventLog]:
    """The real event log, knowing the facts of this module."""
    registry = TopicRegistry()
    registry.add(*FACTS)
    log = EventLog(url, keyring or Keyring.generate(), registry)
    try:
        yield log
    finally:
        log.close()


def write(log: EventLog, envelopes: Iterable[Envelope]) -> None:
    log.append(Writes(command_id=uuid4(), envelopes=tuple(envelopes)))


class CrashingJars(Jars):
    """Jars whose worker dies after the fold, before the position is committed, now and then."""

    def __init__(self, pattern: Iterator[bool]) -> None:
        self.pattern = pattern
        self.crashes = 0

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        super().fold(cursor, batch)
        if next(self.pattern):
            self.crashes += 1
            cursor.connection.close()
            cursor.execute("SELECT 1")
