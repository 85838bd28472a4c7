"""The time of a shard: wall clock at its start, monotonic from there, never backwards."""

from __future__ import annotations

import time
from collections.abc import Callable


class ShardClock:
    """Microseconds since 1970 UTC that never fall, also over a restart.

    `floor` is the time of the last record of the shard before this start: a wall clock that
    was set back in between cannot make records older than those already written.
    """

    def __init__(
        self,
        floor: int = 0,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic = monotonic
        self._offset = max(wall() // 1000, floor) * 1000 - monotonic()

    def now(self) -> int:
        """The present time in microseconds."""
        return (self._offset + self._monotonic()) // 1000
