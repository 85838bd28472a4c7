"""Answers what other shards forward: the owner's end of `tracker.forwarding`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from tracker.counters import Counters
from tracker.event_loop import READABLE, WRITABLE, EventLoop
from tracker.event_stream import EventStream, Log
from tracker.forwarded_frames import (
    KIND_ANNOUNCE,
    KIND_ANSWERED,
    KIND_METRICS,
    KIND_REFUSED,
    KIND_SCRAPE,
    BrokenFrame,
    ForwardedAnnounce,
    pack_frame,
    pack_refusal,
    split_frames,
    unpack_announce,
    unpack_scrape,
)
from tracker.logic import Logic
from tracker.protocol.bencode import V4_SIZE, write_listed_reply, write_reply
from tracker.protocol.refusals import Refusal, unavailable
from tracker.protocol.scrape import pack_figures
from tracker.protocol.udp_packets import write_announced
from tracker.scrapes import Scrapes
from tracker.wire import PROTOCOL_UDP

_READ_SIZE: Final = 1 << 18
_OUTGOING_LIMIT: Final = 1 << 24
"""A shard that takes none of this many bytes is stuck; its link is dropped."""
_V4: Final = V4_SIZE - 2


class _Link:
    """One other shard's connection."""

    __slots__ = ("incoming", "outgoing", "socket", "watched")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.watched = READABLE


class _HeldAnswer:
    """An answer that waits until its record is durable."""

    __slots__ = ("body", "link", "number", "server")

    def __init__(self, server: ForwardServer, link: _Link, number: int, body: bytes) -> None:
        self.server = server
        self.link = link
        self.number = number
        self.body = body

    def deliver(self) -> None:
        """The record is durable: let the prepared answer go."""
        self.link.outgoing += pack_frame(KIND_ANSWERED, self.number, self.body)

    def refuse(self) -> None:
        """The record may be lost: say so instead of the prepared answer."""
        self.link.outgoing += pack_frame(KIND_REFUSED, self.number, pack_refusal(unavailable()))


class ForwardServer:
    """Takes forwarded announces in as the shard's own; the client's address comes with them."""

    def __init__(
        self,
        loop: EventLoop,
        *,
        logic: Logic,
        stream: EventStream,
        scrapes: Scrapes,
        metrics: Callable[[], bytes],
        owns: Callable[[bytes], bool],
        counters: Counters,
        log: Log,
    ) -> None:
        """`owns` tells of any hash whether its torrent belongs to this shard, as far as we know."""
        self._loop = loop
        self._owns = owns
        self._logic = logic
        self._stream = stream
        self._scrapes = scrapes
        self._metrics = metrics
        self._counters = counters
        self._log = log
        self._listener: socket.socket | None = None
        self._links: dict[int, _Link] = {}
        loop.after_round(self._flush)

    @property
    def flushed(self) -> bool:
        """Whether every answer has left."""
        return not any(link.outgoing for link in self._links.values())

    def listen(self, listener: socket.socket) -> None:
        """Accept other shards from a unix socket, which stays its owner's to close."""
        listener.settimeout(0.0)
        self._listener = listener
        self._loop.watch(listener.fileno(), READABLE, self._accept)

    def stop_listening(self) -> None:
        """Take nothing more: what is unread is asked again of our successor."""
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener = None
        for link in self._links.values():
            self._watch(link, WRITABLE if link.outgoing else 0)

    def close(self) -> None:
        """Drop the links; the shards behind them ask our successor."""
        for link in list(self._links.values()):
            self._drop(link)

    def _accept(self, _descriptor: int, _bits: int) -> None:
        if self._listener is None:
            return
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return
        accepted.settimeout(0.0)
        link = _Link(accepted)
        self._links[accepted.fileno()] = link
        self._loop.watch(accepted.fileno(), READABLE, self._handle)

    def _handle(self, descriptor: int, bits: int) -> None:
        link = self._links.get(descriptor)
        if link is None or not bits & ~WRITABLE:
            # Writing goes on after the round.
            return
        try:
            received = link.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._drop(link)
            return
        link.incoming += received
        try:
            for kind, number, body in split_frames(link.incoming):
                self._serve(link, kind, number, body)
        except BrokenFrame as broken:
            self._log("forwarding.broken", why=str(broken))
            self._drop(link)

    def _serve(self, link: _Link, kind: int, number: int, body: bytes) -> None:
        if kind == KIND_METRICS:
            link.outgoing += pack_frame(KIND_ANSWERED, number, self._metrics())
            return
        if kind not in {KIND_ANNOUNCE, KIND_SCRAPE}:
            raise BrokenFrame("a question of an unknown kind")
        try:
            if kind == KIND_SCRAPE:
                hashes, passkey, address, _ = unpack_scrape(body)
                figures = self._scrapes.figures(hashes, passkey, address)
                link.outgoing += pack_frame(KIND_ANSWERED, number, pack_figures(figures))
                return
            answer = self._announce(unpack_announce(body))
        except Refusal as refusal:
            self._counters.refuse(refusal.code)
            link.outgoing += pack_frame(KIND_REFUSED, number, pack_refusal(refusal))
            return
        self._stream.hold(_HeldAnswer(self, link, number, answer))

    def _announce(self, forwarded: ForwardedAnnounce) -> bytes:
        request, passkey, address, protocol, transaction_id = forwarded
        if not self._owns(request.info_hash):
            # One of the two shards is behind in what it knows of the torrent.
            raise unavailable()
        answer = self._logic.announce(request, passkey, address, protocol)
        if protocol == PROTOCOL_UDP:
            return write_announced(transaction_id, answer.reply, by_v4=len(address) == _V4)
        if answer.listed is None:
            return write_reply(answer.reply)
        return write_listed_reply(answer.reply, answer.listed, with_id=not request.no_peer_id)

    def _flush(self) -> None:
        for link in list(self._links.values()):
            if link.outgoing:
                self._write(link)

    def _write(self, link: _Link) -> None:
        try:
            sent = link.socket.send(link.outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(link)
            return
        del link.outgoing[:sent]
        if len(link.outgoing) > _OUTGOING_LIMIT:
            self._drop(link)
            return
        reading = READABLE if self._listener is not None else 0
        self._watch(link, reading | WRITABLE if link.outgoing else reading)

    def _watch(self, link: _Link, events: int) -> None:
        if events != link.watched:
            # Without events epoll still reports a hang-up, which is all we want to know then.
            self._loop.change(link.socket.fileno(), events)
            link.watched = events

    def _drop(self, link: _Link) -> None:
        self._links.pop(link.socket.fileno(), None)
        self._loop.forget(link.socket.fileno())
        link.socket.close()
