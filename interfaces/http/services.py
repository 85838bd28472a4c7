"""What the HTTP side is given to work with; built in `ops.container`, never here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from psycopg import Connection
from psycopg_pool import ConnectionPool

from application.access import Passkeys
from application.bus import Bus
from application.password_proofs import Challenges, PasswordProofs
from application.ports import Clock, Entropy, EventLogPort
from application.presence import AddressMask, Presence
from application.second_factor import HalfSessions
from application.sessions import Sessions
from application.torrents import StoredTorrents
from application.users import KekWrapper
from interfaces.http.cookies import SessionCookie
from interfaces.http.freshness import Freshness
from interfaces.http.rate_limits import RateLimiter
from interfaces.http.tracker_probe import TrackerPorts

Probe = Callable[[], None]
"""Returns when the part it asks is well, raises when it is not."""


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Values of `ops.settings` that the HTTP side needs.

    `public_url` is what a browser has in its address line. `setup_code` must come with the
    first registration, None when it is not asked for. `trusted_proxies` are networks (CIDR) whose
    X-Forwarded-For is believed. Banned addresses are read anew after `bans_reread_seconds`, so that
    a ban is in force within a second. Sizes are bytes. More requests than
    `requests_at_once` are refused at once: behind the thread pool they would only wait and time
    out. Open connections without a request do not count, so that nobody can use up all by
    opening them. A body whose first bytes take longer than `body_patience_seconds`, or that trickles
    in, is given up. Who shows `operator_token` is not counted by the rate limits.
    `rp_id` and `rp_origin` are what security keys are bound to. `tracker_ports` are asked for the
    tracker's health.
    """

    public_url: str = "http://localhost:8000"
    announce_url: str = "http://localhost:8080"
    udp_announce_url: str | None = None
    setup_code: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    bans_reread_seconds: float = 0.5
    max_body: int = 256 * 1024
    requests_at_once: int = 200
    body_patience_seconds: float = 10.0
    operator_token: str | None = None
    rp_id: str = "localhost"
    rp_origin: str = "http://localhost:8000"
    tracker_ports: TrackerPorts = field(default_factory=TrackerPorts)
    version: str = "0"

    @property
    def https(self) -> bool:
        return urlsplit(self.public_url).scheme == "https"


@dataclass(frozen=True, kw_only=True)
class HttpServices:
    """The objects behind the routes."""

    bus: Bus
    log: EventLogPort
    reads: ConnectionPool[Connection[Any]]
    catalogue: ConnectionPool[Connection[Any]]
    sessions: Sessions
    presence: Presence
    address_mask: AddressMask
    proofs: PasswordProofs
    cookie: SessionCookie
    half_cookie: SessionCookie
    device_cookie: SessionCookie
    half_sessions: HalfSessions
    challenges: Challenges
    freshness: Freshness
    clock: Clock
    entropy: Entropy
    passkeys: Passkeys
    torrents: StoredTorrents
    kek: KekWrapper
    limiter: RateLimiter | None = None
    settings: HttpSettings = field(default_factory=HttpSettings)
    probes: Mapping[str, Probe] = field(default_factory=dict)
