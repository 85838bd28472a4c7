"""UDP announces (BEP 15) on plain non-blocking sockets, drained and answered in batches."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from tracker.connection_ids import ConnectionIds
from tracker.counters import CONNECT, SCRAPE, UNREAD, Counters
from tracker.datagram_batches import open_datagrams
from tracker.datagrams import Answer, DatagramSocket
from tracker.event_loop import READABLE, EventLoop
from tracker.event_stream import EventStream
from tracker.forwarded_frames import ForwardedAnnounce
from tracker.forwarding import Forwarder
from tracker.logic import Logic
from tracker.outlets import Outlet
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
    parse_announce_packet,
    read_head,
    transaction_of,
    write_announced,
    write_connected,
    write_error,
)
from tracker.scrapes import Scrapes
from tracker.wire import PROTOCOL_UDP

_V4: Final = V4_SIZE - 2
_EXPIRED: Final = "Connection ID expired"
_NO_SCRAPE: Final = "Scrape needs a passkey: use HTTP."


class _Port:
    """One socket, and the way out of the answers that wait for the stream."""

    def __init__(self, datagrams: DatagramSocket, stream: EventStream, counters: Counters) -> None:
        self.receive = datagrams.receive
        self._datagrams = datagrams
        self._counters = counters
        self.outlet: Outlet[Answer] = stream.outlet(self.send, self._refuse)

    def send(self, answers: list[Answer]) -> None:
        """Send now or never: UDP may lose packets anyway, and clients ask again."""
        self._counters.datagrams_unsent += self._datagrams.send(answers)

    def _refuse(self, answers: list[Answer]) -> None:
        """Say instead of each prepared answer that its record may be lost."""
        text = unavailable().text
        self.send([(write_error(transaction_of(packet), text), to) for packet, to in answers])


class _Question:
    """A request that waits for another shard."""

    __slots__ = ("port", "transaction_id", "where")

    def __init__(self, port: _Port, where: bytes, transaction_id: bytes) -> None:
        self.port = port
        self.where = where
        self.transaction_id = transaction_id

    def relay(self, body: bytes) -> None:
        """Another shard has answered."""
        self.port.send([(body, self.where)])

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal."""
        self.relay(write_error(self.transaction_id, refusal.text))


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
        self._ports: dict[int, _Port] = {}

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Take datagrams from sockets that are bound already; they stay their owner's."""
        for bound in sockets:
            port = _Port(open_datagrams(bound), self._stream, self._counters)
            self._ports[bound.fileno()] = port
            self._loop.watch(bound.fileno(), READABLE, self._drain)

    def stop_listening(self) -> None:
        """Take nothing more; answers that wait can still leave."""
        for descriptor in self._ports:
            self._loop.forget(descriptor)
        self._ports.clear()

    def _drain(self, descriptor: int, _bits: int) -> None:
        port = self._ports.get(descriptor)
        if port is None:
            return
        received = port.receive()
        self._counters.datagrams += len(received)
        at_once: list[Answer] = []
        for packet, address, where in received:
            answer = self._serve(port, packet, address, where)
            if answer:
                at_once.append((answer, where))
        if at_once:
            port.send(at_once)

    def _serve(self, port: _Port, packet: bytes, address: bytes, where: bytes) -> bytes:
        """Take a datagram in; the answer if it need not wait for anything, else empty."""
        head = read_head(packet)
        if head is None:
            self._counters.datagrams_ignored += 1
            return b""
        connection_id, action, transaction_id = head
        if action == ACTION_CONNECT:
            self._counters.answer(PROTOCOL_UDP, CONNECT)
            return write_connected(transaction_id, self._ids.issue(address))
        if not self._ids.proves(connection_id, address):
            self._counters.refuse("connection_id", PROTOCOL_UDP)
            return write_error(transaction_id, _EXPIRED)
        if action != ACTION_ANNOUNCE:
            self._scrape(port, packet, address, where, transaction_id)
            return b""
        kind = UNREAD
        try:
            request = parse_announce_packet(packet)
            kind = request.event
            if self._forwarder is not None:
                forwarded = ForwardedAnnounce(
                    request, request.passkey, address, PROTOCOL_UDP, transaction_id
                )
                if self._forwarder.takes(forwarded, _Question(port, where, transaction_id)):
                    return b""
            answer = self._logic.announce(request, request.passkey, address, PROTOCOL_UDP)
        except Refusal as refusal:
            self._counters.refuse(refusal.code, PROTOCOL_UDP, kind)
            return write_error(transaction_id, refusal.text)
        reply = write_announced(transaction_id, answer.reply, by_v4=len(address) == _V4)
        port.outlet.hold((reply, where))
        return b""

    def _scrape(
        self, port: _Port, packet: bytes, address: bytes, where: bytes, transaction_id: bytes
    ) -> None:
        answer = _UdpScrape(port, where, transaction_id, self._counters)
        try:
            answer.request = request = parse_scrape_packet(packet)
            if not request.passkey:
                raise Refusal("scrape", _NO_SCRAPE)
            self._scrapes.ask(request, address, PROTOCOL_UDP, answer)
        except Refusal as refusal:
            answer.turn_down(refusal)


class _UdpScrape(_Question):
    """A scrape that may wait for other shards."""

    __slots__ = ("_counters", "request")

    def __init__(
        self, port: _Port, where: bytes, transaction_id: bytes, counters: Counters
    ) -> None:
        super().__init__(port, where, transaction_id)
        self._counters = counters
        self.request = ScrapeRequest((), b"")

    def scraped(self, figures: Figures) -> None:
        """Send the figures."""
        self._counters.answer(PROTOCOL_UDP, SCRAPE)
        self.relay(write_scraped(self.transaction_id, self.request.hashes, figures))

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal."""
        self._counters.refuse(refusal.code, PROTOCOL_UDP, SCRAPE)
        super().turn_down(refusal)
