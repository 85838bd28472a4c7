"""What every process but the tracker stands on: keyring, event log, read models, Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from application.bus import Bus, Context
from application.store.keyring import Keyring, KeyringError
from application.store.log import EventLog
from application.store.topics import registry
from interfaces.access_feed import AccessPublisher
from ops.container.pools import Pool, catalogue_pool, read_pool
from ops.container.process import database_url, redis_url
from ops.keyring_file import KeyringFile, KeyringUnusable
from ops.settings import Settings
from ops.system import SystemEntropy, system_clock

ANSWER_SECONDS = 2.0
"""How long a request may wait for Redis or for a free database connection."""


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """Objects that live as long as the process.

    `reads` and `catalogue` connect as the restricted login, the second with lasting plans; it is
    opened by the process that asks the catalogue.
    """

    settings: Settings
    keyring: Keyring
    keyring_file: KeyringFile
    log: EventLog
    reads: Pool
    catalogue: Pool
    redis: redis.Redis
    entropy: SystemEntropy


def connect_redis(url: str) -> redis.Redis:
    """A client whose commands are sent once: a repeated one could act twice."""
    return redis.Redis.from_url(
        url,
        protocol=3,
        legacy_responses=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _open_log(url: str, keyring: Keyring, connections: int) -> EventLog:
    """The event log, if the keyring is the one it was sealed with."""
    log = EventLog(url, keyring, registry(), max_overflow=connections)
    try:
        log.check_keyring()
    except KeyringError:
        log.close()
        raise KeyringUnusable(
            "This keyring does not open the event log; bring back the one the log was made with."
        ) from None
    return log


@contextmanager
def foundation(settings: Settings, *, name: str, connections: int = 8) -> Iterator[Foundation]:
    """Build for one process called `name`; everything is closed at the end of the block."""
    keyring_file = KeyringFile(settings.storage.keyring_path)
    keyring = keyring_file.load_or_create()
    url = database_url(settings)
    log = _open_log(url, keyring, connections)
    client = connect_redis(redis_url(settings))
    pool = read_pool(url, name=name, most=connections, timeout=ANSWER_SECONDS)
    catalogue = catalogue_pool(url, name=name, most=connections, timeout=ANSWER_SECONDS)
    pool.open()
    try:
        yield Foundation(
            settings=settings,
            keyring=keyring,
            keyring_file=keyring_file,
            log=log,
            reads=pool,
            catalogue=catalogue,
            redis=client,
            entropy=SystemEntropy(),
        )
    finally:
        pool.close()
        catalogue.close()
        client.close()
        log.close()


def dispatch_as_system(base: Foundation, bus: Bus, command: Any) -> Any:
    """Run `command` for nobody: its facts name no actor. Raises `DomainError` when refused."""
    entropy = base.entropy
    context = Context(at=system_clock(), command=entropy.uuid(), correlation=entropy.uuid())
    return bus.dispatch(command, context).result


def access_publisher(base: Foundation) -> AccessPublisher:
    """What copies access to Redis for the trackers."""
    return AccessPublisher(base.redis, base.reads, base.entropy)
