"""Read your writes: the process that commits steps the read models it touched, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from application.ports import Appended, EventLogPort
from projections.engine import BUSY, IDLE, Projection, Standing, standings, step

MOST_BEHIND = 500
"""Facts a projection may lack to be stepped here; one further behind is the workers' work."""
BUDGET = 0.3
"""Seconds for all projections after a commit; 2 ms were measured for an ordinary one."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.002, 0.02
"""Seconds between looks at a projection another process is stepping."""

Wake = Callable[[], None]
"""Tells the workers that there is something to fold; may fail."""


class ReadYourWrites:
    """Brings read models to a position from the process that needs them there.

    As `application.ports.AfterCommit` it is called after a commit; `catch_up` serves reads.
    Neither raises: what could not be done is named, counted and left to the workers.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection[Any]],
        log: EventLogPort,
        projections: Sequence[Projection],
        *,
        wake: Wake,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pool = pool
        self._log = log
        self._projections = tuple(projections)
        self._wake = wake
        self._clock = clock
        self._pause = pause
        self._reached: dict[str, int] = {}
        self.failures = 0
        self.failed_wakes = 0

    def __call__(self, appended: Appended) -> tuple[str, ...]:
        """Step the projections that declare an appended topic; names those left behind."""
        touched = [
            projection
            for projection in self._projections
            if projection.topics is not None and projection.topics & appended.topics
        ]
        behind = self._bring(touched, appended.last, BUDGET)
        self._wake_workers()
        return behind

    def catch_up(self, position: int, patience: float) -> tuple[str, ...]:
        """Bring every projection to `position`; names those behind after `patience` seconds.

        One that is stopped, missing or far behind is named at once: waiting would not help.
        """
        lacking = [p for p in self._projections if self._reached.get(p.name, 0) < position]
        return self._bring(lacking, position, patience)

    def _bring(
        self, projections: Sequence[Projection], position: int, patience: float
    ) -> tuple[str, ...]:
        if not projections:
            return ()
        deadline = self._clock() + patience
        try:
            with self._pool.connection(timeout=patience) as conn:
                self._follow(conn, projections, position, deadline)
        except Exception as failure:  # noqa: BLE001 (the commit stands, whatever happens here)
            self.failures += 1
            structlog.get_logger("projections").warning(
                "projection.inline_step_failed", error=type(failure).__name__
            )
        return tuple(p.name for p in projections if self._reached.get(p.name, 0) < position)

    def _follow(
        self,
        conn: Connection[Any],
        projections: Sequence[Projection],
        position: int,
        deadline: float,
    ) -> None:
        """Step until each has reached `position`, can't, or the time is up."""
        seen = standings(conn, position, projections)
        for standing in seen.values():
            self._note(standing.name, standing.position or 0)
        waiting = [p for p in projections if _within_reach(seen[p.name])]
        pause = SHORTEST_PAUSE
        while waiting:
            waiting = [p for p in waiting if self._step_to(conn, p, position, deadline)]
            if not waiting or self._clock() >= deadline:
                return
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _step_to(
        self, conn: Connection[Any], projection: Projection, position: int, deadline: float
    ) -> bool:
        """Step to `position`; True when another process is at it and it is worth waiting."""
        while self._clock() < deadline:
            reached = step(conn, self._log, projection)
            if isinstance(reached, int):
                self._note(projection.name, reached)
                if reached >= position:
                    return False
                continue
            if reached is IDLE:
                self._note(projection.name, min(position, self._log.head()))
            return reached is BUSY
        return False

    def _note(self, name: str, position: int) -> None:
        """Remember how far a projection was seen; it never goes back."""
        self._reached[name] = max(position, self._reached.get(name, 0))

    def _wake_workers(self) -> None:
        try:
            self._wake()
        except Exception as failure:  # noqa: BLE001 (a message only makes it sooner)
            self.failed_wakes += 1
            structlog.get_logger("projections").warning(
                "projection.wake_failed", error=type(failure).__name__
            )


def _within_reach(standing: Standing) -> bool:
    return standing.state == "behind" and standing.behind <= MOST_BEHIND
