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
"""Of a head, of the trailers of a body, of anything that is no body; counted by what arrives at
once, so that up to one reading of the socket goes uncounted before it."""
PIPELINED: Final = 64
"""Requests of one connection that wait behind the one being answered."""
CONNECTIONS: Final = 4_096
"""Open at once in one process; further ones are closed unanswered."""

UNREAD_SECONDS: Final = 30.0
"""A client may be this far behind in taking what waits for it."""
UNREAD_PACE: Final = 16 * 1024
"""Bytes a second: who takes less falls behind. A slow line takes so much (a body has to come as
fast), who only holds the connection does not."""
_UNREAD_LOOKS: Final = 20
"""In `UNREAD_SECONDS`, at most: how often one is looked at who takes just enough."""


class GuardedProtocol(HttpToolsProtocol):
    """Cuts connections that keep a head back, send one without end, or do not read their answers.

    uvicorn waits for such a client without end: to write its next answer, which holds one of the
    places where requests are served, and for what is left to be sent before it closes.

    The whole time of an answer is bounded: beyond `UNREAD_SECONDS` of grace, once for all answers
    of a connection, every second in which something waits has to be paid with `UNREAD_PACE` bytes
    taken, whether the answer was handed over in one piece or in many.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._in_body = False
        self._unread_timer: TimerHandle | None = None
        self._unread = 0
        self._unread_since = 0.0
        self._behind = 0.0

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
        elif self.pipeline:
            # First those that are here: each answer would let in many more than the one it ends.
            self.flow.pause_reading()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_unread()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._watch_unread()

    def data_received(self, data: bytes) -> None:
        # Taken back where it ends a head or is of a body.
        self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_bytes > HEAD_BYTES:
            if self._awaits_head:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            else:
                # An answer is being made: a refusal would get into the middle of it.
                self.transport.abort()
        elif self._awaits_head and self.timeout_keep_alive_task is None:
            self._watch_head()

    def on_headers_complete(self) -> None:
        self._head_done()
        self._in_body = True
        if len(self.pipeline) >= PIPELINED:
            self.transport.abort()
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
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
            self._unread_since = self.loop.time()
            least = UNREAD_SECONDS / _UNREAD_LOOKS
            wait = max(UNREAD_SECONDS - self._behind, least)
            self._unread_timer = self.loop.call_later(wait, self._unread_late)

    def _unread_done(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
            self._reckon_unread()

    def _unread_late(self) -> None:
        self._unread_timer = None
        self._reckon_unread()
        if self._behind < UNREAD_SECONDS:
            self._watch_unread()
        else:
            self.transport.abort()

    def _reckon_unread(self) -> None:
        """Add the time since the last look, less what was taken in it; nothing is written then."""
        taken = self._unread - self.transport.get_write_buffer_size()
        waited = self.loop.time() - self._unread_since
        self._behind = max(self._behind + waited - taken / UNREAD_PACE, 0.0)
