"""Half sessions and counted attempts, in Redis so that every process sees them."""

from __future__ import annotations

from redis import Redis, RedisError

from application.second_factor import HALF_LIFE
from domain.errors import Unavailable


class RedisHalfSessions:
    """`HalfSessions` on Redis: one is gone once closed, or after its life."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def open(self, token_hash: str, value: bytes) -> None:
        try:
            self._redis.set(f"half:{token_hash}", value, ex=HALF_LIFE)
        except RedisError:
            raise _away() from None

    def find(self, token_hash: str) -> bytes | None:
        try:
            value = self._redis.get(f"half:{token_hash}")
        except RedisError:
            raise _away() from None
        return value.encode() if isinstance(value, str) else value

    def close(self, token_hash: str) -> None:
        try:
            self._redis.delete(f"half:{token_hash}")
        except RedisError:
            raise _away() from None

    def count(self, name: str, seconds: int) -> int:
        try:
            # Both in one transaction: a count that never ended would shut a member out for good.
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.incr(f"attempts:{name}")
                pipe.expire(f"attempts:{name}", seconds, nx=True)
                counted, _ = pipe.execute()
        except RedisError:
            raise _away() from None
        return int(counted)

    def clear(self, name: str) -> None:
        try:
            self._redis.delete(f"attempts:{name}")
        except RedisError:
            raise _away() from None


def _away() -> Unavailable:
    return Unavailable("Sign-in is not possible at the moment; try again.", retry_after=5)
