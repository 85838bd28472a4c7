"""uvicorn's HTTP protocol with the bounds it lacks: on time and size of a request's head, on connections.

The body is bounded where it is read, in `interfaces.http.request_guards`.
"""

from __future__ import annotations

import asyncio
from asyncio.events import TimerHandle
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS: Final = 10.0
"""From the opening of a connection, or the first byte of a further request, to the end of its head."""
HEAD_BYTES: Final = 32 * 1024
CONNECTIONS: Final = 4_096
"""Open at once in one process; further ones are closed unanswered."""


class GuardedProtocol(HttpToolsProtocol):
    """Cuts connections that keep a head back, or send one without end."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._awaits_head and not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing() or not self._awaits_head:
            return
        if self._head_bytes > HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self.timeout_keep_alive_task is None:
            self._watch_head()

    def on_headers_complete(self) -> None:
        self._head_done()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    @property
    def _awaits_head(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def _head_done(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing() and self._awaits_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        if self._in_body:
            # The rest of a body nobody wants: its request is answered already.
            self.transport.close()
            return
        text = status.phrase.encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (status, text, len(text), text)
        )
        self.transport.close()
