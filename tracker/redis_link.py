"""A non-blocking connection to Redis that keeps coming back, and a plain one for the start."""

from __future__ import annotations

import errno
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from tracker.event_loop import READABLE, WRITABLE, EventLoop
from tracker.redis_tls import WANTS_MORE
from tracker.resp import BrokenReply, RedisAddress, RedisError, Reply, pack_command, parse_reply

OnReply = Callable[[Reply], None]

_CONNECT_SECONDS: Final = 2.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_READ_SIZE: Final = 1 << 18


class RedisLink:
    """One connection on the shard's loop. Requests are answered in order, or lost when it falls.

    `on_up` is called when it is ready, `on_down` with a reason when it fell; what was asked
    and not answered then has an unknown outcome, and the owner decides what to ask again.
    """

    def __init__(
        self,
        loop: EventLoop,
        address: RedisAddress,
        *,
        silence: float,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
    ) -> None:
        """`silence`: seconds without a reply to the oldest request until the link is dropped."""
        self._loop = loop
        self._address = address
        self._silence = silence
        self._on_up = on_up
        self._on_down = on_down
        self._socket: socket.socket | None = None
        self._connected = False
        self._shaking = False
        self.up = False
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._waiting: deque[OnReply] = deque()
        self._heard = 0.0
        self._pause = _FIRST_PAUSE
        self._retry_at = 0.0
        loop.on_tick(self._tick)

    def request(self, command: bytes, on_reply: OnReply) -> None:
        """Send a packed command; a call while the link is down is a fault of the caller."""
        if not self.up:
            raise RuntimeError("the link is down")
        self._send(command, on_reply)

    def close(self) -> None:
        """Drop the connection for good, without a call to `on_down`."""
        self._retry_at = float("inf")
        self._release()

    def drop(self, reason: str) -> None:
        """Give this connection up and come back with a new one."""
        if self._socket is None:
            return
        was_up = self.up
        self._release()
        self._retry_at = self._loop.now + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        if was_up or self._pause == _LONGEST_PAUSE:
            self._on_down(reason)

    def _release(self) -> None:
        self.up = False
        self._connected = self._shaking = False
        self._waiting.clear()
        self._incoming.clear()
        self._outgoing.clear()
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _tick(self, now: float) -> None:
        if self._socket is None:
            if now >= self._retry_at:
                self._connect(now)
            return
        limit = self._silence if self.up else _CONNECT_SECONDS
        if (self._waiting or self._shaking or not self._connected) and now - self._heard > limit:
            self.drop("no answer in time")

    def _connect(self, now: float) -> None:
        self._heard = now
        try:
            self._socket, where = self._address.open_socket()
            self._socket.settimeout(0.0)
            outcome = self._socket.connect_ex(where)
        except OSError as fault:
            outcome = fault.errno or errno.EIO
        if outcome not in {0, errno.EINPROGRESS}:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            self._retry_at = now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            return
        if self._socket is not None:
            self._loop.watch(self._socket.fileno(), WRITABLE, self._handle)

    def _handle(self, _descriptor: int, bits: int) -> None:
        if self._socket is None:
            return
        if not self._connected:
            fault = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if fault:
                self.drop(errno.errorcode.get(fault, "connect failed"))
                return
            self._secure(self._socket)
            return
        if self._shaking:
            self._shake_hands()
            return
        if bits & WRITABLE:
            self._flush()
        if bits & ~WRITABLE:
            self._read()

    def _secure(self, plain: socket.socket) -> None:
        self._connected = True
        try:
            self._socket = self._address.secured(plain)
        except OSError as fault:
            self.drop(f"TLS failed: {fault.strerror or 'unknown error'}")
            return
        if isinstance(self._socket, ssl.SSLSocket):
            self._shaking = True
            self._shake_hands()
        else:
            self._greet()

    def _shake_hands(self) -> None:
        if not isinstance(self._socket, ssl.SSLSocket):
            return
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._loop.change(self._socket.fileno(), READABLE)
        except ssl.SSLWantWriteError:
            self._loop.change(self._socket.fileno(), WRITABLE)
        except ssl.SSLCertVerificationError as fault:
            self.drop(f"TLS failed: {fault.verify_message}")
        except OSError:
            self.drop("TLS failed")
        else:
            self._shaking = False
            self._greet()

    def _greet(self) -> None:
        for command in self._address.greeting():
            self._send(command, self._greeted)
        # PING tells a server that is still loading or wants a password from one that is ready.
        self._send(pack_command("PING"), self._ready)

    def _greeted(self, reply: Reply) -> None:
        if isinstance(reply, RedisError):
            self.drop(f"sign-in refused: {reply.text.split(' ')[0]}")

    def _ready(self, reply: Reply) -> None:
        if isinstance(reply, RedisError):
            self.drop(f"not ready: {reply.text.split(' ')[0]}")
            return
        self.up = True
        self._pause = _FIRST_PAUSE
        self._on_up()

    def _send(self, command: bytes, on_reply: OnReply) -> None:
        if not self._waiting:
            self._heard = self._loop.now
        self._waiting.append(on_reply)
        idle = not self._outgoing
        self._outgoing += command
        if idle:
            self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._outgoing)
        except WANTS_MORE:
            sent = 0
        except OSError as fault:
            # Found again as an error event on the next round; dropping here would call
            # `on_down` in the middle of somebody's request.
            del fault
            return
        del self._outgoing[:sent]
        events = READABLE | WRITABLE if self._outgoing else READABLE
        self._loop.change(self._socket.fileno(), events)

    def _read(self) -> None:
        here = self._socket
        while here is not None and self._socket is here:
            try:
                received = here.recv(_READ_SIZE)
            except WANTS_MORE:
                return
            except OSError as fault:
                self.drop(errno.errorcode.get(fault.errno or 0, "read failed"))
                return
            if not received:
                self.drop("closed by the server")
                return
            self._heard = self._loop.now
            self._incoming += received
            try:
                self._deliver()
            except BrokenReply:
                self.drop("answered something that is no RESP2")
                return
            # What TLS has decrypted already wakes no epoll.
            if not (isinstance(here, ssl.SSLSocket) and here.pending()):
                return

    def _deliver(self) -> None:
        here = self._socket
        at = 0
        while True:
            parsed = parse_reply(self._incoming, at)
            if parsed is None:
                break
            reply, at = parsed
            if not self._waiting:
                raise BrokenReply("an answer nobody asked for")
            self._waiting.popleft()(reply)
            if self._socket is not here:
                return
        del self._incoming[:at]


class RedisCalls:
    """A blocking connection for what happens once, before the loop runs. Use as a context."""

    def __init__(self, address: RedisAddress, timeout: float) -> None:
        """Connect and sign in. Raises OSError, RedisError."""
        self._socket, where = address.open_socket()
        self._incoming = bytearray()
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(where)
            self._socket = address.secured(self._socket)
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.do_handshake()
            for command in address.greeting():
                self.call(command)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> RedisCalls:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, command: bytes) -> Reply:
        """Send a packed command and wait for its reply. Raises OSError, RedisError."""
        self._socket.sendall(command)
        return self._reply()

    def call_all(self, commands: Sequence[bytes]) -> list[Reply]:
        """Send packed commands in one go and wait for all replies. Raises OSError, RedisError,
        and the connection is of no use then.
        """
        self._socket.sendall(b"".join(commands))
        return [self._reply() for _ in commands]

    def _reply(self) -> Reply:
        while True:
            parsed = parse_reply(self._incoming)
            if parsed is not None:
                reply, end = parsed
                del self._incoming[:end]
                if isinstance(reply, RedisError):
                    raise reply
                return reply
            received = self._socket.recv(_READ_SIZE)
            if not received:
                raise ConnectionError("closed by the server")
            self._incoming += received
