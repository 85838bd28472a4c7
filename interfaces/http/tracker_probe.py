"""Asks the tracker's two ports whether somebody is at home."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final

KEPT_SECONDS: Final = 10.0
"""An answer serves everybody who asks within this time, as with the reference."""
PROBE_SECONDS: Final = 0.75
"""Each port gets so long: a tracker on the same host or network answers in milliseconds."""
_MAGIC: Final = 0x41727101980
_CONNECT: Final = struct.Struct(">QII")
_CONNECTED: Final = struct.Struct(">IIQ")


@dataclass(frozen=True, kw_only=True)
class TrackerPorts:
    """Where the tracker listens, as seen from the api; `udp` is None where it is not offered."""

    host: str = "127.0.0.1"
    http: int = 8080
    udp: int | None = 6969


@dataclass(frozen=True, kw_only=True)
class Availability:
    """Which ports answered, and when they were asked; `udp` is None where it is not offered."""

    at: datetime
    http: bool
    udp: bool | None


class TrackerProbe:
    """The last answer of the tracker's ports, asked anew when it is older than ten seconds."""

    def __init__(self, ports: TrackerPorts, *, seconds: float = PROBE_SECONDS) -> None:
        self._ports = ports
        self._seconds = seconds
        self._lock = Lock()
        self._last: Availability | None = None
        self._asked_at = float("-inf")

    def availability(self, at: datetime) -> Availability:
        """What is known; `at` is noted as the time of a new question."""
        last = self._last
        if last is not None and time.monotonic() - self._asked_at < KEPT_SECONDS:
            return last
        # One caller asks; the others take what was known, so that a silent tracker holds one thread.
        if not self._lock.acquire(blocking=last is None):
            return last or self.availability(at)
        try:
            if self._last is last:
                self._last = self._ask(at)
                self._asked_at = time.monotonic()
            return self._last or self._ask(at)
        finally:
            self._lock.release()

    def _ask(self, at: datetime) -> Availability:
        ports = self._ports
        return Availability(
            at=at,
            http=_answers_http(ports.host, ports.http, self._seconds),
            udp=None if ports.udp is None else _answers_udp(ports.host, ports.udp, self._seconds),
        )


def _answers_http(host: str, port: int, seconds: float) -> bool:
    """Whether the announce port says that it is well; its 503 means that announces are refused."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as asker:
            asker.sendall(b"GET /health HTTP/1.0\r\nHost: tracker\r\n\r\n")
            return asker.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def _answers_udp(host: str, port: int, seconds: float) -> bool:
    """Whether a connect request (BEP 15) is answered; a lost datagram is sent a second time."""
    transaction = secrets.randbits(32)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as asker:
            asker.settimeout(seconds / 2)
            asker.connect(address)
            for _ in range(2):
                asker.send(_CONNECT.pack(_MAGIC, 0, transaction))
                try:
                    answer = asker.recv(64)
                except TimeoutError:
                    continue
                return len(answer) == _CONNECTED.size and _CONNECTED.unpack(answer)[:2] == (
                    0,
                    transaction,
                )
    except OSError:
        pass
    return False
