"""The engine on real PostgreSQL: exact steps, crashes, several workers, poison."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import psycopg
import pytest

from application.store.log import EventLog
from domain.kernel import Recorded
from projections import engine
from projections.digest import digest_tables
from projections.engine import ABSENT, BUSY, IDLE, OUTDATED, STOPPED, Connection, Cursor
from tests.projections.engine_kit import (
    CrashingJars,
    JarOpened,
    Jars,
    WeatherNoted,
    envelope,
    jar,
    open_jar_log,
    story,
    write,
)


def catch_up(
    conn: Connection, log: EventLog, jars: Jars, schema: str | None = None, limit: int = 500
) -> None:
    while isinstance(engine.step(conn, log, jars, schema, limit), int):
        pass


def position(conn: Connection, schema: str = "jars_1") -> int:
    row = conn.execute(f"SELECT last FROM {schema}.position").fetchone()
    assert row
    return int(row[0])


def replayed(conn: Connection, log: EventLog) -> dict[str, bytes]:
    jars = Jars()
    engine.install(conn, jars, "jars_replayed")
    catch_up(conn, log, jars, "jars_replayed")
    return digest_tables(conn, jars, "jars_replayed")


def test_installing_twice_changes_nothing(conn: Connection, log: EventLog) -> None:
    assert engine.install(conn, Jars())
    write(log, story(20))
    catch_up(conn, log, Jars())
    assert not engine.install(conn, Jars())
    assert position(conn) == 20


@pytest.mark.parametrize("limit", [1, 7, 50, 500])
def test_any_batch_size_gives_the_same_rows(conn: Connection, log: EventLog, limit: int) -> None:
    write(log, story(137))
    engine.install(conn, Jars())
    catch_up(conn, log, Jars(), limit=limit)
    assert position(conn) == 137
    assert digest_tables(conn, Jars(), "jars_1") == replayed(conn, log)


def test_a_step_says_how_far_it_came_and_when_nothing_is_new(
    conn: Connection, log: EventLog
) -> None:
    write(log, story(10))
    engine.install(conn, Jars())
    assert engine.step(conn, log, Jars(), limit=6) == 6
    assert engine.step(conn, log, Jars(), limit=6) == 10
    assert engine.step(conn, log, Jars(), limit=6) is IDLE


def test_facts_of_other_topics_are_passed_over_unsealed_and_the_position_moves(
    conn: Connection, log: EventLog, database_url: str
) -> None:
    write(log, [each for each in story(50) if isinstance(each.fact, WeatherNoted)])
    damage(database_url, "SET state = 'no seal opens this'")
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    assert position(conn) == 10


def test_a_projection_that_is_not_installed_is_absent(conn: Connection, log: EventLog) -> None:
    assert engine.step(conn, log, Jars()) is ABSENT
    assert engine.standings(conn, 5, [Jars()])["jars"].state == "absent"


def test_a_projection_another_worker_holds_is_busy(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    engine.install(conn, Jars())
    with psycopg.connect(app_url) as other:
        other.execute("SELECT last FROM jars_1.position FOR UPDATE")
        write(log, story(5))
        assert engine.step(conn, log, Jars()) is BUSY


def test_a_crash_after_the_fold_loses_rows_and_position_together(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    write(log, story(20))
    engine.install(conn, Jars())
    dying = psycopg.connect(app_url, autocommit=True)
    with pytest.raises(psycopg.OperationalError):
        engine.step(dying, log, CrashingJars(iter([True])))
    assert position(conn) == 0
    assert conn.execute("SELECT count(*) FROM jars_1.jars").fetchone() == (0,)


def test_several_workers_with_crashes_end_with_the_digest_of_a_replay(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    engine.install(conn, Jars())
    workers = [_Worker(app_url, log, seed) for seed in range(3)]
    for worker in workers:
        worker.start()
    chance = random.Random(5)
    facts = list(story(900))
    while facts:
        size = chance.randint(1, 9)
        write(log, facts[:size])
        del facts[:size]
    for worker in workers:
        worker.finish()
    assert position(conn) == 900
    assert sum(worker.jars.crashes for worker in workers) > 0
    assert digest_tables(conn, Jars(), "jars_1") == replayed(conn, log)


class _Worker(threading.Thread):
    """Steps with random batch sizes, dies in some folds and comes back."""

    def __init__(self, url: str, log: EventLog, seed: int) -> None:
        super().__init__()
        self.url, self.log = url, log
        self.random = random.Random(seed)
        self.jars = CrashingJars(iter(lambda: self.random.random() < 0.1, None))
        self.ending = threading.Event()

    def run(self) -> None:
        while True:
            try:
                with psycopg.connect(self.url, autocommit=True) as conn:
                    self._work(conn)
                    return
            except psycopg.OperationalError:
                continue

    def _work(self, conn: Connection) -> None:
        while True:
            ending = self.ending.is_set()
            size = self.random.choice([1, 7, 50])
            if engine.step(conn, self.log, self.jars, limit=size) is IDLE and ending:
                return

    def finish(self) -> None:
        self.ending.set()
        self.join(timeout=60)
        assert not self.is_alive()


@pytest.mark.parametrize("at", [2, 42, 60])
def test_a_bad_fact_stops_its_projection_after_the_good_ones_before_it(
    conn: Connection, log: EventLog, at: int
) -> None:
    write(log, story(60, bad_at=at))
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    assert engine.step(conn, log, Jars()) is STOPPED
    assert position(conn) == at - 1
    standing = engine.standings(conn, 60, [Jars()])["jars"]
    assert standing.state == "stopped"
    assert standing.poison == engine.Poison(
        position=at, topic="jar.marbles_added.1", error="CheckViolation"
    )


def test_the_alarm_holds_no_contents(
    conn: Connection, log: EventLog, capsys: pytest.CaptureFixture[str]
) -> None:
    write(log, story(60, bad_at=42))
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    written = str(conn.execute("SELECT * FROM jars_1.poison").fetchall()) + capsys.readouterr().out
    assert "42" in written
    assert "2000000" not in written
    assert "jar 41" not in written


def test_a_stopped_projection_stays_stopped_until_it_is_resumed(
    conn: Connection, log: EventLog
) -> None:
    write(log, story(60, bad_at=42))
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    conn.execute("ALTER TABLE jars_1.jars DROP CONSTRAINT jars_marbles_check")
    assert engine.step(conn, log, Jars()) is STOPPED
    assert engine.resume(conn, Jars())
    assert not engine.resume(conn, Jars())
    catch_up(conn, log, Jars())
    assert position(conn) == 60
    assert engine.standings(conn, 60, [Jars()])["jars"].state == "current"


def test_a_bug_in_a_fold_stops_it_too(conn: Connection, log: EventLog) -> None:
    class Broken(Jars):
        def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
            raise KeyError("a label nobody should read in an alarm")

    engine.install(conn, Broken())
    write(log, story(5))
    assert engine.step(conn, log, Broken()) is STOPPED
    poison = engine.standings(conn, 5, [Broken()])["jars"].poison
    assert poison == engine.Poison(position=1, topic="jar.opened.1", error="KeyError")


def damage(database_url: str, change: str) -> None:
    """Change the log as its owner, behind everyone's back."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE log.events " + change)


def test_a_damaged_body_stops_the_projections_that_read_it(
    conn: Connection, log: EventLog, database_url: str
) -> None:
    write(log, story(30))
    damage(database_url, "SET state = set_byte(state, 20, 7) WHERE notification_id = 12")
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    assert position(conn) == 11
    assert engine.standings(conn, 30, [Jars()])["jars"].poison == engine.Poison(
        position=12, topic="jar.marbles_added.1", error="SealBroken"
    )


def test_a_topic_only_newer_code_knows_is_waited_for_and_no_alarm(
    conn: Connection, log: EventLog, database_url: str
) -> None:
    write(log, story(30))
    damage(database_url, "SET topic = 'jar.broken.1' WHERE notification_id = 12")
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    assert engine.step(conn, log, Jars()) is OUTDATED
    standing = engine.standings(conn, 30, [Jars()])["jars"]
    assert (standing.position, standing.state) == (11, "behind")


def test_a_process_with_an_older_keyring_raises_no_alarm(
    conn: Connection, log: EventLog, app_url: str
) -> None:
    write(log, story(5))
    rotated = log.keyring.rotated("events")
    with open_jar_log(app_url, rotated) as newer:
        write(newer, [envelope(jar(6), 1, JarOpened(label="jar 6"))])
    engine.install(conn, Jars())
    catch_up(conn, log, Jars())
    assert engine.step(conn, log, Jars()) is OUTDATED
    assert position(conn) == 5


def test_standings_count_what_is_behind(conn: Connection, log: EventLog) -> None:
    write(log, story(30))
    engine.install(conn, Jars())
    engine.step(conn, log, Jars(), limit=12)
    standing = engine.standings(conn, log.head(), [Jars()])["jars"]
    assert (standing.position, standing.behind, standing.state) == (12, 18, "behind")
    catch_up(conn, log, Jars())
    assert engine.standings(conn, log.head(), [Jars()])["jars"].state == "current"


def test_a_fact_too_large_for_the_server_stops_the_projection(
    conn: Connection, log: EventLog
) -> None:
    class Overflowing(Jars):
        """PostgreSQL refuses what the seventh fact asks for, at every attempt."""

        def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
            super().fold(cursor, batch)
            if batch[-1].position >= 7:
                cursor.execute("SELECT repeat('x', 1073741824)")

    engine.install(conn, Jars())
    write(log, story(12))
    jars = Overflowing()
    while isinstance(reached := engine.step(conn, log, jars), int):
        pass
    assert reached is STOPPED
    assert position(conn) >= 5
