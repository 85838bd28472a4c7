"""The outermost layer: client address, correlation, cross-site refusal, headers, faults."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.ports import Entropy
from domain.errors import Forbidden
from interfaces.http.client_address import ClientAddresses
from interfaces.http.errors import refused, unknown_fault
from interfaces.http.notes import RequestNotes, note_request

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


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
            headers = MutableHeaders(scope=message)
            self._add(headers)
            self.started = True
        await self._send(message)

    def _add(self, headers: MutableHeaders) -> None:
        notes = self._notes
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if self._https:
            headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        headers["X-Correlation-Id"] = str(notes.correlation)
        if notes.position is not None:
            headers["X-Log-Position"] = str(notes.position)
        if notes.stale:
            headers["X-Stale"] = ", ".join(notes.stale)
        if notes.repeated:
            headers["Idempotency-Replayed"] = "true"
        for raw_name, raw_value in notes.headers:
            headers.append(raw_name.decode("latin-1"), raw_value.decode("latin-1"))
