"""Who was seen lately, in Redis so that every process adds to it and reads it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from uuid import UUID

from redis import Redis, RedisError

from application.presence import Seen
from domain.errors import Unavailable

KEPT: Final = timedelta(hours=25)
"""Who was not seen for longer is known to the vault only."""
_SEEN: Final = "presence:seen"
_PLACES: Final = "presence:places"
_CHANGED: Final = "presence:changed"
_TAKEN: Final = "presence:taken"
_PORTION: Final = 500
_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# One script, so that a process that is late never puts an older place beside a newer time.
# KEYS: seen, places, changed.  ARGV: account, milliseconds, address of each.
_NOTE: Final = """
for i = 1, #ARGV, 3 do
    local known = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if not known or tonumber(known) < tonumber(ARGV[i + 1]) then
        redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
        if ARGV[i + 2] ~= '' then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2]) end
        redis.call('SADD', KEYS[3], ARGV[i])
    end
end
return 1
"""
# KEYS: seen, places.  ARGV: milliseconds.
_FORGET: Final = """
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 5000)
for i = 1, #old do
    redis.call('HDEL', KEYS[2], old[i])
    redis.call('ZREM', KEYS[1], old[i])
end
return #old
"""


class RedisPresence:
    """`PresenceStore` on Redis, with what was noted since it was last taken over to the vault."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._note = redis.register_script(_NOTE)
        self._forget = redis.register_script(_FORGET)

    def note(self, seen: Mapping[UUID, Seen]) -> None:
        """Note these. Raises `Unavailable`."""
        entries = iter(seen.items())
        try:
            while portion := list(islice(entries, _PORTION)):
                args: list[str | int] = []
                for account, each in portion:
                    args += (account.hex, _stamp(each.at), each.address or "")
                self._note(keys=[_SEEN, _PLACES, _CHANGED], args=args)
        except RedisError:
            raise _away() from None

    def last(self, accounts: Iterable[UUID]) -> dict[UUID, Seen]:
        """What is noted of these. Raises `Unavailable`."""
        asked = list(accounts)
        if not asked:
            return {}
        names = [account.hex for account in asked]
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.zmscore(_SEEN, names)
                pipe.hmget(_PLACES, names)
                scores, places = pipe.execute()
        except RedisError:
            raise _away() from None
        return {
            account: Seen(at=_instant(int(score)), address=_text(place))
            for account, score, place in zip(asked, scores, places, strict=True)
            if score is not None
        }

    def count_since(self, at: datetime) -> int:
        """How many were seen at `at` or later. Raises `Unavailable`."""
        try:
            return int(self._redis.zcount(_SEEN, _stamp(at), "+inf"))
        except RedisError:
            raise _away() from None

    def changed(self) -> Generator[dict[UUID, Seen], None, None]:
        """Portions of what was noted since the last call that came to its end.

        One that breaks off is gone on with by the next, so nothing is passed over. Raises
        `Unavailable`.
        """
        try:
            if not self._redis.exists(_TAKEN):
                if not self._redis.exists(_CHANGED):
                    return
                self._redis.renamenx(_CHANGED, _TAKEN)
            names = (
                UUID(hex=_text(name)) for name in self._redis.sscan_iter(_TAKEN, count=_PORTION)
            )
            while portion := list(islice(names, _PORTION)):
                yield self.last(portion)
            self._redis.delete(_TAKEN)
        except RedisError:
            raise _away() from None

    def forget_before(self, now: datetime) -> None:
        """Forget whom nobody saw for `KEPT`. Raises `Unavailable`."""
        try:
            while self._forget(keys=[_SEEN, _PLACES], args=[_stamp(now - KEPT)]):
                continue
        except RedisError:
            raise _away() from None


def _stamp(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _instant(stamp: int) -> datetime:
    return _EPOCH + stamp * _MILLISECOND


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _away() -> Unavailable:
    return Unavailable("Presence is out of reach; try again.", retry_after=1)
