"""The HTTP application over real PostgreSQL and Valkey, in the test's own process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import uuid6
from fastapi import FastAPI
from psycopg import sql
from redis import Redis

from application.access import AnnounceAddresses, Passkeys
from application.bus import Actor, Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.password_proofs import PasswordProofs
from application.presence import AddressMask, Presence
from application.sessions import Sessions
from application.store.challenges import RedisChallenges
from application.store.half_sessions import RedisHalfSessions
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.presence import RedisPresence
from application.store.topics import registry
from application.torrents import StoredTorrents
from interfaces.http.app import create_app
from interfaces.http.cookies import (
    DEVICE_COOKIE,
    DEVICE_COOKIE_LIFE,
    HALF_COOKIE,
    HALF_COOKIE_LIFE,
    SessionCookie,
)
from interfaces.http.freshness import Freshness
from interfaces.http.services import HttpServices, HttpSettings
from ops.container.pools import catalogue_pool, read_pool
from projections import accounting, member_directory
from projections.engine import Projection, install, schema_of
from projections.read_your_writes import ReadYourWrites
from projections.registry import ALL
from tests.kit.browser import Browser


class SystemEntropy:
    """What the real processes use."""

    def uuid(self) -> UUID:
        return UUID(bytes=uuid6.uuid7().bytes)

    def token(self, size: int) -> bytes:
        return os.urandom(size)


@dataclass
class SteppedClock:
    """The wall clock, which a test may put forward."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class KeptPanicPassword:
    """Takes the panic password where the processes would wrap the key-encryption key."""

    passwords: list[str] = field(default_factory=list)

    def wrap(self, password: str) -> None:
        self.passwords.append(password)


@dataclass
class Api:
    """A whole application; `browser()` gives a caller with cookies of his own."""

    app: FastAPI
    services: HttpServices
    log: EventLog
    bus: Bus
    redis: Redis
    clock: SteppedClock
    kek: KeptPanicPassword
    app_url: str

    def browser(self, **headers: str) -> Browser:
        return Browser(self.app, headers)

    def configured(self, **settings: Any) -> Api:
        """The same services behind an application with other settings."""
        services = replace(self.services, settings=replace(self.services.settings, **settings))
        return replace(self, app=create_app(services), services=services)

    def dispatch(self, command: Any, actor: Actor | None = None) -> Any:
        context = Context(
            at=self.clock(), command=uuid6.uuid7(), correlation=uuid6.uuid7(), actor=actor
        )
        return self.bus.dispatch(command, context).result

    @contextmanager
    def held(self, projection: Projection) -> Iterator[None]:
        """While open, `projection` can't be stepped: another has its position."""
        with psycopg.connect(self.app_url) as conn:
            conn.execute(
                sql.SQL("SELECT FROM {}.position FOR UPDATE").format(
                    sql.Identifier(schema_of(projection))
                )
            )
            yield

    def topics(self) -> list[str]:
        """Topics of every fact in the log, in order."""
        return [recorded.envelope.fact.TOPIC for recorded in self.log.read(0, 10_000)[0]]


def install_read_models(app_url: str, projections: Sequence[Projection]) -> None:
    with psycopg.connect(app_url, autocommit=True) as conn:
        for projection in projections:
            install(conn, projection)
        accounting.install(conn)
        member_directory.install(conn)


@contextmanager
def running_api(
    app_url: str,
    redis_url: str,
    *,
    projections: Sequence[Projection] = ALL,
    settings: HttpSettings | None = None,
    probes: Mapping[str, Callable[[], None]] | None = None,
    installed: bool = False,
) -> Iterator[Api]:
    """An application on a fresh database and an empty Redis.

    `installed`: the database is a clone that has the read models.
    """
    if not installed:
        install_read_models(app_url, projections)
    redis = Redis.from_url(redis_url)
    keyring = Keyring.generate()
    log = EventLog(app_url, keyring, registry())
    clock, kek, entropy = SteppedClock(), KeptPanicPassword(), SystemEntropy()
    cookie = partial(
        SessionCookie, keyring.active("cookie").material, secure=False, entropy=entropy
    )
    with (
        read_pool(app_url, name="test", most=6, timeout=30) as pool,
        catalogue_pool(app_url, name="test", most=6, timeout=30) as catalogue,
    ):
        fresh = ReadYourWrites(pool, log, projections, wake=lambda: None)
        bus = Bus(log, HANDLERS, after_commit=fresh, taken=TAKEN)
        passkeys = Passkeys(keyring.materials("passkeys"))
        services = HttpServices(
            bus=bus,
            log=log,
            reads=pool,
            catalogue=catalogue,
            sessions=Sessions(log, monotonic=time.monotonic),
            presence=Presence(log, RedisPresence(redis), clock=clock),
            address_mask=AddressMask(keyring.active("challenges").material),
            proofs=PasswordProofs(
                log,
                RedisChallenges(redis),
                entropy,
                decoy_key=keyring.active("challenges").material,
                difficulty=1,
            ),
            cookie=cookie(),
            half_cookie=cookie(name=HALF_COOKIE, life=HALF_COOKIE_LIFE),
            device_cookie=cookie(name=DEVICE_COOKIE, life=DEVICE_COOKIE_LIFE),
            half_sessions=RedisHalfSessions(redis),
            challenges=RedisChallenges(redis),
            freshness=Freshness(redis, fresh.catch_up),
            clock=clock,
            entropy=entropy,
            passkeys=passkeys,
            torrents=StoredTorrents(
                log,
                passkeys,
                AnnounceAddresses("http://localhost:8080", "udp://localhost:6969"),
            ),
            kek=kek,
            settings=settings
            or HttpSettings(
                public_url="http://testserver", rp_id="testserver", rp_origin="http://testserver"
            ),
            probes=probes or {"redis": lambda: redis.ping() and None},
        )
        try:
            yield Api(
                app=create_app(services),
                services=services,
                log=log,
                bus=bus,
                redis=redis,
                clock=clock,
                kek=kek,
                app_url=app_url,
            )
        finally:
            log.close()
            redis.close()
