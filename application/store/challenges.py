"""Single-use challenges, in Redis so that every process sees them."""

from __future__ import annotations

from redis import Redis, RedisError

from application.password_proofs import CHALLENGE_LIFE
from domain.errors import Unavailable

_LONGEST = 128


class RedisChallenges:
    """`Challenges` on Redis: a value is gone once taken, or after its life."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def put(self, kind: str, challenge: str, value: bytes) -> None:
        try:
            self._redis.set(self._key(kind, challenge), value, ex=CHALLENGE_LIFE)
        except RedisError:
            raise _away() from None

    def take(self, kind: str, challenge: str) -> bytes | None:
        if len(challenge) > _LONGEST:
            return None
        try:
            # One command: of two that present the same challenge at once, one gets it.
            value = self._redis.getdel(self._key(kind, challenge))
        except RedisError:
            raise _away() from None
        return value.encode() if isinstance(value, str) else value

    @staticmethod
    def _key(kind: str, challenge: str) -> str:
        return f"challenge:{kind}:{challenge}"


def _away() -> Unavailable:
    return Unavailable("Sign-in is not possible at the moment; try again.", retry_after=5)
