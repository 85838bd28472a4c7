"""Catching up with several read models at a time: each ends at the head, or says why not."""

from __future__ import annotations

from functools import partial

import psycopg
import pytest

from application.store.log import EventLog
from projections import engine
from projections.catch_up import analyze, catch_up
from projections.digest import digest_tables
from projections.engine import IDLE, STOPPED, Connection
from projections.rebuild import Progress
from tests.projections.engine_kit import Jars, story, write


class Shelf(Jars):
    """The same read model under another name."""

    name = "shelf"


class Pantry(Jars):
    """Another one, which is not installed."""

    name = "pantry"


def test_each_read_model_comes_to_the_head(conn: Connection, log: EventLog, app_url: str) -> None:
    write(log, story(230))
    for projection in (Jars(), Shelf()):
        engine.install(conn, projection)
    told: list[tuple[str, int, int]] = []

    def report(name: str, progress: Progress) -> None:
        told.append((name, progress.position, progress.head))

    connect = partial(psycopg.connect, app_url, autocommit=True)
    ended = catch_up(connect, log, (Jars(), Shelf(), Pantry()), report=report, limit=100)
    assert ended == {"jars": IDLE, "shelf": IDLE, "pantry": engine.ABSENT}
    for name in ("jars", "shelf"):
        assert [at for n, at, _ in told if n == name] == [100, 200, 230]
    assert {head for _, _, head in told} == {230}
    jars = digest_tables(conn, Jars(), "jars_1")
    assert jars == digest_tables(conn, Shelf(), "shelf_1")
    engine.install(conn, Pantry())
    while isinstance(engine.step(conn, log, Pantry()), int):
        pass
    assert digest_tables(conn, Pantry(), "pantry_1") == jars


def test_a_bad_fact_stops_its_read_model(conn: Connection, log: EventLog, app_url: str) -> None:
    write(log, story(50, bad_at=34))
    engine.install(conn, Jars())
    connect = partial(psycopg.connect, app_url, autocommit=True)
    ended = catch_up(connect, log, (Jars(),), report=lambda *_: None)
    assert ended == {"jars": STOPPED}
    assert engine.standings(conn, log.head(), (Jars(),))["jars"].position == 33


def test_it_waits_for_another_worker_and_says_so(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    write(log, story(50))
    for projection in (Jars(), Shelf()):
        engine.install(conn, projection)
    told: list[str] = []
    with psycopg.connect(app_url) as worker:
        worker.execute("SELECT last FROM jars_1.position FOR UPDATE")

        def waiting(name: str) -> None:
            told.append(name)
            if len(told) == 2:
                worker.rollback()

        connect = partial(psycopg.connect, app_url, autocommit=True)
        ended = catch_up(
            connect, log, (Jars(), Shelf()), report=lambda *_: None, waiting=waiting, limit=20
        )
    assert ended == {"jars": IDLE, "shelf": IDLE}
    assert told == ["jars", "jars"]
    assert engine.standings(conn, log.head(), (Jars(),))["jars"].behind == 0


def test_it_goes_without_one_that_never_comes_free(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    write(log, story(50))
    for projection in (Jars(), Shelf()):
        engine.install(conn, projection)
    with psycopg.connect(app_url, autocommit=True) as worker:
        held = "BEGIN; SELECT last FROM jars_1.position FOR UPDATE"
        worker.execute(held)
        told: list[str] = []

        def waiting(name: str) -> None:
            told.append(name)
            if len(told) == 1:
                # It moves once, and then no more.
                worker.execute("COMMIT")
                engine.step(worker, log, Jars(), limit=10)
                worker.execute(held)
            assert len(told) < 50, "nobody waits for ever"

        connect = partial(psycopg.connect, app_url, autocommit=True)
        ended = catch_up(
            connect,
            log,
            (Jars(), Shelf()),
            report=lambda *_: None,
            waiting=waiting,
            limit=20,
            patience=0.3,
        )
    assert ended == {"jars": engine.BUSY, "shelf": IDLE}
    standings = engine.standings(conn, log.head(), (Jars(), Shelf()))
    assert {name: standing.position for name, standing in standings.items()} == {
        "jars": 10,
        "shelf": log.head(),
    }


def test_it_stays_with_one_that_another_brings_on(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    """Longer in all than it would wait for one that stands still."""
    write(log, story(80))
    engine.install(conn, Jars())
    with psycopg.connect(app_url, autocommit=True) as worker:
        held = "SELECT last FROM jars_1.position FOR UPDATE"
        worker.execute("BEGIN")
        worker.execute(held)

        def waiting(_: str) -> None:
            worker.execute("COMMIT")
            if isinstance(engine.step(worker, log, Jars(), limit=10), int):
                worker.execute("BEGIN")
                worker.execute(held)

        connect = partial(psycopg.connect, app_url, autocommit=True)
        folded: list[str] = []
        ended = catch_up(
            connect,
            log,
            (Jars(),),
            report=lambda name, _: folded.append(name),
            waiting=waiting,
            patience=0.5,
        )
    assert (ended, folded) == ({"jars": IDLE}, [])


def test_a_failure_of_the_server_is_raised(log: EventLog) -> None:
    connect = partial(psycopg.connect, "host=127.0.0.1 port=1 user=nobody dbname=none")
    with pytest.raises(psycopg.OperationalError):
        catch_up(connect, log, (Jars(),), report=lambda *_: None)


def test_the_planner_learns_what_the_tables_hold(conn: Connection, log: EventLog) -> None:
    write(log, story(200))
    engine.install(conn, Jars())
    while isinstance(engine.step(conn, log, Jars()), int):
        pass
    analyze(conn, (Jars(),))
    row = conn.execute(
        "SELECT reltuples::bigint FROM pg_class WHERE oid = 'jars_1.jars'::regclass"
    ).fetchone()
    assert row == (40,)
