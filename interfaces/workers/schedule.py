"""What is due by the clock: each task at its own pace, none ends the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to do every `seconds`; harmless when done twice or by two schedulers."""

    name: str
    seconds: float
    do: Callable[[], object]
    at_stop: bool = False


class Scheduler:
    """Runs the tasks that are due, in order; `at_stop` ones once more at a clean end."""

    def __init__(
        self, tasks: Sequence[Task], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tasks = tuple(tasks)
        self._clock = clock
        self._due = dict.fromkeys((task.name for task in tasks), 0.0)
        self.failures = 0

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        """Work until `stop` is set. `ready` is called before the first round."""
        ready()
        while not stop.wait(self.round()):
            continue
        for task in self._tasks:
            if task.at_stop:
                self._do(task)

    def round(self) -> float:
        """Do what is due; seconds until the next is."""
        for task in self._tasks:
            if self._clock() >= self._due[task.name]:
                self._do(task)
                self._due[task.name] = self._clock() + task.seconds
        return max(0.0, min(self._due.values()) - self._clock())

    def _do(self, task: Task) -> None:
        try:
            task.do()
        except Exception as failure:  # noqa: BLE001 (the others must go on, and so must this one)
            self.failures += 1
            structlog.get_logger("scheduler").error(
                "task.failed", task=task.name, error=type(failure).__name__
            )
