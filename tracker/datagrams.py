"""UDP sockets that are read and written without waiting, many datagrams at a time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from tracker.addresses import AddressReader

BATCH: Final = 128
"""Most datagrams taken at a time."""
DATAGRAM_BYTES: Final = 2048
"""What is longer is cut off; no request and no answer is."""

_WHERE: Final = struct.Struct(">HII")


class Datagram(NamedTuple):
    """A datagram, its sender's address (4 or 16 bytes), and where the answer goes (opaque)."""

    packet: bytes
    address: bytes
    where: bytes


Answer: TypeAlias = tuple[bytes, bytes]
"""A packet, and the `where` of the datagram it answers."""


class DatagramSocket(Protocol):
    """A bound UDP socket."""

    def receive(self) -> list[Datagram]:
        """What has come so far, BATCH datagrams at most."""
        ...

    def send(self, answers: Sequence[Answer]) -> int:
        """Send now or never; how many the system did not take."""
        ...


class PlainDatagrams:
    """One system call a datagram, for systems that have no better.

    Answers leave from the address the routes choose, whichever was asked.
    """

    def __init__(self, bound: socket.socket) -> None:
        """`bound` becomes non-blocking and stays its owner's to close."""
        bound.settimeout(0.0)
        self._socket = bound
        self._by_v6 = bound.family == socket.AF_INET6
        self._addresses = AddressReader()

    def receive(self) -> list[Datagram]:
        """What has come so far, BATCH datagrams at most."""
        received: list[Datagram] = []
        try:
            for _ in range(BATCH):
                packet, where = self._socket.recvfrom(DATAGRAM_BYTES)
                received.append(Datagram(packet, self._addresses.read(where), _packed(where)))
        except OSError:
            # Nothing more for now.
            pass
        return received

    def send(self, answers: Sequence[Answer]) -> int:
        """Send now or never; how many the system did not take."""
        unsent = 0
        for packet, where in answers:
            port, flow, scope = _WHERE.unpack_from(where)
            host = where[_WHERE.size :].decode("ascii")
            try:
                self._socket.sendto(
                    packet, (host, port, flow, scope) if self._by_v6 else (host, port)
                )
            except OSError:
                # A full buffer, a source port 0, no route back.
                unsent += 1
        return unsent


def _packed(where: tuple[str, int] | tuple[str, int, int, int]) -> bytes:
    flow, scope = (where[2], where[3]) if len(where) == 4 else (0, 0)
    return _WHERE.pack(where[1], flow, scope) + where[0].encode("ascii")
