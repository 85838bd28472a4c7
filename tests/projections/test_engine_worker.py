"""The workers' loop and the job that makes it sooner, on a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from psycopg import Connection
from psycopg_pool import ConnectionPool
from redis import RedisError

from application.store.log import EventLog
from domain.kernel import Recorded
from interfaces.workers.broker import make_broker
from interfaces.workers.projections import (
    QUEUE,
    WAKE_KEY,
    WAKE_MS,
    ProjectionWake,
    ProjectionWorker,
    declare_project,
)
from projections import engine
from projections.history import HistoryProjection
from tests.projections.engine_kit import Jars, story, write


@pytest.fixture
def pool(app_url: str) -> Iterator[ConnectionPool[Connection[Any]]]:
    with ConnectionPool(app_url, min_size=1, max_size=3, open=False) as opened:
        opened.open()
        yield opened


@pytest.fixture
def worker(
    pool: ConnectionPool[Connection[Any]], conn: engine.Connection, log: EventLog
) -> ProjectionWorker:
    for projection in (Jars(), HistoryProjection()):
        engine.install(conn, projection)
    return ProjectionWorker(pool, log, (Jars(), HistoryProjection()))


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    made = make_broker(redis_url)
    yield made
    made.close()
    made.client.close()


def position(conn: engine.Connection, schema: str = "jars_1") -> int:
    row = conn.execute(f"SELECT last FROM {schema}.position").fetchone()
    assert row
    return int(row[0])


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def queued(broker: RedisBroker) -> int:
    return int(broker.client.llen(f"dramatiq:{QUEUE}"))


def test_a_sweep_brings_everything_to_the_head(
    worker: ProjectionWorker, conn: engine.Connection, log: EventLog
) -> None:
    write(log, story(700))
    worker.sweep()
    assert (position(conn), position(conn, "history_2")) == (700, 700)


def test_a_stopped_projection_holds_up_no_other_and_is_reported_once(
    worker: ProjectionWorker,
    conn: engine.Connection,
    log: EventLog,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(log, story(20, bad_at=9))
    worker.sweep()
    worker.sweep()
    assert (position(conn), position(conn, "history_2")) == (8, 20)
    assert capsys.readouterr().out.count("projection.paused") == 1


def test_a_projection_whose_step_fails_holds_up_no_other(
    pool: ConnectionPool[Connection[Any]], conn: engine.Connection, log: EventLog
) -> None:
    class Cancelled(Jars):
        """The server gives up every time, without a fault of the facts."""

        def fold(self, cursor: engine.Cursor, batch: Sequence[Recorded]) -> None:
            cursor.execute("SET LOCAL statement_timeout = 1")
            cursor.execute("SELECT pg_sleep(20)")

    for projection in (Jars(), HistoryProjection()):
        engine.install(conn, projection)
    write(log, story(20))
    worker = ProjectionWorker(pool, log, (Cancelled(), HistoryProjection()))
    worker.sweep()
    assert (position(conn), position(conn, "history_2")) == (0, 20)
    assert worker.failures == 1


def test_the_loop_folds_without_any_message_and_outlives_a_failure(
    worker: ProjectionWorker,
    conn: engine.Connection,
    log: EventLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = threading.Event()
    broken = iter([OSError("out of reach")])
    sweep = worker.sweep

    def failing_once(stop: threading.Event | None = None) -> None:
        for failure in broken:
            raise failure
        sweep(stop)

    monkeypatch.setattr(worker, "sweep", failing_once)
    thread = threading.Thread(target=worker.run, args=(stop, 0.01))
    thread.start()
    try:
        write(log, story(20))
        eventually(lambda: position(conn) == 20)
    finally:
        stop.set()
        thread.join(timeout=20)
    assert not thread.is_alive()
    assert worker.failures == 1


def test_many_commits_send_one_message(broker: RedisBroker) -> None:
    wake = ProjectionWake(broker)
    for _ in range(10):
        wake()
    assert queued(broker) == 1


def test_the_job_folds_and_lets_the_next_commit_send_again(
    worker: ProjectionWorker, broker: RedisBroker, conn: engine.Connection, log: EventLog
) -> None:
    declare_project(broker, worker)
    wake = ProjectionWake(broker)
    jobs = dramatiq.Worker(broker, worker_threads=2)
    jobs.start()
    try:
        write(log, story(20))
        wake()
        eventually(lambda: position(conn) == 20)
        # Sooner than the key would go by itself.
        eventually(lambda: not broker.client.exists(WAKE_KEY), seconds=WAKE_MS / 1000 - 2)
        write(log, list(story(25))[20:])
        wake()
        eventually(lambda: position(conn) == 25)
    finally:
        jobs.stop()


def test_a_redis_that_is_away_fails_fast_and_is_then_left_alone() -> None:
    broker = make_broker("redis://127.0.0.1:1")
    now = [100.0]
    wake = ProjectionWake(broker, clock=lambda: now[0])
    with pytest.raises(RedisError):
        wake()
    wake()
    now[0] += 6
    with pytest.raises(RedisError):
        wake()
