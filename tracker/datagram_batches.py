"""Datagrams by recvmmsg and sendmmsg of Linux: one system call for many of them."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from tracker.datagrams import (
    BATCH,
    DATAGRAM_BYTES,
    Answer,
    Datagram,
    DatagramSocket,
    PlainDatagrams,
)

_BUFFER: Final = BATCH * DATAGRAM_BYTES
_MESSAGE_SIZE: Final = 64
_IP_PKTINFO: Final = 8
_MAPPED: Final = bytes(10) + b"\xff\xff"

_Call: TypeAlias = Callable[..., int]


class _Vector(ctypes.Structure):
    """struct iovec: one stretch of memory."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr: a message's parts, and how many bytes of it were moved."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("_padding", ctypes.c_uint32),
        ("moved", ctypes.c_uint32),
        ("_end", ctypes.c_uint32),
    )


class _Family(NamedTuple):
    """Where addresses stand in what the system tells of a datagram of one family.

    A control message (IP_PKTINFO of ip(7), IPV6_PKTINFO of RFC 3542 §6) tells which of our
    addresses was asked (`local`); one that asks for it as the source is that address between
    `before` and `after`. The interface is left to the routes: an answer need not leave where
    its request came in.
    """

    name_size: int
    sender: slice
    control_size: int
    local: slice
    before: bytes
    after: bytes


_V4: Final = _Family(
    16,
    slice(4, 8),
    32,
    slice(20, 24),
    struct.pack("=QiiI", 28, socket.IPPROTO_IP, _IP_PKTINFO, 0),
    bytes(8),
)
_V6: Final = _Family(
    28,
    slice(8, 24),
    40,
    slice(16, 32),
    struct.pack("=Qii", 36, socket.IPPROTO_IPV6, socket.IPV6_PKTINFO),
    bytes(8),
)


def _memory(size: int) -> memoryview:
    return memoryview(ctypes.create_string_buffer(size)).cast("B")


def _address(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class _Messages:
    """Memory for BATCH messages as the system calls want it, used over and over."""

    def __init__(self, family: _Family, *, control: bool) -> None:
        self.names = _memory(BATCH * family.name_size)
        self.controls = _memory(BATCH * family.control_size)
        self.content = _memory(_BUFFER)
        vectors = (_Vector * BATCH)()
        headers = (_Message * BATCH)()
        self.base = _address(self.content)
        for at, (vector, header) in enumerate(zip(vectors, headers, strict=True)):
            vector.base = self.base + at * DATAGRAM_BYTES
            vector.size = DATAGRAM_BYTES
            header.name = _address(self.names) + at * family.name_size
            header.name_size = family.name_size
            header.parts = ctypes.addressof(vectors) + at * ctypes.sizeof(_Vector)
            header.part_count = 1
            if control:
                header.control = _address(self.controls) + at * family.control_size
                header.control_size = family.control_size
        self.address = ctypes.addressof(headers)
        words = memoryview(vectors).cast("B").cast("Q")
        self.bases, self.sizes = words[0::2], words[1::2]
        self.headers = memoryview(headers).cast("B")
        self.moved = self.headers.cast("I")[_Message.moved.offset // 4 :: _MESSAGE_SIZE // 4]


class BatchedDatagrams:
    """A UDP socket by the two calls.

    One that is bound to all addresses answers from the address that was asked: on a host
    with several, clients would get their answers from a stranger.
    """

    def __init__(self, bound: socket.socket, receive: _Call, send: _Call) -> None:
        """`bound` becomes non-blocking and stays its owner's to close."""
        bound.settimeout(0.0)
        self._descriptor = bound.fileno()
        self._receive, self._send = receive, send
        self._family = _V6 if bound.family == socket.AF_INET6 else _V4
        self._by_v6 = bound.family == socket.AF_INET6
        self._tells_local = _is_wildcard(bound)
        if self._tells_local:
            if self._by_v6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._in = _Messages(self._family, control=self._tells_local)
        self._out = _Messages(self._family, control=self._tells_local)
        # The system writes sizes and flags into the headers; this brings them back.
        self._fresh = bytes(self._in.headers)
        # Says "any address" where the system says nothing.
        anywhere = bytes(self._family.local.stop - self._family.local.start)
        self._silent = (self._family.before + anywhere + self._family.after) * BATCH

    def receive(self) -> list[Datagram]:
        """What has come so far, BATCH datagrams at most."""
        ours = self._in
        ours.headers[:] = self._fresh
        if self._tells_local:
            ours.controls[:] = self._silent
        count = self._receive(self._descriptor, ours.address, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        sizes = ours.moved[:count].tolist()
        content = ours.content
        packets = [
            content[at : at + size].tobytes()
            for at, size in zip(range(0, _BUFFER, DATAGRAM_BYTES), sizes, strict=False)
        ]
        width = self._family.name_size
        names = ours.names[: count * width].tobytes()
        wheres = [names[at : at + width] for at in range(0, count * width, width)]
        sender = self._family.sender
        addresses = [where[sender] for where in wheres]
        if self._by_v6:
            addresses = [_unmapped(address) for address in addresses]
        if self._tells_local:
            wheres = list(map(bytes.__add__, wheres, self._locals(count)))
        return list(map(Datagram._make, zip(packets, addresses, wheres, strict=True)))

    def send(self, answers: Sequence[Answer]) -> int:
        """Send now or never; how many the system did not take."""
        unsent = 0
        for start in range(0, len(answers), BATCH):
            unsent += self._send_some(answers[start : start + BATCH])
        return unsent

    def _locals(self, count: int) -> list[bytes]:
        """Which of our addresses each datagram asked."""
        width, local = self._family.control_size, self._family.local
        controls = self._in.controls[: count * width].tobytes()
        return [
            controls[at + local.start : at + local.stop] for at in range(0, count * width, width)
        ]

    def _send_some(self, answers: Sequence[Answer]) -> int:
        ours, count = self._out, len(answers)
        content = b"".join([packet for packet, _ in answers])
        sizes = array("Q", [len(packet) for packet, _ in answers])
        if len(content) > _BUFFER:
            if count == 1:
                return 1
            # Where a site lets clients have hundreds of peers, answers are longer than requests.
            half = count // 2
            return self._send_some(answers[:half]) + self._send_some(answers[half:])
        ours.content[: len(content)] = content
        ours.sizes[:count] = memoryview(sizes)
        ours.bases[:count] = memoryview(array("Q", accumulate(sizes, initial=ours.base)))[:count]
        width = self._family.name_size
        ours.names[: count * width] = b"".join([where[:width] for _, where in answers])
        if self._tells_local:
            before, after = self._family.before, self._family.after
            ours.controls[: count * self._family.control_size] = b"".join(
                [before + where[width:] + after for _, where in answers]
            )
        return self._push(count)

    def _push(self, count: int) -> int:
        """Send the prepared messages; the one a call stops at is given up, and others follow."""
        at = unsent = 0
        while at < count:
            sent = self._send(
                self._descriptor,
                self._out.address + at * _MESSAGE_SIZE,
                count - at,
                socket.MSG_DONTWAIT,
            )
            if sent > 0:
                at += sent
            elif ctypes.get_errno() in {errno.EAGAIN, errno.ENOBUFS}:
                return unsent + count - at
            else:
                # A source port 0, no route back.
                at += 1
                unsent += 1
        return unsent


def open_datagrams(bound: socket.socket) -> DatagramSocket:
    """The fastest way this system has; `bound` becomes non-blocking and stays its owner's."""
    calls = find_calls()
    if calls is None:
        return PlainDatagrams(bound)
    return BatchedDatagrams(bound, *calls)


def find_calls() -> tuple[_Call, _Call] | None:
    """recvmmsg and sendmmsg of a 64-bit Linux, None elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    receive, send = getattr(libc, "recvmmsg", None), getattr(libc, "sendmmsg", None)
    if receive is None or send is None or ctypes.sizeof(_Message) != _MESSAGE_SIZE:
        return None
    count = ctypes.c_uint
    receive.argtypes = (ctypes.c_int, ctypes.c_void_p, count, ctypes.c_int, ctypes.c_void_p)
    send.argtypes = (ctypes.c_int, ctypes.c_void_p, count, ctypes.c_int)
    return receive, send


def _is_wildcard(bound: socket.socket) -> bool:
    return not any(socket.inet_pton(bound.family, bound.getsockname()[0].partition("%")[0]))


def _unmapped(address: bytes) -> bytes:
    """An IPv4 address on an IPv6 socket is IPv4 (RFC 4291 §2.5.5.2)."""
    return address[12:] if address.startswith(_MAPPED) else address
