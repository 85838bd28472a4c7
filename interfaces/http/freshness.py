"""Reading your own writes: a session's last position, and waiting until read models hold it."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from redis import Redis, RedisError

from domain.errors import Unavailable

PATIENCE = 0.5
"""Seconds a read waits for its position (design, section 4)."""
_LIFE = 60

CatchUp = Callable[[int, float], tuple[str, ...]]
"""(position, seconds) → names of the read models still behind it when the time is up."""


class ReadModelsBehind(Unavailable):
    """A position was asked for by name and is not reached yet."""

    code = "read_models_behind"
    message = "The read models have not reached that position yet; try again."


class Freshness:
    """Remembers which sessions wrote something a read model has not taken in yet."""

    def __init__(self, redis: Redis, catch_up: CatchUp) -> None:
        self._redis = redis
        self._catch_up = catch_up

    def remember(self, session: str, position: int) -> None:
        """Note that `session`'s last write is still missing from a read model."""
        try:
            self._redis.set(self._key(session), position, ex=_LIFE)
        except RedisError as fault:
            # The write is safe; only the comfort of seeing it at once is lost.
            structlog.get_logger().warning("freshness.lost", fault=type(fault).__name__)

    def last(self, session: str) -> int | None:
        try:
            value = self._redis.get(self._key(session))
        except RedisError:
            return None
        return int(value) if isinstance(value, bytes | str) else None

    def settle(self, session: str) -> None:
        """Wait a moment for the session's last write; read on whatever the outcome."""
        position = self.last(session)
        if position is not None and not self._catch_up(position, PATIENCE):
            try:
                self._redis.delete(self._key(session))
            except RedisError:
                return

    def require(self, position: int) -> None:
        """Wait for `position`. Raises `ReadModelsBehind` when a read model stays behind."""
        behind = self._catch_up(position, PATIENCE)
        if behind:
            raise ReadModelsBehind(retry_after=1, behind=list(behind))

    @staticmethod
    def _key(session: str) -> str:
        return f"session-position:{session}"
