"""UDP announces (BEP 15) on plain non-blocking sockets, drained in batches."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Final

from tracker.addresses import AddressReader
from tracker.connection_ids import ConnectionIds
from tracker.counters import CONNECT, SCRAPE, UNREAD, Counters
from tracker.event_loop import READABLE, EventLoop
from tracker.event_stream import EventStream
from tracker.forwarded_frames import ForwardedAnnounce
from tracker.forwarding import Forwarder
from tracker.logic import Logic
from tracker.protocol.bencode import V4_SIZE
from tracker.protocol.refusals import Refusal, unavailable
from tracker.protocol.scrape import (
    Figures,
    ScrapeRequest,
    parse_scrape_packet,
    write_scraped,
)
from tracker.protocol.udp_packets import (
    ACTION_ANNOUNCE,
    ACTION_CONNECT,
    PacketHead,
    parse_announce_packet,
    read_head,
    write_announced,
    write_connected,
    write_error,
)
from tracker.scrapes import Scrapes
from tracker.wire import PROTOCOL_UDP

_DATAGRAMS_A_ROUND: Final = 128
_DATAGRAM_BYTES: Final = 2048
_V4: Final = V4_SIZE - 2
_EXPIRED: Final = "Connection ID expired"
_NO_SCRAPE: Final = "Scrape needs a passkey: use HTTP."


class _UdpAnswer:
    """An answer that waits for the stream."""

    __slots__ = ("listener", "packet", "server", "transaction_id", "where")

    def __init__(
        self,
        server: UdpServer,
        listener: socket.socket,
        where: Any,
        transaction_id: bytes,
        packet: bytes,
    ) -> None:
        self.server = server
        self.listener = listener
        self.where = where
        self.transaction_id = transaction_id
        self.packet = packet

    def deliver(self) -> None:
        """The record is durable: let the prepared answer go."""
        self.server.send(self.listener, self.packet, self.where)

    def refuse(self) -> None:
        """The record may be lost: say so instead of the prepared answer."""
        self.turn_down(unavailable())

    def relay(self, body: bytes) -> None:
        """Another shard has answered."""
        self.server.send(self.listener, body, self.where)

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal instead of the answer."""
        error = write_error(self.transaction_id, refusal.text)
        self.server.send(self.listener, error, self.where)


class UdpServer:
    """Serves connect, announce and scrape on the shard's loop.

    BEP 15 leaves a scrape no place for a key; one without the options of BEP 41 is refused.

    Until a connection id proved the sender's address, no answer is longer than its request;
    what is no request gets none.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        logic: Logic,
        stream: EventStream,
        ids: ConnectionIds,
        counters: Counters,
        scrapes: Scrapes,
        forwarder: Forwarder | None = None,
    ) -> None:
        """`forwarder` is there where other shards own some of the torrents."""
        self._loop = loop
        self._logic = logic
        self._stream = stream
        self._ids = ids
        self._counters = counters
        self._scrapes = scrapes
        self._forwarder = forwarder
        self._listening: dict[int, socket.socket] = {}
        self._addresses = AddressReader()

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Take datagrams from sockets that are bound already; they stay their owner's."""
        for listener in sockets:
            listener.settimeout(0.0)
            self._listening[listener.fileno()] = listener
            self._loop.watch(listener.fileno(), READABLE, self._drain)

    def stop_listening(self) -> None:
        """Take nothing more; answers that wait can still leave."""
        for descriptor in self._listening:
            self._loop.forget(descriptor)
        self._listening.clear()

    def send(self, listener: socket.socket, packet: bytes, where: Any) -> None:
        """Send now or never: UDP may lose packets anyway, and clients ask again."""
        try:
            listener.sendto(packet, where)
        except OSError:
            # A full buffer, a source port 0, no route back.
            self._counters.datagrams_unsent += 1

    def _drain(self, descriptor: int, _bits: int) -> None:
        listener = self._listening.get(descriptor)
        if listener is None:
            return
        for _ in range(_DATAGRAMS_A_ROUND):
            try:
                packet, where = listener.recvfrom(_DATAGRAM_BYTES)
            except OSError:
                # Nothing more for now.
                return
            self._serve(listener, packet, where)

    def _serve(self, listener: socket.socket, packet: bytes, where: Any) -> None:
        self._counters.datagrams += 1
        head = read_head(packet)
        if head is None:
            self._counters.datagrams_ignored += 1
            return
        address = self._addresses.read(where)
        if head.action == ACTION_CONNECT:
            self._counters.answer(PROTOCOL_UDP, CONNECT)
            answer = write_connected(head.transaction_id, self._ids.issue(address))
        elif not self._ids.proves(head.connection_id, address):
            self._counters.refuse("connection_id", PROTOCOL_UDP)
            answer = write_error(head.transaction_id, _EXPIRED)
        elif head.action == ACTION_ANNOUNCE:
            self._announce(listener, packet, where, head, address)
            return
        else:
            self._scrape(listener, packet, where, head, address)
            return
        self.send(listener, answer, where)

    def _announce(
        self, listener: socket.socket, packet: bytes, where: Any, head: PacketHead, address: bytes
    ) -> None:
        kind = UNREAD
        try:
            request = parse_announce_packet(packet)
            kind = request.event
            if self._forwarder is not None:
                forwarded = ForwardedAnnounce(
                    request, request.passkey, address, PROTOCOL_UDP, head.transaction_id
                )
                there = _UdpAnswer(self, listener, where, head.transaction_id, b"")
                if self._forwarder.takes(forwarded, there):
                    return
            answer = self._logic.announce(request, request.passkey, address, PROTOCOL_UDP)
        except Refusal as refusal:
            self._counters.refuse(refusal.code, PROTOCOL_UDP, kind)
            self.send(listener, write_error(head.transaction_id, refusal.text), where)
            return
        reply = write_announced(head.transaction_id, answer.reply, by_v4=len(address) == _V4)
        self._stream.hold(_UdpAnswer(self, listener, where, head.transaction_id, reply))

    def _scrape(
        self, listener: socket.socket, packet: bytes, where: Any, head: PacketHead, address: bytes
    ) -> None:
        answer = _UdpScrape(self, listener, where, head.transaction_id)
        try:
            answer.request = request = parse_scrape_packet(packet)
            if not request.passkey:
                raise Refusal("scrape", _NO_SCRAPE)
            self._scrapes.ask(request, address, PROTOCOL_UDP, answer)
        except Refusal as refusal:
            answer.turn_down(refusal)

    def count_scrape(self, refusal: Refusal | None) -> None:
        """Count a scrape by its outcome."""
        if refusal is None:
            self._counters.answer(PROTOCOL_UDP, SCRAPE)
        else:
            self._counters.refuse(refusal.code, PROTOCOL_UDP, SCRAPE)


class _UdpScrape:
    """A scrape that may wait for other shards."""

    __slots__ = ("listener", "request", "server", "transaction_id", "where")

    def __init__(
        self, server: UdpServer, listener: socket.socket, where: Any, transaction_id: bytes
    ) -> None:
        self.server = server
        self.listener = listener
        self.where = where
        self.transaction_id = transaction_id
        self.request = ScrapeRequest((), b"")

    def scraped(self, figures: Figures) -> None:
        """Send the figures."""
        self.server.count_scrape(None)
        packet = write_scraped(self.transaction_id, self.request.hashes, figures)
        self.server.send(self.listener, packet, self.where)

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal."""
        self.server.count_scrape(refusal)
        self.server.send(self.listener, write_error(self.transaction_id, refusal.text), self.where)
