"""Rebuilding beside the live projection and swapping it in, while others read and write."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psycopg
import pytest

from application.store.log import EventLog
from domain.kernel import Recorded
from projections import engine
from projections.digest import digest_tables
from projections.engine import Connection, Cursor
from projections.rebuild import Progress, RebuildRefused, drop_retired, fill, rebuild, swap
from tests.projections.engine_kit import Jars, story, write


def catch_up(conn: Connection, log: EventLog, jars: Jars) -> None:
    while isinstance(engine.step(conn, log, jars), int):
        pass


def schemas(conn: Connection) -> set[str]:
    rows = conn.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'jars%'").fetchall()
    return {row[0] for row in rows}


def test_a_rebuild_mends_the_rows_and_keeps_the_old_ones_beside(
    conn: Connection, log: EventLog
) -> None:
    write(log, story(90))
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    right = digest_tables(conn, Jars(), "jars_1")
    conn.execute("UPDATE jars_1.jars SET marbles = 7")
    wrong = digest_tables(conn, Jars(), "jars_1")
    assert rebuild(conn, log, Jars()) == 90
    assert digest_tables(conn, Jars(), "jars_1") == right
    assert digest_tables(conn, Jars(), "jars_1__old") == wrong
    assert schemas(conn) == {"jars_1", "jars_1__old"}


def test_a_rebuild_installs_what_was_never_there(conn: Connection, log: EventLog) -> None:
    write(log, story(10))
    assert rebuild(conn, log, Jars()) == 10
    assert schemas(conn) == {"jars_1"}


def test_a_rebuild_reports_its_progress(conn: Connection, log: EventLog) -> None:
    told: list[Progress] = []
    write(log, story(10))
    rebuild(conn, log, Jars(), report=told.append, limit=4)
    assert [(step.position, step.head) for step in told] == [(4, 10), (8, 10), (10, 10)]
    assert told[-1].rate > 0


def test_what_an_interrupted_rebuild_left_is_built_anew(conn: Connection, log: EventLog) -> None:
    write(log, story(30))
    engine.install(conn, Jars(), "jars_1__next")
    engine.step(conn, log, Jars(), "jars_1__next", limit=5)
    conn.execute("UPDATE jars_1__next.jars SET marbles = 7")
    rebuild(conn, log, Jars())
    engine.install(conn, Jars(), "jars_twin")
    fill(conn, log, Jars(), "jars_twin", upto=30)
    assert digest_tables(conn, Jars(), "jars_1") == digest_tables(conn, Jars(), "jars_twin")


def test_two_rebuilds_of_one_projection_exclude_each_other(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    write(log, story(10))
    with psycopg.connect(app_url, autocommit=True) as other:
        refused: list[str] = []

        def second(progress: Progress) -> None:
            with pytest.raises(RebuildRefused) as refusal:
                rebuild(other, log, Jars())
            refused.append(str(refusal.value))

        rebuild(conn, log, Jars(), report=second)
        assert refused == ["another rebuild of jars_1 is running"]
        assert rebuild(other, log, Jars()) == 10


def test_a_bad_fact_leaves_the_live_projection_alone(conn: Connection, log: EventLog) -> None:
    write(log, story(30, bad_at=9))
    engine.install(conn, Jars())
    engine.step(conn, log, Jars(), limit=8)
    before = digest_tables(conn, Jars(), "jars_1")
    with pytest.raises(RebuildRefused, match="a fact it cannot fold"):
        rebuild(conn, log, Jars())
    assert digest_tables(conn, Jars(), "jars_1") == before
    assert schemas(conn) == {"jars_1"}


def test_the_swap_gives_up_when_readers_never_leave(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    write(log, story(10))
    engine.install(conn, Jars())
    engine.install(conn, Jars(), "jars_1__next")
    waits: list[float] = []
    with psycopg.connect(app_url) as reader:
        reader.execute("SELECT * FROM jars_1.position")
        with pytest.raises(RebuildRefused, match="never free"):
            swap(conn, log, Jars(), attempts=1, pause=waits.append)
    assert waits == [0.2]
    assert swap(conn, log, Jars()) == 10


def test_the_tail_is_folded_before_the_swap_so_the_position_never_goes_back(
    conn: Connection,
    log: EventLog,
) -> None:
    write(log, story(40))
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    engine.install(conn, Jars(), "jars_1__next")
    assert swap(conn, log, Jars()) == 40


def test_a_shadow_stops_at_exactly_the_position_asked_for(conn: Connection, log: EventLog) -> None:
    write(log, story(40))
    engine.install(conn, Jars())
    engine.step(conn, log, Jars(), limit=23)
    engine.install(conn, Jars(), "jars_twin")
    fill(conn, log, Jars(), "jars_twin", upto=23, limit=10)
    assert digest_tables(conn, Jars(), "jars_1") == digest_tables(conn, Jars(), "jars_twin")


def test_a_shadow_of_more_than_the_log_holds_is_refused(conn: Connection, log: EventLog) -> None:
    engine.install(conn, Jars())
    write(log, story(40))
    with pytest.raises(RebuildRefused, match="the log ends at 40, before 41"):
        fill(conn, log, Jars(), "jars_1", upto=41)


class _Reader(threading.Thread):
    """Asks one prepared query again and again; marbles and position must never go back."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.ending = threading.Event()
        self.seen: list[tuple[int, int]] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        query = "SELECT (SELECT last FROM jars_1.position), (SELECT count(*) FROM jars_1.jars)"
        try:
            with psycopg.connect(self.url, autocommit=True) as conn:
                while not self.ending.is_set():
                    row = conn.execute(query, prepare=True).fetchone()
                    assert row
                    self.seen.append((row[0], row[1]))
        except Exception as failure:
            self.failure = failure


class _Writer(threading.Thread):
    """Adds facts and steps the live projection, as api and workers do."""

    def __init__(self, url: str, log: EventLog, length: int) -> None:
        super().__init__()
        self.url, self.log, self.length = url, log, length
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as conn:
                for each in list(story(self.length))[self.log.head() :]:
                    write(self.log, [each])
                    engine.step(conn, self.log, Jars())
        except Exception as failure:
            self.failure = failure


def test_swapping_under_load_disturbs_no_reader_and_loses_nothing(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    write(log, story(200))
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    reader, writer = _Reader(app_url), _Writer(app_url, log, 400)
    reader.start()
    writer.start()
    swaps = 0
    while writer.is_alive() or swaps < 3:
        rebuild(conn, log, Jars())
        swaps += 1
    writer.join(timeout=60)
    reader.ending.set()
    reader.join(timeout=60)
    assert (reader.failure, writer.failure) == (None, None)
    assert reader.seen == sorted(reader.seen)
    assert len(reader.seen) > swaps
    catch_up(conn, log, Jars())
    engine.install(conn, Jars(), "jars_twin")
    fill(conn, log, Jars(), "jars_twin", upto=400)
    assert digest_tables(conn, Jars(), "jars_1") == digest_tables(conn, Jars(), "jars_twin")


def test_a_fold_that_reads_the_clock_is_seen(conn: Connection, log: EventLog) -> None:
    class Clocked(Jars):
        def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
            super().fold(cursor, batch)
            cursor.execute("UPDATE jars SET changed_at = clock_timestamp()")

    write(log, story(10))
    for schema in ("jars_1", "jars_twin"):
        engine.install(conn, Clocked(), schema)
        fill(conn, log, Clocked(), schema, upto=10)
    assert digest_tables(conn, Jars(), "jars_1") != digest_tables(conn, Jars(), "jars_twin")


def test_only_kept_tables_and_older_versions_are_dropped(conn: Connection) -> None:
    class NewerJars(Jars):
        version = 2

    for schema in ("jars_1", "jars_1__old", "jars_2", "jars_2__old", "jars_3", "jars_2__next"):
        engine.install(conn, Jars(), schema)
    assert drop_retired(conn, [NewerJars()]) == ["jars_1", "jars_1__old", "jars_2__old"]
    assert schemas(conn) == {"jars_2", "jars_3", "jars_2__next"}
