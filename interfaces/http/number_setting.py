"""A site setting that a part without requests of its own reads now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool

from domain.site_settings import DEFAULTS
from projections.site import read_site

KEPT_SECONDS: Final = 5.0


class NumberSetting:
    """The number of a setting as it was at most 5 seconds ago; callable.

    With the database away the last one known goes on, at first the default.
    """

    def __init__(
        self, reads: ConnectionPool[Connection[Any]], key: str, *, monotonic: Callable[[], float]
    ) -> None:
        self._reads = reads
        self._key = key
        self._monotonic = monotonic
        self._read_at = float("-inf")
        self._known = DEFAULTS[key]

    def __call__(self) -> int:
        if self._monotonic() - self._read_at >= KEPT_SECONDS:
            self._read_at = self._monotonic()
            try:
                with self._reads.connection() as connection:
                    self._known = read_site(connection).settings[self._key]
            except OperationalError:
                return int(self._known or 0)
        return int(self._known or 0)
