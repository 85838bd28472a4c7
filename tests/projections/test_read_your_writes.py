"""Stepping after a commit and before a read: within bounds, and never an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from application.ports import Appended, Writes
from application.store.log import EventLog
from projections import engine
from projections.history import HistoryProjection
from projections.read_your_writes import MOST_BEHIND, ReadYourWrites
from tests.projections.engine_kit import JarOpened, Jars, WeatherNoted, envelope, jar, story, write

OPENED = frozenset({JarOpened.TOPIC})


class Barrels(Jars):
    """Another projection of the same facts."""

    name = "barrels"


@pytest.fixture
def pool(app_url: str) -> Iterator[ConnectionPool[Connection[Any]]]:
    with ConnectionPool(app_url, min_size=1, max_size=2, open=False) as opened:
        opened.open()
        yield opened


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def reads(
    pool: ConnectionPool[Connection[Any]], conn: engine.Connection, log: EventLog, woken: list[str]
) -> ReadYourWrites:
    """Jars and the history, both installed."""
    projections = (Jars(), HistoryProjection())
    for projection in projections:
        engine.install(conn, projection)
    return ReadYourWrites(pool, log, projections, wake=lambda: woken.append("woken"))


def position(conn: engine.Connection, schema: str = "jars_1") -> int:
    row = conn.execute(f"SELECT last FROM {schema}.position").fetchone()
    assert row
    return int(row[0])


def test_after_a_commit_the_projections_that_declare_its_topics_have_it(
    reads: ReadYourWrites, conn: engine.Connection, log: EventLog, woken: list[str]
) -> None:
    write(log, story(5))
    assert reads(Appended(first=1, last=5, topics=OPENED)) == ()
    assert position(conn) == 5
    assert woken == ["woken"]


def test_a_projection_of_all_topics_is_left_to_the_workers_and_not_called_stale(
    reads: ReadYourWrites, conn: engine.Connection, log: EventLog
) -> None:
    write(log, story(5))
    assert reads(Appended(first=1, last=5, topics=OPENED)) == ()
    assert position(conn, "history_2") == 0


def test_a_commit_of_other_topics_steps_nothing(
    reads: ReadYourWrites, conn: engine.Connection, log: EventLog
) -> None:
    write(log, [envelope(jar(1), 1, WeatherNoted(text="rain"))])
    assert reads(Appended(first=1, last=1, topics=frozenset({WeatherNoted.TOPIC}))) == ()
    assert position(conn) == 0


def test_one_far_behind_is_named_and_not_stepped(
    reads: ReadYourWrites, conn: engine.Connection, log: EventLog
) -> None:
    length = MOST_BEHIND + 1
    write(log, story(length))
    assert reads(Appended(first=1, last=length, topics=OPENED)) == ("jars",)
    assert position(conn) == 0


def test_a_stopped_one_is_named_and_others_are_stepped(
    pool: ConnectionPool[Connection[Any]], conn: engine.Connection, log: EventLog
) -> None:
    for projection in (Jars(), Barrels()):
        engine.install(conn, projection)
    conn.execute("INSERT INTO jars_1.poison VALUES (1, 'jar.opened.1', 'KeyError')")
    reads = ReadYourWrites(pool, log, (Jars(), Barrels()), wake=lambda: None)
    write(log, story(5))
    assert reads(Appended(first=1, last=5, topics=OPENED)) == ("jars",)
    assert position(conn, "barrels_1") == 5


def test_one_that_was_never_installed_is_named(
    pool: ConnectionPool[Connection[Any]], log: EventLog
) -> None:
    reads = ReadYourWrites(pool, log, (Jars(),), wake=lambda: None)
    write(log, story(5))
    assert reads(Appended(first=1, last=5, topics=OPENED)) == ("jars",)
    assert reads.failures == 0


def test_one_another_worker_holds_is_waited_for_within_the_budget(
    reads: ReadYourWrites, log: EventLog, app_url: str
) -> None:
    write(log, story(5))
    with psycopg.connect(app_url) as other:
        other.execute("SELECT last FROM jars_1.position FOR UPDATE")
        assert reads(Appended(first=1, last=5, topics=OPENED)) == ("jars",)
    assert reads(Appended(first=1, last=5, topics=OPENED)) == ()


def test_a_database_that_is_gone_is_counted_not_raised(log: EventLog, woken: list[str]) -> None:
    with ConnectionPool(
        "postgresql://nobody@127.0.0.1:1/none", min_size=0, max_size=1, open=False
    ) as pool:
        pool.open()
        reads = ReadYourWrites(pool, log, (Jars(),), wake=lambda: woken.append("woken"))
        assert reads(Appended(first=1, last=1, topics=OPENED)) == ("jars",)
    assert (reads.failures, woken) == (1, ["woken"])


def test_a_wake_up_that_fails_is_counted_not_raised(
    pool: ConnectionPool[Connection[Any]], conn: engine.Connection, log: EventLog
) -> None:
    def failing() -> None:
        raise ConnectionError("redis is away")

    engine.install(conn, Jars())
    reads = ReadYourWrites(pool, log, (Jars(),), wake=failing)
    write(log, story(5))
    assert reads(Appended(first=1, last=5, topics=OPENED)) == ()
    assert reads.failed_wakes == 1


def test_a_read_brings_every_projection_to_its_position(
    reads: ReadYourWrites, conn: engine.Connection, log: EventLog
) -> None:
    write(log, story(30))
    assert reads.catch_up(30, 0.5) == ()
    assert (position(conn), position(conn, "history_2")) == (30, 30)


def test_a_position_once_reached_costs_no_query(
    reads: ReadYourWrites, pool: ConnectionPool[Connection[Any]], log: EventLog
) -> None:
    write(log, story(10))
    assert reads.catch_up(10, 0.5) == ()
    pool.close()
    assert reads.catch_up(9, 0.5) == ()
    assert reads.failures == 0


def test_a_position_the_log_does_not_have_is_not_waited_for(
    reads: ReadYourWrites, log: EventLog
) -> None:
    write(log, story(10))
    assert reads.catch_up(11, 30.0) == ("jars", "history")


def test_a_fact_of_the_same_command_is_seen_whatever_its_place(
    reads: ReadYourWrites, conn: engine.Connection, log: EventLog
) -> None:
    opened = envelope(jar(1), 1, JarOpened(label="one"))
    noted = envelope(jar(2), 1, WeatherNoted(text="rain"))
    appended = log.append(Writes(command_id=opened.meta.command, envelopes=(opened, noted)))
    assert reads(appended) == ()
    assert conn.execute("SELECT label FROM jars_1.jars").fetchall() == [("one",)]
