"""The HTTP application over real PostgreSQL and Valkey, in the test's own process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import uuid6
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from redis import Redis

from application.bus import Actor, Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.password_proofs import PasswordProofs
from application.ports import Appended
from application.sessions import Sessions
from application.store.challenges import RedisChallenges
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from interfaces.http.app import create_app
from interfaces.http.cookies import SessionCookie
from interfaces.http.freshness import Freshness
from interfaces.http.services import HttpServices, HttpSettings
from projections import accounting
from projections.engine import Projection, install, standings, step
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


class ReadModels:
    """Steps the read models in this process; `hold` leaves some behind."""

    def __init__(self, app_url: str, log: EventLog, projections: Sequence[Projection]) -> None:
        self._url = app_url
        self._log = log
        self._projections = projections
        self.hold: frozenset[str] = frozenset()

    def install(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            for projection in self._projections:
                install(conn, projection)
            accounting.install(conn)

    def after_commit(self, appended: Appended) -> tuple[str, ...]:
        with psycopg.connect(self._url, autocommit=True) as conn:
            for projection in self._projections:
                if projection.name not in self.hold:
                    step(conn, self._log, projection)
        return tuple(sorted(self.hold))

    def catch_up(self, position: int, seconds: float) -> tuple[str, ...]:
        end = time.monotonic() + seconds
        while True:
            behind = self._behind(position)
            if not behind or time.monotonic() > end:
                return behind
            time.sleep(0.01)

    def _behind(self, position: int) -> tuple[str, ...]:
        with psycopg.connect(self._url, autocommit=True) as conn:
            for projection in self._projections:
                if projection.name not in self.hold:
                    step(conn, self._log, projection)
            found = standings(conn, position, self._projections)
        return tuple(sorted(name for name, standing in found.items() if standing.behind))


@dataclass
class Api:
    """A whole application; `browser()` gives a caller with cookies of his own."""

    app: FastAPI
    services: HttpServices
    log: EventLog
    bus: Bus
    redis: Redis
    read_models: ReadModels
    clock: SteppedClock
    kek: KeptPanicPassword
    database_url: str

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

    def topics(self) -> list[str]:
        """Topics of every fact in the log, in order."""
        return [recorded.envelope.fact.TOPIC for recorded in self.log.read(0, 10_000)[0]]


@contextmanager
def running_api(
    owner_url: str,
    app_url: str,
    redis_url: str,
    *,
    projections: Sequence[Projection] = ALL,
    settings: HttpSettings | None = None,
    probes: Mapping[str, Callable[[], None]] | None = None,
) -> Iterator[Api]:
    """An application on a fresh database and an empty Redis."""
    redis = Redis.from_url(redis_url)
    keyring = Keyring.generate()
    log = EventLog(app_url, keyring, registry())
    read_models = ReadModels(app_url, log, projections)
    read_models.install()
    clock, kek, entropy = SteppedClock(), KeptPanicPassword(), SystemEntropy()
    with ConnectionPool(app_url, min_size=1, max_size=4, open=False) as pool:
        bus = Bus(log, HANDLERS, after_commit=read_models.after_commit, taken=TAKEN)
        services = HttpServices(
            bus=bus,
            log=log,
            reads=pool,
            sessions=Sessions(log, monotonic=time.monotonic),
            proofs=PasswordProofs(
                log,
                RedisChallenges(redis),
                entropy,
                decoy_key=keyring.active("challenges").material,
                difficulty=1,
            ),
            cookie=SessionCookie(keyring.active("cookie").material, secure=False, entropy=entropy),
            freshness=Freshness(redis, read_models.catch_up),
            clock=clock,
            entropy=entropy,
            kek=kek,
            settings=settings or HttpSettings(public_url="http://testserver"),
            probes=probes or {"redis": lambda: redis.ping() and None},
        )
        try:
            yield Api(
                app=create_app(services),
                services=services,
                log=log,
                bus=bus,
                redis=redis,
                read_models=read_models,
                clock=clock,
                kek=kek,
                database_url=owner_url,
            )
        finally:
            log.close()
            redis.close()
