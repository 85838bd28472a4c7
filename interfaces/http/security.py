"""The outermost layer: client address, correlation, cross-site refusal, headers, faults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.ports import Entropy
from domain.errors import Forbidden
from interfaces.http.client_address import ClientAddresses
from interfaces.http.errors import refused, unknown_fault
from interfaces.http.notes import RequestNotes, note_request

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-store"),
)
"""Of every answer that does not say otherwise itself."""
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class CrossSite(Forbidden):
    """A page of another site tried to change something here."""

    code = "cross_site"
    message = "Changes are only accepted from this site's own pages."


def is_cross_site(method: str, headers: Headers, public_url: str) -> bool:
    """Whether a browser sent this change from another site's page.

    A program sends neither `Origin` nor `Sec-Fetch-Site`: it holds no foreign member's cookie,
    so there is nothing to protect.
    """
    if method in _SAFE:
        return False
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
    if _origin_of(public_url) == origin.lower():
        return False
    # Behind a proxy that ends TLS only the name and port are known for sure.
    host = headers.get("host", "").lower()
    return not host or urlsplit(origin.lower()).netloc != host


def _origin_of(url: str) -> str:
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"


class Edge:
    """ASGI middleware around everything else."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        addresses: ClientAddresses,
        entropy: Entropy,
        public_url: str,
    ) -> None:
        self._app = app
        self._addresses = addresses
        self._entropy = entropy
        self._public_url = public_url
        self._https = urlsplit(public_url).scheme == "https"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # From here on `request.client` is the client, also behind a proxy of ours.
        scope["client"] = self._addresses.client(scope)
        notes = note_request(scope, self._entropy.uuid())
        answer = _Answer(send, notes, https=self._https)
        if is_cross_site(scope["method"], Headers(scope=scope), self._public_url):
            await refused(scope["path"], CrossSite())(scope, receive, answer)
            return
        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            # He hung up in the middle of his body: nobody to answer, and no fault of ours.
            return
        except Exception as fault:
            if answer.started:
                raise
            await unknown_fault(scope, fault)(scope, receive, answer)


class _Answer:
    """Sends on, with our headers added to the start of the answer."""

    def __init__(self, send: Send, notes: RequestNotes, *, https: bool) -> None:
        self.started = False
        self._send = send
        self._notes = notes
        self._https = https

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # As raw pairs: a look-up for each of them took longer than many a page.
            message["headers"] = self._completed(message.get("headers", ()))
            self.started = True
        await self._send(message)

    def _completed(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        notes, headers = self._notes, list(given)
        names = {name.lower() for name, _ in headers}
        headers += [pair for pair in _HEADERS if pair[0] not in names]
        if self._https:
            headers.append(_STRICT_TRANSPORT)
        headers.append((b"x-correlation-id", str(notes.correlation).encode()))
        if notes.position is not None:
            headers.append((b"x-log-position", b"%d" % notes.position))
        if notes.stale:
            headers.append((b"x-stale", ", ".join(notes.stale).encode()))
        if notes.repeated:
            headers.append((b"idempotency-replayed", b"true"))
        return headers
