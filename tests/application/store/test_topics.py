"""The registry is closed, strict, and reads old topics as new ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import uuid4

import msgspec
import pytest

from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import BadFact, TopicRegistry, UnknownTopic, holds_private, registry
from domain.kernel import Fact, Private
from tests.application.store.shelves import (
    ShelfNoted,
    ShelfOpened,
    ShelfRenamed,
    envelopes,
    writes,
)


class Untitled(Fact, frozen=True):
    """A fact without a topic."""


class Heir(ShelfOpened, frozen=True):
    """A fact that only inherits a topic."""


class Undocumented(Fact, frozen=True):
    TOPIC: ClassVar[str] = "shelf.undocumented.1"


class Twin(Fact, frozen=True):
    """A fact with the topic of another."""

    TOPIC: ClassVar[str] = "shelf.opened.1"


class Unnumbered(Fact, frozen=True):
    """A fact whose topic has no number."""

    TOPIC: ClassVar[str] = "shelf.opened"


@pytest.mark.parametrize("fact", [Untitled, Heir, Undocumented, Twin, Unnumbered])
def test_a_fact_that_breaks_the_rules_does_not_register(fact: type[Fact]) -> None:
    known = TopicRegistry()
    known.add(ShelfOpened)
    with pytest.raises(BadFact):
        known.add(fact)
    assert known.topics == {"shelf.opened.1"}


def test_every_fact_of_the_domain_registers() -> None:
    known = registry()
    assert len(known.types) >= 10
    assert all(topic == fact.TOPIC for topic, fact in known.types.items())


def test_an_unregistered_fact_is_not_written(log: EventLog) -> None:
    with pytest.raises(BadFact):
        log.append(writes(*envelopes(uuid4(), 0, Untitled())))
    with pytest.raises(BadFact):
        log.append(writes(*envelopes(uuid4(), 0, Twin())))
    assert log.head() == 0


def test_a_time_that_is_not_in_utc_is_not_written(log: EventLog) -> None:
    given = envelopes(uuid4(), 0, ShelfOpened(name="a"))[0]
    naive = msgspec.structs.replace(given.meta, at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="UTC"):
        log.append(writes(msgspec.structs.replace(given, meta=naive)))


def test_an_unknown_topic_stops_the_reader(log: EventLog, app_url: str, keyring: Keyring) -> None:
    shelf = uuid4()
    log.append(writes(*envelopes(shelf, 0, ShelfOpened(name="a"), ShelfNoted(notes=()))))
    older = TopicRegistry()
    older.add(ShelfOpened)
    reader = EventLog(app_url, keyring, older)
    with pytest.raises(UnknownTopic) as unknown:
        reader.read(0, 10)
    assert unknown.value.topic == "shelf.noted.1"
    # Also where only known topics are wanted: what it passes over might matter.
    with pytest.raises(UnknownTopic):
        reader.read(0, 10, frozenset({"shelf.opened.1"}))
    assert reader.read(0, 1)[1] == 1
    reader.close()


class ShelfLabelled(Fact, frozen=True):
    """A shelf was opened with a label and a colour."""

    TOPIC: ClassVar[str] = "shelf.labelled.3"
    label: str
    colour: str


def to_second(fact: dict[str, Any]) -> dict[str, Any]:
    return {"label": fact["name"]}


def to_third(fact: dict[str, Any]) -> dict[str, Any]:
    return {**fact, "colour": "grey"}


def test_an_old_topic_is_read_as_the_newest(log: EventLog, app_url: str, keyring: Keyring) -> None:
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a"))))
    newer = TopicRegistry()
    newer.add(ShelfLabelled, ShelfRenamed)
    newer.upcast("shelf.opened.1", "shelf.labelled.2", to_second)
    newer.upcast("shelf.labelled.2", "shelf.labelled.3", to_third)
    reader = EventLog(app_url, keyring, newer)
    wanted = ShelfLabelled(label="a", colour="grey")
    assert [r.envelope.fact for r in reader.read(0, 10)[0]] == [wanted]
    found, _ = reader.read(0, 10, frozenset({"shelf.labelled.3"}))
    assert [r.envelope.fact for r in found] == [wanted]
    assert reader.read(0, 10, frozenset({"shelf.renamed.1"})) == ([], 1)
    with pytest.raises(BadFact):
        newer.add(ShelfOpened)
    reader.close()


def test_an_unknown_field_stops_the_reader(log: EventLog, app_url: str, keyring: Keyring) -> None:
    log.append(writes(*envelopes(uuid4(), 0, ShelfRenamed(old="a", new="b"))))

    class Narrow(Fact, frozen=True):
        """A shelf got another name, forgetting which it had."""

        TOPIC: ClassVar[str] = "shelf.renamed.1"
        new: str

    narrow = TopicRegistry()
    narrow.add(Narrow)
    reader = EventLog(app_url, keyring, narrow)
    with pytest.raises(msgspec.ValidationError):
        reader.read(0, 10)
    reader.close()


class Inner(msgspec.Struct):
    text: Private | None


class Outer(msgspec.Struct):
    inner: dict[str, tuple[Inner, ...]]


def test_private_fields_are_found_wherever_they_are() -> None:
    assert holds_private(Outer)
    assert holds_private(ShelfNoted)
    assert not holds_private(ShelfOpened)
