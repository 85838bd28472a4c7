"""uvicorn's HTTP protocol with the bounds it lacks: on a request's head, on connections, on clients that do not read.

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

UNREAD_SECONDS: Final = 30.0
"""In which a client has to take `UNREAD_LEAST` of what waits for it, or all of it."""
UNREAD_LEAST: Final = 64 * 1024
"""Bytes; a slow line takes so much, who only holds the connection does not."""


class GuardedProtocol(HttpToolsProtocol):
    """Cuts connections that keep a head back, send one without end, or do not read their answers.

    uvicorn waits for such a client without end: to write its next answer, which holds one of the
    places where requests are served, and for what is left to be sent before it closes.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._in_body = False
        self._unread_timer: TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        self._unread_done()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread_done()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_unread()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_unread()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._watch_unread()

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
        self._watch_unread()
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

    def _watch_unread(self) -> None:
        if self._unread_timer is None:
            self._unread = self.transport.get_write_buffer_size()
            self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self._unread_late)

    def _unread_done(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _unread_late(self) -> None:
        self._unread_timer = None
        if self._unread - self.transport.get_write_buffer_size() >= UNREAD_LEAST:
            self._watch_unread()
        else:
            self.transport.abort()
