"""Turns banned addresses away before any route is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import structlog
from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from application.ports import Clock
from domain.address_bans import AddressRefused
from interfaces.http.client_address import Address, read_address
from interfaces.http.errors import refused
from projections.address_bans import address_bans_position, all_banned_networks

OPEN_TO_BANNED = frozenset({"/api/health"})
"""Answered whoever asks."""

Networks = dict[tuple[int, int], dict[int, datetime | None]]
"""Ends of bans by prefix, for each IP version and number of bits cut off."""


class BannedNetworks:
    """The bans of the read model in memory: one look-up for each length of prefix."""

    def __init__(
        self,
        reads: ConnectionPool[Connection[Any]],
        *,
        reread_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reread_seconds = reread_seconds
        self._reads = reads
        self._monotonic = monotonic
        self._networks: Networks = {}
        self._position = -1
        self._read_at = float("-inf")
        self._reading = threading.Lock()

    @property
    def is_old(self) -> bool:
        """Whether the read model should be looked at again."""
        return self._monotonic() - self._read_at >= self._reread_seconds

    def refresh(self) -> None:
        """Look at the read model; with the database away, what is known stays in force."""
        if not self._reading.acquire(blocking=False):
            # Another request does it at this moment.
            return
        try:
            with self._reads.connection() as conn:
                position = address_bans_position(conn)
                if position != self._position:
                    self._networks = _by_length(all_banned_networks(conn))
                    self._position = position
        except OperationalError as fault:
            structlog.get_logger().warning("address_bans.unread", fault=type(fault).__name__)
        finally:
            self._read_at = self._monotonic()
            self._reading.release()

    def covers(self, address: Address, now: datetime) -> bool:
        """Whether a ban of this address is in force at `now`."""
        number = int(address)
        for (version, shift), prefixes in self._networks.items():
            if version == address.version and (prefix := number >> shift) in prefixes:
                until = prefixes[prefix]
                if until is None or now < until:
                    return True
        return False


def _by_length(bans: list[tuple[str, datetime | None]]) -> Networks:
    found: Networks = {}
    for text, until in bans:
        network = ip_network(text)
        shift = network.max_prefixlen - network.prefixlen
        prefixes = found.setdefault((network.version, shift), {})
        prefixes[int(network.network_address) >> shift] = until
    return found


class AddressGate:
    """ASGI middleware: 403 for a banned address, whoever is signed in there."""

    def __init__(self, app: ASGIApp, *, banned: BannedNetworks, clock: Clock) -> None:
        self._app = app
        self._banned = banned
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_TO_BANNED:
            if self._banned.is_old:
                await run_in_threadpool(self._banned.refresh)
            address = read_address(scope["client"][0]) if scope.get("client") else None
            if address is not None and self._banned.covers(address, self._clock()):
                await refused(scope["path"], AddressRefused())(scope, receive, send)
                return
        await self._app(scope, receive, send)
