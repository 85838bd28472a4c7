"""How often one caller may ask: moving windows in Redis, and a pause for who goes on and on."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Final

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis, RedisError

from domain.errors import TooMany, Unavailable
from interfaces.http.client_address import read_address

_SAID_SECONDS: Final = 60.0


class Bucket(StrEnum):
    """What kind of request is counted together."""

    READ = "read"
    MUTATION = "mutation"
    CREDENTIAL = "credential"
    CHALLENGE = "challenge"


_CREDENTIAL: Final = frozenset(
    {
        ("POST", "/api/auth/login"),
        ("POST", "/api/auth/register"),
        ("POST", "/api/auth/passkey"),
        ("PUT", "/api/auth/password"),
        ("POST", "/api/auth/2fa/passkey-verify"),
        ("POST", "/api/auth/2fa/verify-totp"),
        ("POST", "/api/admin/panic/restore"),
    }
)
_CHALLENGE: Final = frozenset(
    {
        ("GET", "/api/auth/pow"),
        ("GET", "/api/auth/challenge"),
        ("GET", "/api/auth/passkey"),
        ("POST", "/api/auth/2fa/passkey-options"),
    }
)
_FOR_MEMBERS: Final = frozenset({"/api/auth/passkey"})
"""Paths that mean something else to a signed-in member: his announce key."""
_UNCOUNTED: Final = frozenset({"/api/health"})

READS: Final = RateLimitItemPerMinute(100)
CREDENTIALS: Final = RateLimitItemPerMinute(5, 5)
CHALLENGES: Final = RateLimitItemPerMinute(30, 5)
STAFF_MUTATIONS: Final = RateLimitItemPerMinute(60)
REFUSALS: Final = RateLimitItemPerMinute(30, 5)
"""So many refused requests in 5 minutes are no accident: a pause follows."""
PAUSES: Final = (60, 300, 1800, 7200)
"""Seconds of the first pause within a day, the second, and so on."""
_DAY: Final = 86_400


class RateLimited(TooMany):
    """One of the limits on how often is reached."""

    code = "rate_limited"
    message = "Rate limit exceeded"


class LimitsUnavailable(Unavailable):
    """Credentials are never checked uncounted."""

    code = "limits_unavailable"
    message = "Sign-in is not possible at this moment; try again."


def bucket_of(method: str, path: str, *, signed_in: bool) -> Bucket | None:
    """Where a request to this route is counted; None where it is not."""
    if path in _UNCOUNTED:
        return None
    own = signed_in and path in _FOR_MEMBERS
    if (method, path) in _CREDENTIAL and not own:
        return Bucket.CREDENTIAL
    if (method, path) in _CHALLENGE and not own:
        return Bucket.CHALLENGE
    return Bucket.READ if method in {"GET", "HEAD"} else Bucket.MUTATION


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Who asks: his address, and his account if he is signed in."""

    address: str
    account: str | None = None
    is_staff: bool = False


class RateLimiter:
    """Counts requests in Redis, for all api processes together.

    `key` hides addresses and names there; `mutations` tells how many changes a minute the site
    allows a member. With Redis away, credentials are refused and everything else passes.
    """

    def __init__(self, redis: Redis, key: bytes, mutations: Callable[[], int]) -> None:
        self._redis = redis
        self._key = key
        self._mutations = mutations
        # The address of the storage is that of the pool; the library only wants to see one.
        storage = RedisStorage("redis://", connection_pool=redis.connection_pool)
        self._windows = MovingWindowRateLimiter(storage)
        self._said_at = -math.inf

    def admit(self, bucket: Bucket, asker: Asker) -> None:
        """Count a request. Raises `RateLimited`, `LimitsUnavailable`."""
        try:
            place = self._hidden(_network(asker.address))
            self._require_no_pause(place)
            item, who = self._window(bucket, asker, place)
            if not self._windows.hit(item, bucket.value, who):
                self._refuse(item, bucket.value, who, place)
        except RedisError as fault:
            self._without_redis(bucket, fault)

    def admit_attempt(self, account: str) -> None:
        """Count an attempt to prove who one is against the account. Raises as `admit`."""
        who = self._hidden(account.casefold())
        try:
            if not self._windows.hit(CREDENTIALS, "attempt", who):
                raise RateLimited(retry_after=self._wait(CREDENTIALS, "attempt", who))
        except RedisError as fault:
            self._without_redis(Bucket.CREDENTIAL, fault)

    def _window(self, bucket: Bucket, asker: Asker, place: str) -> tuple[RateLimitItem, str]:
        """Changes are counted by member, so that those behind one address do not share a limit."""
        match bucket:
            case Bucket.CREDENTIAL:
                return CREDENTIALS, place
            case Bucket.CHALLENGE:
                return CHALLENGES, place
            case Bucket.MUTATION:
                allowed = RateLimitItemPerMinute(self._mutations())
                item = max(allowed, STAFF_MUTATIONS) if asker.is_staff else allowed
                return item, self._hidden(asker.account) if asker.account else place
            case Bucket.READ:
                return READS, place

    def _refuse(self, item: RateLimitItem, kind: str, who: str, place: str) -> None:
        if not self._windows.hit(REFUSALS, "refusals", place):
            self._pause(place)
            self._require_no_pause(place)
        raise RateLimited(retry_after=self._wait(item, kind, who))

    def _pause(self, place: str) -> None:
        """Answer nothing but a refusal to this address for a while, longer each time."""
        pause, strikes = f"limit:pause:{place}", f"limit:strikes:{place}"
        # Of refusals at once only the one that sets the pause counts as a strike.
        if not self._redis.set(pause, 1, ex=PAUSES[0], nx=True):
            return
        count = int(self._redis.incr(strikes))
        self._redis.expire(strikes, _DAY)
        seconds = PAUSES[min(count, len(PAUSES)) - 1]
        self._redis.expire(pause, seconds)
        self._windows.clear(REFUSALS, "refusals", place)
        structlog.get_logger().warning("http.paused", seconds=seconds, strikes=count)

    def _require_no_pause(self, place: str) -> None:
        left = int(self._redis.ttl(f"limit:pause:{place}"))
        if left > 0:
            raise RateLimited(retry_after=left)

    def _wait(self, item: RateLimitItem, kind: str, who: str) -> int:
        resets_at = self._windows.get_window_stats(item, kind, who).reset_time
        return max(1, math.ceil(resets_at - time.time()))

    def _hidden(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:32]

    def _without_redis(self, bucket: Bucket, fault: RedisError) -> None:
        now = time.monotonic()
        if now - self._said_at > _SAID_SECONDS:
            self._said_at = now
            structlog.get_logger().error("http.uncounted", fault=type(fault).__name__)
        if bucket is Bucket.CREDENTIAL:
            raise LimitsUnavailable(retry_after=1) from fault


def _network(address: str) -> str:
    """An address as it is counted: an IPv6 client owns a whole /64."""
    known = read_address(address)
    if isinstance(known, IPv6Address):
        return (int(known) >> 64).to_bytes(8, "big").hex()
    return str(known) if known else address
