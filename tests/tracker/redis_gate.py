"""A gate in front of a real Redis: lets a test lose replies or take the server away."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

from tracker.resp import RedisAddress, parse_redis_url


class RedisGate:
    """Forwards connections to Redis on a loopback port of its own."""

    def __init__(self, redis_url: str) -> None:
        self._target: RedisAddress = parse_redis_url(redis_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._closing = threading.Event()
        self.forwards = True
        """False: new connections are closed at once, as if nobody listened."""
        self.silent = False
        """True: nothing is forwarded in either direction, as if the server hung."""
        self.loses_replies = False
        """True: Redis gets the commands, its replies are thrown away."""
        self.lost = b""
        self._cut = False
        self._thread = threading.Thread(target=self._run, name="gate")
        self._thread.start()

    @property
    def url(self) -> str:
        port = self._listener.getsockname()[1]
        credentials = ""
        if self._target.password:
            credentials = f"{self._target.username}:{self._target.password}@"
        return f"redis://{credentials}127.0.0.1:{port}/{self._target.database}"

    def cut(self) -> None:
        """Close every connection now."""
        self._cut = True

    def close(self) -> None:
        self._closing.set()
        self._thread.join(10)
        for connection in list(self._pairs):
            self._end(connection)
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._cut:
                for connection in list(self._pairs):
                    self._end(connection)
                self._cut = False
            ready = self._selector.select(0.01)
            if self.silent:
                self._closing.wait(0.01)
                continue
            for key, _ in ready:
                source = key.fileobj
                if source is self._listener:
                    self._accept()
                elif isinstance(source, socket.socket) and source in self._pairs:
                    self._forward(source)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if not self.forwards:
            client.close()
            return
        server, where = self._target.open_socket()
        server.connect(where)
        self._servers.add(server)
        self._pairs[client], self._pairs[server] = server, client
        for connection in (client, server):
            self._selector.register(connection, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        try:
            received = source.recv(1 << 20)
        except OSError:
            received = b""
        if not received:
            self._end(source)
        elif self.loses_replies and source in self._servers:
            self.lost += received
        else:
            with contextlib.suppress(OSError):
                self._pairs[source].sendall(received)

    def _end(self, connection: socket.socket) -> None:
        other = self._pairs.pop(connection, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for end in (connection, other):
            self._selector.unregister(end)
            self._servers.discard(end)
            end.close()


@contextlib.contextmanager
def redis_gate(redis_url: str) -> Iterator[RedisGate]:
    gate = RedisGate(redis_url)
    try:
        yield gate
    finally:
        gate.close()
