"""Clients that repeat an announce until it is answered, each time on a new connection."""

from __future__ import annotations

import http.client
import random
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

import bencodepy

from tests.tracker.udp_client import CONNECT, TRANSACTION, announce_packet, url_options

EVENTS = {"": 0, "started": 2, "stopped": 3}
HTTP_SECONDS = 4.0
UDP_SECONDS = 1.0
PAUSE_SECONDS = 0.05
ANNOUNCED = b"\0\0\0\1" + TRANSACTION


@dataclass
class Session:
    """One client of a member in one torrent, and what it was answered."""

    passkey: str
    info_hash: bytes
    number: int
    by_udp: bool
    leeches: bool
    stops: bool
    answered: list[tuple[int, int]] = field(default_factory=list)
    """Totals up and down that were answered, in order."""

    @property
    def peer_id(self) -> bytes:
        return b"-XX0100-%012d" % self.number

    @property
    def credit(self) -> tuple[int, int]:
        """What it must be worth: the last answered totals less the first."""
        (up, down), (last_up, last_down) = self.answered[0], self.answered[-1]
        return last_up - up, last_down - down


@dataclass(frozen=True)
class Announced:
    """An answer over HTTP: the figures, and the compact peers of both families."""

    complete: int
    incomplete: int
    peers: frozenset[bytes]


def announce_over_http(
    port: int, session: Session, totals: tuple[int, int], event: str, *, seconds: float
) -> Announced | None:
    """One try; None for no answer and for one that refuses."""
    query = (
        f"/announce/{session.passkey}?info_hash={quote_from_bytes(session.info_hash)}"
        f"&peer_id={quote_from_bytes(session.peer_id)}&port={_port(session)}&uploaded={totals[0]}"
        f"&downloaded={totals[1]}&left={int(session.leeches)}&key={session.number + 1:08X}"
        f"&numwant=100&compact=1" + (f"&event={event}" if event else "")
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", query, headers={"Connection": "close"})
        reply = bencodepy.Bencode().decode(connection.getresponse().read())
    except (OSError, http.client.HTTPException, bencodepy.BencodeDecodeError):
        return None
    finally:
        connection.close()
    if b"failure reason" in reply:
        return None
    peers = reply[b"peers"]
    found = frozenset(peers[at : at + 6] for at in range(0, len(peers), 6))
    return Announced(reply[b"complete"], reply[b"incomplete"], found)


def announce_over_udp(port: int, session: Session, totals: tuple[int, int], event: str) -> bool:
    """One try on a socket and a connection id of its own; whether it was answered with peers."""
    packet = announce_packet(
        bytes(8),
        session.info_hash,
        session.peer_id,
        uploaded=totals[0],
        downloaded=totals[1],
        left=int(session.leeches),
        event=EVENTS[event],
        key=session.number + 1,
        port=_port(session),
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, suppress(OSError):
        client.settimeout(UDP_SECONDS)
        client.connect(("127.0.0.1", port))
        client.send(CONNECT + TRANSACTION)
        id_ = client.recv(64)[8:16]
        client.send(id_ + packet[8:] + url_options(f"/announce/{session.passkey}".encode()))
        return client.recv(4096).startswith(ANNOUNCED)
    return False


def _port(session: Session) -> int:
    return 10_000 + session.number % 50_000


class StubbornClients:
    """Threads that take session after session; every announce is repeated until answered."""

    def __init__(
        self, ports: tuple[int, int], sessions: Sequence[Session], *, announces: int, threads: int
    ) -> None:
        """`ports` are those of HTTP and UDP; `announces` are made in each session."""
        self._http, self._udp = ports
        self._waiting = list(sessions)
        self._announces = announces
        self._lock = threading.Lock()
        self._end = threading.Event()
        self.answered = 0
        self.repeated = 0
        self.limit = sys.maxsize
        """Answers at which they pause until it is raised."""
        self._threads = [
            threading.Thread(target=self._run, name=f"client {number}", args=(number,))
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def count(self) -> int:
        """How many there are: so many announces can be under way at once."""
        return len(self._threads)

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Let go of what is not answered yet."""
        self._end.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._end.is_set():
            with self._lock:
                if not self._waiting:
                    return
                session = self._waiting.pop()
            self._play(session, chance)

    def _play(self, session: Session, chance: random.Random) -> None:
        up, down = chance.randrange(1 << 40), chance.randrange(1 << 40)
        for number in range(self._announces):
            event = "started" if number == 0 else ""
            if number == self._announces - 1 and session.stops:
                event = "stopped"
            if not self._insist(session, (up, down), event):
                return
            session.answered.append((up, down))
            up += chance.randrange(1, 1 << 20)
            down += chance.randrange(1 << 20) if session.leeches else 0

    def _insist(self, session: Session, totals: tuple[int, int], event: str) -> bool:
        while self.answered >= self.limit and not self._end.is_set():
            self._end.wait(0.01)
        while not self._end.is_set():
            if self._try(session, totals, event):
                with self._lock:
                    self.answered += 1
                return True
            with self._lock:
                self.repeated += 1
            self._end.wait(PAUSE_SECONDS)
        return False

    def _try(self, session: Session, totals: tuple[int, int], event: str) -> bool:
        if session.by_udp:
            return announce_over_udp(self._udp, session, totals, event)
        answer = announce_over_http(self._http, session, totals, event, seconds=HTTP_SECONDS)
        return answer is not None
