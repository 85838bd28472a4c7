"""The Dramatiq broker: one for each process, made before any actor is declared."""

from __future__ import annotations

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Middleware, Retries, ShutdownNotifications, TimeLimit
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
"""A command waits this long for Redis at the most: what it sends only makes things sooner."""
JOB_SECONDS = 600
JOB_ATTEMPTS = 5


def make_broker(redis_url: str) -> RedisBroker:
    """The broker on this Redis, also set as the one that actors of this process belong to.

    Nothing is sent twice by the client itself: a job sent again would run twice.
    """
    client = redis.Redis.from_url(
        redis_url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=3,
        legacy_responses=True,
    )
    broker = RedisBroker(client=client, middleware=_middleware())  # type: ignore[no-untyped-call]
    dramatiq.set_broker(broker)
    return broker


def _middleware() -> list[Middleware]:
    """What jobs need; a job that keeps failing goes to the dead letters after its attempts."""
    return [
        AgeLimit(),
        TimeLimit(time_limit=JOB_SECONDS * 1000),
        ShutdownNotifications(),
        Retries(max_retries=JOB_ATTEMPTS - 1, min_backoff=1_000, max_backoff=300_000),
    ]
