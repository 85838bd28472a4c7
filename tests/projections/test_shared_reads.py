"""Reading for several: each gets what the log would have given it, and the log is asked once."""

from __future__ import annotations

import pytest

from application.store.log import EventLog
from domain.kernel import Recorded
from projections.shared_reads import SharedReads
from tests.kit.programs import until
from tests.projections.engine_kit import JarOpened, MarblesAdded, story, write

OPENED = frozenset({JarOpened.TOPIC})
ADDED = frozenset({MarblesAdded.TOPIC})


class Counting:
    """The log, with what it was asked; positions in `unreadable` it can give nobody who looks."""

    def __init__(self, log: EventLog, unreadable: frozenset[int] = frozenset()) -> None:
        self._log = log
        self._unreadable = unreadable
        self.asked: list[tuple[int, int, frozenset[str] | None]] = []
        self.answered: list[int] = []

    def read(
        self, after: int, limit: int, topics: frozenset[str] | None = None
    ) -> tuple[list[Recorded], int]:
        self.asked.append((after, limit, topics))
        facts, last = self._log.read(after, limit, topics)
        if self._unreadable & {recorded.position for recorded in facts}:
            raise ValueError("unreadable")
        self.answered.append(last)
        return facts, last


def all_of(reads: SharedReads | EventLog, topics: frozenset[str] | None) -> list[Recorded]:
    found, after = list[Recorded](), 0
    while True:
        facts, last = reads.read(after, 30, topics)
        if last == after:
            return found
        found += facts
        after = last


def test_readers_at_one_place_get_their_facts_from_one_reading(log: EventLog) -> None:
    write(log, story(100))
    counting = Counting(log)
    with SharedReads(counting) as shared:
        shared.wants([OPENED, ADDED])
        after = 0
        while True:
            opened, last = shared.read(after, 30, OPENED)
            added, same = shared.read(after, 30, ADDED)
            assert (opened, last) == log.read(after, 30, OPENED)
            assert (added, same) == log.read(after, 30, ADDED)
            if last == after:
                break
            after = last
    assert [after for after, _, _ in counting.asked[:4]] == [0, 30, 60, 90]
    assert {topics for _, _, topics in counting.asked} == {OPENED | ADDED}


def test_one_who_reads_everything_gets_everything(log: EventLog) -> None:
    write(log, story(100))
    with SharedReads(log) as shared:
        shared.wants([OPENED, None])
        assert all_of(shared, None) == all_of(log, None)
        assert all_of(shared, OPENED) == all_of(log, OPENED)


def test_a_reader_inside_a_stretch_gets_the_rest_of_it(log: EventLog) -> None:
    write(log, story(100))
    with SharedReads(log) as shared:
        shared.wants([None])
        shared.read(0, 30)
        facts, last = shared.read(11, 30)
    assert [recorded.position for recorded in facts] == list(range(12, 31))
    assert last == 30


def test_less_is_read_where_less_is_asked_for(log: EventLog) -> None:
    write(log, story(100))
    with SharedReads(log) as shared:
        shared.wants([None])
        shared.read(0, 30)
        assert shared.read(0, 5) == log.read(0, 5)


def test_what_nobody_can_read_hinders_only_who_looks_at_it(log: EventLog) -> None:
    write(log, story(100))
    bad = next(r.position for r in log.read(0, 100)[0] if r.envelope.fact.TOPIC in ADDED)
    with SharedReads(Counting(log, frozenset({bad}))) as shared:
        shared.wants([OPENED, ADDED])
        assert all_of(shared, OPENED) == all_of(log, OPENED)
        with pytest.raises(ValueError, match="unreadable"):
            all_of(shared, ADDED)


def test_what_is_recorded_meanwhile_is_found(log: EventLog) -> None:
    write(log, story(30))
    counting = Counting(log)
    with SharedReads(counting) as shared:
        shared.wants([None])
        assert shared.read(0, 30)[1] == 30
        # It has looked ahead, when there was nothing.
        until(lambda: len(counting.answered) == 2, what="looking ahead")
        write(log, list(story(60))[30:])
        assert shared.read(30, 30)[1] == 60
