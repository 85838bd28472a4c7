"""HTTP announces on raw non-blocking sockets: one request, one answer, mostly one connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tracker.addresses import AddressReader
from tracker.counters import UNREAD, Counters
from tracker.event_loop import EXCLUSIVE, READABLE, WRITABLE, EventLoop
from tracker.event_stream import EventStream
from tracker.forwarded_frames import ForwardedAnnounce
from tracker.forwarding import Forwarder
from tracker.http_connection import HttpConnection
from tracker.http_pages import HttpPages
from tracker.logic import Logic
from tracker.protocol.announce import AnnounceRequest, parse_announce
from tracker.protocol.bencode import write_listed_reply, write_reply
from tracker.protocol.http_requests import (
    HEAD_END,
    BadRequest,
    RequestHead,
    parse_head,
    write_response,
    write_status,
)
from tracker.protocol.refusals import Refusal, address_unknown, unavailable
from tracker.protocol.usual_announce import read_usual_announce
from tracker.proxies import TrustedProxies
from tracker.wire import PROTOCOL_HTTP

_ACCEPTS_A_ROUND: Final = 64
_V4: Final = 4
_V6_NETWORK: Final = 8
_BACKLOG: Final = 1024
_DEFER_SECONDS: Final = 5
_ANNOUNCE: Final = b"/announce"
# The heads of usual announces, as far as answers need them.
_KEPT: Final = RequestHead(_ANNOUNCE, b"", keep_alive=True, old=False)
_ENDING: Final = RequestHead(_ANNOUNCE, b"", keep_alive=False, old=False)
_ADDRESSES_KEPT: Final = 16_384


@dataclass(frozen=True)
class HttpLimits:
    """Bytes, seconds and connections (design, section 5)."""

    request_bytes: int = 4096
    header_seconds: float = 5.0
    idle_seconds: float = 60.0
    connections: int = 4096
    connections_per_address: int = 64
    """An IPv6 network of 64 bits counts as one address."""


class HttpServer:
    """Serves `/announce/<key>`, `/announce?passkey=` and our pages on the shard's loop."""

    def __init__(
        self,
        loop: EventLoop,
        *,
        logic: Logic,
        stream: EventStream,
        limits: HttpLimits,
        counters: Counters,
        pages: HttpPages,
        proxies: TrustedProxies,
        forwarder: Forwarder | None = None,
    ) -> None:
        """`forwarder` is there where other shards own some of the torrents."""
        self._loop = loop
        self._logic = logic
        self._stream = stream
        self._limits = limits
        self._counters = counters
        self._pages = pages
        self._proxies = proxies
        self._trusts = lru_cache(maxsize=_ADDRESSES_KEPT)(proxies.trusts)
        self._outlet = stream.outlet(self._deliver, self._refuse)
        self._forwarder = forwarder
        self._listening: dict[int, socket.socket] = {}
        self._connections: dict[int, HttpConnection] = {}
        self._by_address: dict[bytes, int] = {}
        self._addresses = AddressReader()
        self._ready: list[HttpConnection] = []
        self._next_sweep = 0.0
        loop.after_round(self._serve_ready)
        loop.on_tick(self._sweep)

    @property
    def open(self) -> int:
        """Connections at the moment."""
        return len(self._connections)

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept from sockets that are bound already; they stay their owner's to close."""
        for listener in sockets:
            listener.settimeout(0.0)
            if listener.family in {socket.AF_INET, socket.AF_INET6}:
                # Accept hands a connection over with its request: no wait, no epoll round.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_SECONDS)
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # Inherited by what is accepted: an answer and the end of its connection leave as
                # one packet, a fifth of all that an announce costs. Undone for kept connections.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            listener.listen(_BACKLOG)
            self._listening[listener.fileno()] = listener
            self._loop.watch(listener.fileno(), READABLE | EXCLUSIVE, self._accept)

    def stop_listening(self) -> None:
        """Accept nothing more, answer what has arrived, drop connections between two requests."""
        for descriptor in self._listening:
            self._loop.forget(descriptor)
        self._listening.clear()
        for connection in list(self._connections.values()):
            connection.close = True
            if not connection.busy and not connection.outgoing:
                self._read(connection)
                if not connection.busy and not connection.outgoing:
                    self._drop(connection)

    def close(self) -> None:
        """Drop every connection."""
        for connection in list(self._connections.values()):
            self._drop(connection)

    def send(self, connection: HttpConnection) -> None:
        """Let a prepared answer leave; what does not fit now follows when it can."""
        connection.busy = False
        if connection.descriptor < 0:
            return
        head = connection.head
        if head is None or not head.keep_alive:
            connection.close = True
        self._write(connection)

    def _deliver(self, connections: list[HttpConnection]) -> None:
        """The records are durable: let the prepared answers go."""
        for connection in connections:
            self.send(connection)

    def _refuse(self, connections: list[HttpConnection]) -> None:
        """The records may be lost: say so instead of the prepared answers."""
        for connection in connections:
            connection.turn_down(unavailable())

    def _accept(self, descriptor: int, _bits: int) -> None:
        listener = self._listening.get(descriptor)
        if listener is None:
            return
        by_ip = listener.family != socket.AF_UNIX
        # Half the cost of accept(): no socket object for a descriptor used once.
        accept = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        for _ in range(_ACCEPTS_A_ROUND):
            try:
                accepted, where = accept()
            except OSError:
                # Nothing more to accept, or no descriptor left: come again next round.
                return
            os.set_blocking(accepted, False)
            # On a unix socket only a proxy of ours can call; it tells whose request it is.
            self._open(accepted, self._addresses.read(where) if by_ip else b"", corked=by_ip)

    def _open(self, descriptor: int, address: bytes, *, corked: bool) -> None:
        limits = self._limits
        counted = counted_address(address)
        count = self._by_address.get(counted, 0)
        proxied = not address or self._trusts(address)
        if (count >= limits.connections_per_address and not proxied) or len(
            self._connections
        ) >= limits.connections:
            self._counters.connections_refused += 1
            os.close(descriptor)
            return
        self._counters.connections += 1
        self._by_address[counted] = count + 1
        deadline = self._loop.now + limits.header_seconds
        connection = HttpConnection(self, descriptor, address, counted, deadline)
        connection.proxied, connection.corked = proxied, corked
        self._connections[descriptor] = connection
        self._read(connection)

    def _handle(self, descriptor: int, _bits: int) -> None:
        connection = self._connections.get(descriptor)
        if connection is None:
            return
        if connection.busy:
            # More bytes or their end while an answer is due: looked at when it is sent.
            self._watch(connection, 0)
        elif connection.outgoing:
            self._write(connection)
        else:
            self._read(connection)

    def _read(self, connection: HttpConnection) -> None:
        try:
            received = os.read(connection.descriptor, self._limits.request_bytes)
        except BlockingIOError:
            self._watch(connection, READABLE)
            return
        except OSError:
            received = b""
        if not received:
            self._drop(connection)
            return
        if not connection.incoming:
            # The first bytes of a request: from now on it has to come in time.
            connection.deadline = self._loop.now + self._limits.header_seconds
            # What a proxy passes on has to be looked at for whose it is.
            usual = None if connection.proxied else read_usual_announce(received)
            if usual is not None:
                request, passkey, kept = usual
                connection.head = head = _KEPT if kept and not connection.close else _ENDING
                self._announce(connection, head, request, passkey)
                return
        connection.incoming += received
        self._serve(connection)

    def _serve_ready(self) -> None:
        """Requests that came in one piece with an earlier one; in turn, as they nest no calls."""
        while self._ready:
            connection = self._ready.pop()
            # One that was read again this round has begun with its next request already.
            if connection.descriptor >= 0 and not (connection.busy or connection.outgoing):
                connection.deadline = self._loop.now + self._limits.header_seconds
                self._serve(connection)

    def _serve(self, connection: HttpConnection) -> None:
        end = connection.incoming.find(HEAD_END)
        if end < 0 or end + len(HEAD_END) > self._limits.request_bytes:
            if end >= 0 or len(connection.incoming) >= self._limits.request_bytes:
                self._fail(connection, 431)
            else:
                self._watch(connection, READABLE)
            return
        raw = connection.incoming[:end]
        connection.incoming = connection.incoming[end + len(HEAD_END) :]
        try:
            head = parse_head(raw)
        except BadRequest as bad:
            self._fail(connection, bad.status)
            return
        if connection.close:
            head = head._replace(keep_alive=False)
        connection.head = head
        if connection.proxied:
            connection.client = self._proxies.client(connection.address, raw)
        if not (head.path.startswith(_ANNOUNCE) and head.path[9:10] in {b"", b"/"}):
            self._pages.serve(connection, head, raw)
            return
        passkey = head.path[10:]
        try:
            request = parse_announce(head.query)
            if passkey and request.passkey:
                raise Refusal("passkey_twice", "Passkey given twice")
            if connection.client is None:
                raise address_unknown()
        except Refusal as refusal:
            self._turn_down(connection, refusal, UNREAD)
            return
        self._announce(connection, head, request, passkey or request.passkey)

    def _announce(
        self,
        connection: HttpConnection,
        head: RequestHead,
        request: AnnounceRequest,
        passkey: bytes,
    ) -> None:
        address = connection.client or b""
        try:
            if self._forwarder is not None and self._forwarder.takes(
                ForwardedAnnounce(request, passkey, address, PROTOCOL_HTTP), connection
            ):
                connection.busy = True
                return
            reply, listed = self._logic.announce(request, passkey, address, PROTOCOL_HTTP)
        except Refusal as refusal:
            self._turn_down(connection, refusal, request.event)
            return
        if listed is None:
            body = write_reply(reply)
        else:
            body = write_listed_reply(reply, listed, with_id=not request.no_peer_id)
        connection.outgoing = write_response(body, head)
        connection.busy = True
        self._outlet.hold(connection)

    def _turn_down(self, connection: HttpConnection, refusal: Refusal, kind: int) -> None:
        self._counters.refuse(refusal.code, PROTOCOL_HTTP, kind)
        connection.turn_down(refusal)

    def _fail(self, connection: HttpConnection, status: int) -> None:
        """Answer with another status than 200 and end the connection."""
        self._counters.bad_requests += 1
        connection.head = None
        connection.incoming = b""
        connection.outgoing = write_status(status)
        self.send(connection)

    def _write(self, connection: HttpConnection) -> None:
        outgoing = connection.outgoing
        try:
            sent = os.write(connection.descriptor, outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        if sent < len(outgoing):
            connection.outgoing = outgoing[sent:]
            if connection.watched != WRITABLE:
                # One time limit for the whole answer: reading a byte now and then is no excuse.
                connection.deadline = self._loop.now + self._limits.header_seconds
            self._watch(connection, WRITABLE)
            return
        connection.outgoing = b""
        if connection.close:
            if connection.head is None:
                self._end(connection)
            self._drop(connection)
            return
        if connection.corked:
            connection.corked = False
            _uncork(connection.descriptor)
        connection.deadline = self._loop.now + self._limits.idle_seconds
        if connection.incoming:
            self._ready.append(connection)
        else:
            self._watch(connection, READABLE)

    def _end(self, connection: HttpConnection) -> None:
        """Tell a client with unread bytes that this is the end, or the answer is lost.

        Closing with bytes unread resets the connection (RFC 1122 §4.2.2.13), which can throw
        away an answer that is still on its way.
        """
        try:
            with socket.socket(fileno=os.dup(connection.descriptor)) as end:
                end.shutdown(socket.SHUT_WR)
                end.recv(1 << 16)
        except OSError:
            # Gone already, nothing there to be read, or no descriptor left to ask with.
            pass

    def _watch(self, connection: HttpConnection, events: int) -> None:
        if connection.watched == events:
            return
        if not connection.watched:
            self._loop.watch(connection.descriptor, events, self._handle)
        elif events:
            self._loop.change(connection.descriptor, events)
        else:
            self._loop.forget(connection.descriptor)
        connection.watched = events

    def _drop(self, connection: HttpConnection) -> None:
        if connection.descriptor < 0:
            return
        if connection.watched:
            self._watch(connection, 0)
        del self._connections[connection.descriptor]
        os.close(connection.descriptor)
        connection.descriptor = -1
        counted = connection.counted
        left = self._by_address[counted] - 1
        if left:
            self._by_address[counted] = left
        else:
            del self._by_address[counted]

    def _sweep(self, now: float) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + 1.0
        for connection in list(self._connections.values()):
            if now > connection.deadline and not connection.busy:
                self._drop(connection)


def counted_address(address: bytes) -> bytes:
    """What an address (4 or 16 bytes) counts as: of IPv6 its network, as a client has all of it."""
    return address if len(address) <= _V4 else address[:_V6_NETWORK]


def _uncork(descriptor: int) -> None:
    """Let answers leave at once from now on, and what is still held back."""
    kept = socket.socket(fileno=descriptor)
    try:
        kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    except OSError:
        # Reset meanwhile: found again when it is read.
        pass
    finally:
        kept.detach()
