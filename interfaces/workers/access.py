"""Keeping the trackers' copy of access current when no api did it at once."""

from __future__ import annotations

import threading

import structlog

from interfaces.access_feed import AccessPublisher

INTERVAL = 1.0
"""Seconds between looks: a change an api could not publish reaches trackers within this."""


class AccessWorker:
    """Publishes what changed, again and again; any number may run."""

    def __init__(self, publisher: AccessPublisher) -> None:
        self._publisher = publisher
        self.failures = 0

    def run(self, stop: threading.Event, interval: float = INTERVAL) -> None:
        """Publish each `interval` seconds until `stop` is set; no failure ends it."""
        while not stop.is_set():
            try:
                self._publisher.publish()
            except Exception as failure:  # noqa: BLE001 (the next look may find the server back)
                self.failures += 1
                structlog.get_logger("access").warning(
                    "access.publish_failed", error=type(failure).__name__
                )
            stop.wait(interval)
