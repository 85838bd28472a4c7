"""Hands requests for another shard's torrents to that shard, and its answers back."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tracker.counters import Counters
from tracker.event_loop import READABLE, WRITABLE, EventLoop
from tracker.event_stream import Log
from tracker.forwarded_frames import (
    KIND_ANNOUNCE,
    KIND_ANSWERED,
    KIND_REFUSED,
    KIND_SCRAPE,
    BrokenFrame,
    ForwardedAnnounce,
    ForwardedScrape,
    pack_announce,
    pack_frame,
    pack_scrape,
    split_frames,
    unpack_refusal,
)
from tracker.protocol.refusals import Refusal, unavailable
from tracker.shard_map import owner_of

_READ_SIZE: Final = 1 << 18
_RETRY_SECONDS: Final = 0.25
_OUTGOING_LIMIT: Final = 1 << 21
"""A shard that leaves this many bytes unread hangs, or starts; it would find old questions only."""
_NUMBERS: Final = 1 << 32


class RelayedAnswer(Protocol):
    """A client that waits for the answer of another shard."""

    def relay(self, body: bytes) -> None:
        """Send what the owner answered: a bencoded body over HTTP, a whole packet over UDP."""
        ...

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal."""
        ...


@dataclass(frozen=True)
class ShardPlace:
    """Which shard of how many this is, and the folder in which they meet."""

    shard: int = 0
    shards: int = 1
    folder: Path = Path()


class _Asked:
    """A question that was sent, or will be; kept whole to be asked again."""

    __slots__ = ("answer", "deadline", "frame")

    def __init__(self, frame: bytes, deadline: float, answer: RelayedAnswer) -> None:
        self.frame = frame
        self.deadline = deadline
        self.answer = answer


class Forwarder:
    """The way from this shard to all others of its host."""

    def __init__(
        self,
        loop: EventLoop,
        place: ShardPlace,
        *,
        canonical: Callable[[bytes], bytes | None],
        pending: int,
        seconds: float,
        counters: Counters,
        log: Log,
    ) -> None:
        """`canonical` gives the canonical hash of a torrent by any of its hashes.

        At most `pending` questions wait for one shard, each for `seconds` at most.
        """
        self._place = place
        self._canonical = canonical
        self._counters = counters
        folder = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY)
        self._folder = folder
        self._links = {
            shard: _ShardLink(loop, folder, shard, pending=pending, seconds=seconds, log=log)
            for shard in range(place.shards)
            if shard != place.shard
        }

    @property
    def idle(self) -> bool:
        """Whether nobody waits for another shard."""
        return not any(link.waiting for link in self._links.values())

    @property
    def waiting(self) -> int:
        """Questions to other shards that are not answered yet."""
        return sum(link.waiting for link in self._links.values())

    def owner(self, info_hash: bytes) -> int:
        """The shard of a torrent; our own for an unknown hash, whose refusal needs no owner."""
        canonical = self._canonical(info_hash)
        if canonical is None:
            return self._place.shard
        return owner_of(canonical, self._place.shards)

    def takes(self, forwarded: ForwardedAnnounce, answer: RelayedAnswer) -> bool:
        """Whether another shard was asked, so that `answer` is its to give; raises Refusal."""
        owner = self.owner(forwarded.request.info_hash)
        if owner == self._place.shard:
            return False
        self._links[owner].ask(KIND_ANNOUNCE, pack_announce(forwarded), answer)
        self._counters.forwarded += 1
        return True

    def scrape(self, owner: int, forwarded: ForwardedScrape, answer: RelayedAnswer) -> None:
        """Ask another shard about torrents of its own; `relay` gets its packed figures.

        Raises Refusal.
        """
        self._links[owner].ask(KIND_SCRAPE, pack_scrape(forwarded), answer)
        self._counters.forwarded += 1

    def ask_all(self, kind: int, answer: RelayedAnswer) -> int:
        """Ask every other shard a question without a body; how many will answer."""
        asked = 0
        for link in self._links.values():
            try:
                link.ask(kind, b"", answer)
            except Refusal:
                continue
            asked += 1
        return asked

    def close(self) -> None:
        """Refuse who still waits, and give the descriptors back."""
        for link in self._links.values():
            link.close()
        os.close(self._folder)


class _ShardLink:
    """One connection to another shard. Falls it, all that waits is asked again.

    That is safe: an announce that was recorded and comes again carries the same totals, so it
    credits nothing. The listening socket belongs to the supervisor, so questions to a shard
    that starts wait in it; where nobody listens, they are refused at once.
    """

    def __init__(
        self, loop: EventLoop, folder: int, shard: int, *, pending: int, seconds: float, log: Log
    ) -> None:
        self._loop = loop
        # Unix addresses are short (unix(7)), data folders may be deep.
        self._where = f"/proc/self/fd/{folder}/shard-{shard}.sock"
        self._shard = shard
        self._pending = pending
        self._seconds = seconds
        self._log = log
        self._socket: socket.socket | None = None
        self._asked: dict[int, _Asked] = {}
        self._number = 0
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._connected_at = 0.0
        self._retry_at = 0.0
        self._away = False
        """Whether nobody listened when it was last tried."""
        loop.after_round(self._flush)
        loop.on_tick(self._tick)

    @property
    def waiting(self) -> int:
        return len(self._asked)

    def ask(self, kind: int, body: bytes, answer: RelayedAnswer) -> None:
        """Send after this round. Raises Refusal while the shard is away or has too much to do."""
        if (
            self._away
            or len(self._asked) >= self._pending
            or len(self._outgoing) >= _OUTGOING_LIMIT
        ):
            raise unavailable()
        self._number = number = (self._number + 1) % _NUMBERS
        frame = pack_frame(kind, number, body)
        self._asked[number] = _Asked(frame, self._loop.now + self._seconds, answer)
        self._outgoing += frame

    def close(self) -> None:
        self._release()
        self._refuse_all()

    def _tick(self, now: float) -> None:
        if self._socket is None and self._retry_at and now >= self._retry_at:
            self._connect()
        while self._asked:
            number, oldest = next(iter(self._asked.items()))
            if oldest.deadline > now:
                return
            del self._asked[number]
            oldest.answer.turn_down(unavailable())

    def _flush(self) -> None:
        if not self._outgoing:
            return
        if self._socket is None and not self._retry_at:
            self._connect()
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._again()
            return
        del self._outgoing[:sent]
        events = READABLE | WRITABLE if self._outgoing else READABLE
        self._loop.change(self._socket.fileno(), events)

    def _connect(self) -> None:
        """Connect and ask again whatever waits; a unix socket connects at once or not at all."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(0.0)
        try:
            link.connect(self._where)
        except OSError:
            link.close()
            self._away = True
            self._retry_at = self._loop.now + _RETRY_SECONDS
            self._outgoing.clear()
            self._refuse_all()
            return
        self._away, self._retry_at = False, 0.0
        self._connected_at = self._loop.now
        self._socket = link
        self._incoming.clear()
        self._outgoing[:] = b"".join([asked.frame for asked in self._asked.values()])
        self._loop.watch(link.fileno(), READABLE, self._handle)

    def _handle(self, _descriptor: int, bits: int) -> None:
        if bits & ~WRITABLE:
            self._read()
        # Writing goes on after the round.

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            received = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._again()
            return
        self._incoming += received
        try:
            for kind, number, body in split_frames(self._incoming):
                self._answered(kind, number, body)
        except BrokenFrame as broken:
            self._log("forwarding.broken", shard=self._shard, why=str(broken))
            self._again()

    def _answered(self, kind: int, number: int, body: bytes) -> None:
        asked = self._asked.pop(number, None)
        if asked is None:
            # It came after its time, and the client was told so.
            return
        if kind == KIND_ANSWERED:
            asked.answer.relay(body)
        elif kind == KIND_REFUSED:
            asked.answer.turn_down(unpack_refusal(body))
        else:
            raise BrokenFrame("an answer of an unknown kind")

    def _again(self) -> None:
        """The shard went away: connect anew, to it or to its successor.

        At once, unless that is what was done a moment ago.
        """
        self._log("forwarding.lost", shard=self._shard, waiting=len(self._asked))
        self._release()
        if self._loop.now - self._connected_at > _RETRY_SECONDS:
            self._connect()
        else:
            self._retry_at = self._loop.now + _RETRY_SECONDS

    def _release(self) -> None:
        self._outgoing.clear()
        self._incoming.clear()
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _refuse_all(self) -> None:
        asked, self._asked = self._asked, {}
        for one in asked.values():
            one.answer.turn_down(unavailable())
