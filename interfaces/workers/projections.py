"""Keeping read models current: a loop in every worker, and a job that makes it sooner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import dramatiq
import psycopg
import structlog
from dramatiq.brokers.redis import RedisBroker
from psycopg import Connection
from psycopg_pool import ConnectionPool

from application.ports import EventLogPort
from projections.engine import BUSY, IDLE, Pause, Projection, standings, step

INTERVAL = 1.0
"""Seconds between looks at the head: the longest a fact stays unseen when no message comes."""
QUEUE = "projections"
ACTOR = "project"
WAKE_KEY = "projections:woken"
"""Exists while a message is on its way, so that a thousand commits send one."""
WAKE_MS = 5_000
REST = 5.0
"""Seconds without sending after a failure: a Redis that hangs must not hold up commits."""

_logger = structlog.get_logger("projections")


class ProjectionWorker:
    """Steps every projection that lags, to the head; any number of them may run anywhere."""

    def __init__(
        self,
        pool: ConnectionPool[Connection[Any]],
        log: EventLogPort,
        projections: Sequence[Projection],
    ) -> None:
        self._pool = pool
        self._log = log
        self._projections = tuple(projections)
        self._paused: dict[str, Pause] = {}
        self.failures = 0

    def run(self, stop: threading.Event, interval: float = INTERVAL) -> None:
        """Sweep each `interval` seconds until `stop` is set; no failure ends it."""
        while not stop.is_set():
            try:
                self.sweep(stop)
            except Exception as failure:  # noqa: BLE001 (the next look may find the server back)
                self.failures += 1
                _logger.warning("projection.sweep_failed", error=type(failure).__name__)
            stop.wait(interval)

    def sweep(self, stop: threading.Event | None = None) -> None:
        """Step what lags behind the head, a batch each in turn, until nothing more moves."""
        head = self._log.head()
        with self._pool.connection() as conn:
            seen = standings(conn, head, self._projections)
            moving = [p for p in self._projections if seen[p.name].state != "current"]
            while moving and not (stop is not None and stop.is_set()):
                moving = [p for p in moving if self._moves(conn, p)]

    def _moves(self, conn: Connection[Any], projection: Projection) -> bool:
        """One step; True when there may be more to fold. A failure holds up no other."""
        try:
            outcome = step(conn, self._log, projection)
        except psycopg.Error as failure:
            if conn.broken:
                raise
            self.failures += 1
            _logger.warning(
                "projection.step_failed",
                projection=projection.name,
                error=type(failure).__name__,
            )
            return False
        paused = outcome if isinstance(outcome, Pause) and outcome not in {BUSY, IDLE} else None
        if paused is None:
            self._paused.pop(projection.name, None)
        elif self._paused.get(projection.name) is not paused:
            self._paused[projection.name] = paused
            _logger.error("projection.paused", projection=projection.name, reason=paused.value)
        return isinstance(outcome, int)


def declare_project(broker: RedisBroker, worker: ProjectionWorker) -> None:
    """Declare the job that sweeps at once; it carries no position, it goes to the head.

    It is never tried again and soon too old: the loop does the same a second later.
    """

    def project() -> None:
        # Removed before the head is read: a commit after this line sends a message of its own.
        broker.client.delete(WAKE_KEY)
        worker.sweep()

    declare = dramatiq.actor(
        actor_name=ACTOR, queue_name=QUEUE, broker=broker, max_retries=0, max_age=10_000
    )
    declare(project)


class ProjectionWake:
    """Sends the job after a commit, unless one is on its way.

    Raises what the Redis client raises; the caller counts it.
    """

    def __init__(self, broker: RedisBroker, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._clock = clock
        self._resting_until = 0.0

    def __call__(self) -> None:
        if self._clock() < self._resting_until:
            return
        try:
            if self._broker.client.set(WAKE_KEY, b"1", nx=True, px=WAKE_MS):
                self._broker.enqueue(self._message())
        except Exception:
            self._resting_until = self._clock() + REST
            raise

    def _message(self) -> dramatiq.Message[None]:
        return dramatiq.Message(queue_name=QUEUE, actor_name=ACTOR, args=(), kwargs={}, options={})
