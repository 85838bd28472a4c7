"""The log for several readers that are at the same place: what is read once, all are given."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Final

import msgspec

from domain.kernel import Recorded
from projections.engine import Reads

KEPT: Final = 3
"""Stretches of the log in memory; the readers of a round are in two of them at most."""


class _Stretch(msgspec.Struct, frozen=True):
    """The facts of some topics behind `after` up to `last`."""

    after: int
    last: int
    facts: list[Recorded]


class SharedReads:
    """Reads, unseals and decodes each stretch of the log once, and the next one meanwhile.

    A reader of few topics may pass over what nobody could read, so a stretch that can't be read
    is left to each reader by itself. Used in a `with`; by several threads at a time.
    """

    def __init__(self, log: Reads) -> None:
        self._log = log
        self._lock = Lock()
        self._topics: frozenset[str] | None = frozenset()
        self._kept: deque[_Stretch] = deque(maxlen=KEPT)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: tuple[int, int, Future[_Stretch | None]] | None = None

    def __enter__(self) -> SharedReads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def wants(self, readers: Iterable[frozenset[str] | None]) -> None:
        """Tell which topics those who read next look for. Not while any of them reads."""
        topics: frozenset[str] | None = frozenset()
        for wanted in readers:
            topics = None if topics is None or wanted is None else topics | wanted
        if topics != self._topics:
            self._topics = topics
            self._kept.clear()
            self._coming = None

    def read(
        self, after: int, limit: int, topics: frozenset[str] | None = None
    ) -> tuple[list[Recorded], int]:
        """As `EventLogPort.read`, though it may scan less than `limit` positions."""
        with self._lock:
            stretch = self._stretch(after, limit)
        if stretch is None or stretch.last - after > limit:
            return self._log.read(after, limit, topics)
        found = [
            recorded
            for recorded in stretch.facts
            if recorded.position > after
            and (topics is None or recorded.envelope.fact.TOPIC in topics)
        ]
        return found, stretch.last

    def _stretch(self, after: int, limit: int) -> _Stretch | None:
        for kept in self._kept:
            if kept.after <= after < kept.last:
                return kept
        coming, self._coming = self._coming, None
        stretch: _Stretch | None = None
        if coming is not None and coming[:2] == (after, limit):
            stretch = coming[2].result()
        if stretch is None or stretch.last == after:
            # There may be more by now.
            stretch = self._load(after, limit)
        if stretch is None or stretch.last == after:
            return stretch
        self._kept.append(stretch)
        following = self._pool.submit(self._load, stretch.last, limit)
        self._coming = stretch.last, limit, following
        return stretch

    def _load(self, after: int, limit: int) -> _Stretch | None:
        try:
            facts, last = self._log.read(after, limit, self._topics)
        except Exception:  # noqa: BLE001 (whose fault it is, each reader finds out by itself)
            return None
        return _Stretch(after, last, facts)
