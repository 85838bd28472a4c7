"""The api process: uvicorn around the application, on sockets of our own."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from application.access import AnnounceAddresses, Passkeys
from application.bus import Bus
from application.handlers import HANDLERS, TAKEN
from application.password_proofs import PasswordProofs
from application.presence import AddressMask, Presence
from application.sessions import Sessions
from application.store.challenges import RedisChallenges
from application.store.half_sessions import RedisHalfSessions
from application.store.presence import RedisPresence
from application.torrents import StoredTorrents
from interfaces.access_feed import PublishAccessAfterCommit
from interfaces.http.app import create_app
from interfaces.http.cookies import (
    DEVICE_COOKIE,
    DEVICE_COOKIE_LIFE,
    HALF_COOKIE,
    HALF_COOKIE_LIFE,
    SessionCookie,
)
from interfaces.http.freshness import Freshness
from interfaces.http.number_setting import NumberSetting
from interfaces.http.rate_limits import RateLimiter
from interfaces.http.services import HttpServices, HttpSettings
from interfaces.http.tracker_probe import TrackerPorts
from interfaces.revocations import RevocationListener, Revocations, RevokeAfterCommit
from interfaces.workers.broker import make_broker
from interfaces.workers.projections import ProjectionWake
from ops.container.foundation import Foundation, access_publisher, foundation
from ops.container.guarded_http import GuardedProtocol
from ops.container.process import redis_url
from ops.inherited import HTTP, inherited
from ops.listening import open_listeners
from ops.logs import configure_logging
from ops.readiness import announce_ready
from ops.run_state import secret_value
from ops.settings import Settings, load_settings
from ops.setup_code import setup_code
from ops.system import system_clock
from ops.version import VERSION
from projections.read_your_writes import ReadYourWrites
from projections.registry import ALL

DRAIN_SECONDS = 10


def run(settings: Settings) -> None:
    """Serve until a stop signal; several worker processes share the listening sockets."""
    sockets = inherited(HTTP)
    if sockets is None:
        network = settings.network
        sockets = open_listeners(network, network.api_port, port_key="TRACKARR_API_PORT")
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    if settings.processes.api_workers > 1:
        _run_many(settings, sockets)
    else:
        with application(settings) as app:
            _ReadyServer(_config(app)).run(sockets=sockets)


@contextmanager
def application(settings: Settings) -> Iterator[FastAPI]:
    """The application with everything behind it."""
    with foundation(settings, name="api", connections=16) as base:
        base.catalogue.open()
        services = http_services(base)
        listener = RevocationListener(base.redis, services.sessions)
        with beside("presence", services.presence.run), beside("revocations", listener.run):
            yield create_app(services)


@contextmanager
def beside(name: str, loop: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `loop` in a thread while the block lasts; it ends before what it works with does."""
    stop = threading.Event()
    thread = threading.Thread(target=loop, args=(stop,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DRAIN_SECONDS)


def application_bus(base: Foundation, models: ReadYourWrites) -> Bus:
    """The bus whose commits tell api processes and trackers at once, and step the read models."""
    published = PublishAccessAfterCommit(models, access_publisher(base))
    after_commit = RevokeAfterCommit(published, Revocations(base.redis, base.entropy))
    return Bus(base.log, HANDLERS, after_commit=after_commit, taken=TAKEN)


def read_your_writes(base: Foundation) -> ReadYourWrites:
    """Steps read models after a commit; a job on Redis wakes the workers besides."""
    wake = ProjectionWake(make_broker(redis_url(base.settings)))
    return ReadYourWrites(base.reads, base.log, ALL, wake=wake)


def http_services(base: Foundation) -> HttpServices:
    models = read_your_writes(base)
    settings = base.settings
    http = _http_settings(settings)
    cookie = partial(
        SessionCookie,
        base.keyring.active("cookie").material,
        secure=http.https,
        entropy=base.entropy,
    )
    challenges = RedisChallenges(base.redis)
    passkeys = Passkeys(base.keyring.materials("passkeys"))
    return HttpServices(
        bus=application_bus(base, models),
        log=base.log,
        reads=base.reads,
        catalogue=base.catalogue,
        sessions=Sessions(base.log, monotonic=time.monotonic),
        presence=Presence(base.log, RedisPresence(base.redis), clock=system_clock),
        address_mask=AddressMask(base.keyring.active("challenges").material),
        proofs=PasswordProofs(
            base.log,
            challenges,
            base.entropy,
            decoy_key=base.keyring.active("challenges").material,
            difficulty=settings.protection.pow_difficulty,
        ),
        cookie=cookie(),
        half_cookie=cookie(name=HALF_COOKIE, life=HALF_COOKIE_LIFE),
        device_cookie=cookie(name=DEVICE_COOKIE, life=DEVICE_COOKIE_LIFE),
        half_sessions=RedisHalfSessions(base.redis),
        challenges=challenges,
        freshness=Freshness(base.redis, models.catch_up),
        clock=system_clock,
        entropy=base.entropy,
        kek=base.keyring_file,
        limiter=rate_limiter(base) if settings.protection.rate_limits else None,
        passkeys=passkeys,
        torrents=StoredTorrents(
            base.log,
            passkeys,
            AnnounceAddresses(http.announce_url, http.udp_announce_url),
        ),
        settings=http,
        probes=probes(base),
    )


def rate_limiter(base: Foundation) -> RateLimiter:
    """Counts requests; an administrator's change of the limit acts within seconds."""
    mutations = NumberSetting(base.reads, "mutationsPerMinute", monotonic=time.monotonic)
    return RateLimiter(base.redis, base.keyring.active("challenges").material, mutations)


def probes(base: Foundation) -> dict[str, Callable[[], None]]:
    """What `/api/health` asks."""

    def postgres() -> None:
        with base.reads.connection() as conn:
            conn.execute("")

    def redis() -> None:
        base.redis.ping()

    return {"postgres": postgres, "redis": redis}


def _http_settings(settings: Settings) -> HttpSettings:
    network = settings.network
    return HttpSettings(
        public_url=network.web_url,
        announce_url=network.http_announce_url,
        udp_announce_url=network.udp_tracker_url,
        setup_code=setup_code(settings),
        operator_token=secret_value(settings.protection.operator_token),
        trusted_proxies=network.trusted_proxies,
        rp_id=network.rp_id,
        rp_origin=network.rp_origin,
        tracker_ports=TrackerPorts(
            host=network.tracker_host, http=network.tracker_port, udp=network.udp_port
        ),
        version=VERSION,
    )


class _ReadyServer(uvicorn.Server):
    """Tells the supervisor once it accepts."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        announce_ready()


def _config(app: Any, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=GuardedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        **more,
    )


def _run_many(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    config = _config(
        "ops.container.api:worker_application",
        factory=True,
        workers=settings.processes.api_workers,
    )
    port = sockets[0].getsockname()
    threading.Thread(target=_announce_when_serving, args=(port,), daemon=True).start()
    Multiprocess(config, sockets=list(sockets)).run()


def worker_application() -> FastAPI:
    """The application of one of several worker processes, for as long as it lives."""
    settings = load_settings()
    configure_logging(level=settings.processes.log_level, style=settings.processes.log_format)
    held = application(settings)
    app = held.__enter__()
    # Kept on the application: closed with the process, which the parent ends.
    app.state.held = held
    return app


def _announce_when_serving(address: tuple[Any, ...]) -> None:
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    request = b"GET /api/health HTTP/1.0\r\nHost: localhost\r\n\r\n"
    while True:
        with socket.socket(family) as probe:
            probe.settimeout(5)
            try:
                probe.connect(address)
                probe.sendall(request)
                if probe.recv(64).startswith(b"HTTP/1.1 200"):
                    announce_ready()
                    return
            except OSError:
                time.sleep(0.05)


def _exit(_number: int, _frame: FrameType | None) -> None:
    """What uvicorn raises again after its shutdown ends the process in order, code 0."""
    sys.exit(0)
