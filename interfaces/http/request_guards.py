"""Takes a request in before anything works on it: its address, its body, a place among the others.

A body is read whole here, within its size and at a pace, so that nobody holds one of the places
where requests are served, or a thread, by sending slowly.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from re import Pattern
from typing import Any, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import NotFound, TooLarge, Unavailable
from interfaces.http.client_address import read_address
from interfaces.http.errors import BodyTooSlow, refused

PATIENCE_SECONDS: Final = 10.0
"""Until the first bytes of a body, and for each pause in it that its pace allows."""
PACE: Final = 16 * 1024
"""Bytes a second below which a body is given up: a slow line, not a deliberate trickle."""
HELD_BYTES: Final = 256 * 1024 * 1024
"""Of all bodies that one process is taking in."""
HELD_OF_ONE: Final = 64 * 1024 * 1024
"""Of the bodies that come from one address."""

_FOREIGN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ufffd\ud800-\udfff]")
"""Control characters, the backslash, what stands for undecodable bytes, and half characters."""


class Overloaded(Unavailable):
    """More requests are being served than help anyone."""

    code = "overloaded"
    message = "Too many requests are being served at this moment; try again."


class OddPath(NotFound):
    """A path that means another one, or that no address has: with `..`, an empty step, a control
    character, a backslash, or bytes that are no UTF-8.
    """

    code = "route_not_found"
    message = "No such address."


@dataclass(frozen=True)
class BodyLimits:
    """How many bytes a body may have, by route; `usual` where the route says nothing."""

    usual: int
    larger: Sequence[tuple[Pattern[str], frozenset[str], int]] = ()

    def of(self, method: str, path: str) -> int:
        for pattern, methods, size in self.larger:
            if method in methods and pattern.match(path):
                return size
        return self.usual


def body_limits(routers: Iterable[APIRouter], usual: int) -> BodyLimits:
    """The limits the routes themselves state."""
    larger = [
        (route.path_regex, frozenset(route.methods or ()), route.max_body_size)
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.max_body_size is not None
    ]
    return BodyLimits(usual, larger)


def is_odd(path: str) -> bool:
    """Whether programs could disagree about which address this is, or no program can store it.

    `path` is decoded: bytes that are no UTF-8 (overlong forms and half characters are none) have
    become U+FFFD. A slash that came as %2F is a slash: networks stand so in our own addresses.
    """
    if not path.startswith("/") or "//" in path or _FOREIGN.search(path):
        return True
    return not {".", ".."}.isdisjoint(path.split("/"))


class RequestGuards:
    """ASGI middleware: refuses odd paths, takes in bodies, and keeps to `at_once` requests."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: BodyLimits,
        at_once: int,
        patience: float = PATIENCE_SECONDS,
        held: int = HELD_BYTES,
        held_of_one: int = HELD_OF_ONE,
    ) -> None:
        self._app = app
        self._limits = limits
        self._at_once = at_once
        self._running = 0
        self._patience = patience
        self._held = _Held(held, held_of_one)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if is_odd(scope["path"]):
            # The answer names it: half a character would be a fault there.
            named = scope["path"].encode("utf-8", "replace").decode()
            await refused(named, OddPath())(scope, receive, send)
            return
        if not _has_body(Headers(scope=scope)):
            await self._serve(scope, receive, send)
            return
        with self._held.by(_asker(scope)) as taken:
            try:
                body = await self._take(scope, receive, taken)
            except _HungUp:
                # He hung up in the middle of his body: nobody to answer, and no fault of ours.
                return
            except (TooLarge, BodyTooSlow, Overloaded) as refusal:
                response = refused(scope["path"], refusal)
                if isinstance(refusal, BodyTooSlow):
                    response.headers["Connection"] = "close"
                await response(scope, receive, send)
                return
            await self._serve(scope, _replayed(body, receive), send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._running >= self._at_once:
            await refused(scope["path"], Overloaded(retry_after=1))(scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1

    async def _take(self, scope: Scope, receive: Receive, taken: _Taken) -> bytes:
        """The whole body. Raises `TooLarge`, `BodyTooSlow`, `Overloaded`."""
        limit = self._limits.of(scope["method"], scope["path"])
        if _stated_length(Headers(scope=scope)) > limit:
            raise TooLarge("The body is larger than allowed.")
        clock = asyncio.get_running_loop().time
        began = clock()
        body = bytearray()
        while True:
            deadline = began + self._patience + len(body) / PACE
            if clock() > deadline:
                # A client that always has one more byte ready never lets the timer below run.
                raise BodyTooSlow()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow() from None
            if message["type"] != "http.request":
                raise _HungUp
            piece = message.get("body", b"")
            if len(body) + len(piece) > limit:
                raise TooLarge("The body is larger than allowed.")
            taken.add(len(piece))
            body += piece
            if not message.get("more_body", False):
                return bytes(body)


class _HungUp(Exception):
    """The client is gone."""


class _Held:
    """Bytes of the bodies being taken in, in all and by address."""

    def __init__(self, limit: int, limit_of_one: int) -> None:
        self.limit = limit
        self.limit_of_one = limit_of_one
        self.total = 0
        self.by_address: Counter[str] = Counter()

    def by(self, address: str) -> _Taken:
        return _Taken(self, address)


class _Taken:
    """What one request holds; given back at the end of the block."""

    def __init__(self, held: _Held, address: str) -> None:
        self._held = held
        self._address = address
        self._bytes = 0

    def __enter__(self) -> _Taken:
        return self

    def __exit__(self, *_: object) -> None:
        held = self._held
        held.total -= self._bytes
        held.by_address[self._address] -= self._bytes
        if held.by_address[self._address] <= 0:
            del held.by_address[self._address]

    def add(self, size: int) -> None:
        """Count bytes before they are kept. Raises `Overloaded`."""
        held = self._held
        if (
            held.total + size > held.limit
            or held.by_address[self._address] + size > held.limit_of_one
        ):
            raise Overloaded(retry_after=1)
        self._bytes += size
        held.total += size
        held.by_address[self._address] += size


def _asker(scope: Scope) -> str:
    """The client's address; of IPv6 the /64, which belongs to one client."""
    host = str((scope.get("client") or ("",))[0])
    address = read_address(host)
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else host


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or _stated_length(headers) > 0


def _stated_length(headers: Headers) -> int:
    try:
        return int(headers.get("content-length", "0"))
    except ValueError:
        return 0


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        message: dict[str, Any] = {"type": "http.request", "body": body, "more_body": False}
        return message

    return replay
