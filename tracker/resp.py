"""The Redis protocol, version 2: commands to bytes, bytes to replies, and addresses of servers."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from tracker.redis_tls import RedisTls, read_tls_options


class RedisError(Exception):
    """An error reply; the text starts with its kind in capitals."""

    @property
    def text(self) -> str:
        return str(self.args[0])


class BrokenReply(Exception):
    """Bytes that are no RESP2; the connection is of no use any more."""


Reply: TypeAlias = "bytes | int | list[Reply] | RedisError | None"

_DEPTH_LIMIT: Final = 8


def pack_command(*words: str | bytes | int) -> bytes:
    """One command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode("utf-8")
        parts.append(b"$%d\r\n" % len(raw))
        parts.append(raw)
        parts.append(b"\r\n")
    return b"".join(parts)


def parse_reply(buffer: bytes | bytearray, at: int = 0, depth: int = 0) -> tuple[Reply, int] | None:
    """The reply at `at` and where the next one starts; None while bytes are missing.

    Raises BrokenReply.
    """
    line_end = buffer.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind, line, after = buffer[at : at + 1], bytes(buffer[at + 1 : line_end]), line_end + 2
    if kind == b"+":
        return line, after
    if kind == b"-":
        return RedisError(line.decode("utf-8", "replace")), after
    try:
        number = int(line)
    except ValueError:
        raise BrokenReply("a number was expected") from None
    if kind == b":":
        return number, after
    if kind == b"$":
        return _bulk(buffer, after, number)
    if kind == b"*" and depth < _DEPTH_LIMIT:
        return _array(buffer, after, number, depth + 1)
    raise BrokenReply("unknown reply kind")


def _bulk(buffer: bytes | bytearray, at: int, size: int) -> tuple[Reply, int] | None:
    if size < 0:
        return None, at
    if len(buffer) < at + size + 2:
        return None
    return bytes(buffer[at : at + size]), at + size + 2


def _array(buffer: bytes | bytearray, at: int, size: int, depth: int) -> tuple[Reply, int] | None:
    if size < 0:
        return None, at
    items: list[Reply] = []
    for _ in range(size):
        parsed = parse_reply(buffer, at, depth)
        if parsed is None:
            return None
        item, at = parsed
        items.append(item)
    return items, at


@dataclass(frozen=True)
class RedisAddress:
    """Where a Redis or Valkey server is and how to sign in; never printed as a whole."""

    host: str
    port: int
    path: str
    username: str
    password: str
    database: int
    tls: RedisTls | None = None

    def __repr__(self) -> str:
        return f"RedisAddress({self.place})"

    @property
    def place(self) -> str:
        """The address without credentials, for messages."""
        return self.path or f"{self.host}:{self.port}"

    def greeting(self) -> list[bytes]:
        """Commands to send first on every connection."""
        commands: list[bytes] = []
        if self.password:
            words = (self.username, self.password) if self.username else (self.password,)
            commands.append(pack_command("AUTH", *words))
        if self.database:
            commands.append(pack_command("SELECT", self.database))
        return commands

    def open_socket(self) -> tuple[socket.socket, str | tuple[str, int]]:
        """A fresh unconnected socket and the address to connect it to. Raises OSError."""
        if self.path:
            return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), self.path
        family, kind, proto, _, where = socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        )[0]
        connection = socket.socket(family, kind, proto)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, (str(where[0]), int(where[1]))

    def secured(self, connection: socket.socket) -> socket.socket:
        """The connected socket to speak on; under TLS its handshake is still to be done.

        Raises OSError.
        """
        return self.tls.wrap(connection) if self.tls is not None else connection


def parse_redis_url(url: str) -> RedisAddress:
    """Read `redis://[user:password@]host:port/db`, the same with `rediss://` for TLS, or
    `unix://[:password@]/path?db=n`.

    Raises ValueError, without the URL in its text as that may hold a password.
    """
    parts = urlsplit(url)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    database, tls = query.get("db", "0"), None
    host, port, path = "", 0, ""
    if parts.scheme == "unix":
        path = unquote(parts.path)
    elif parts.scheme in {"redis", "rediss"}:
        database = parts.path.strip("/") or database
        host, port = parts.hostname or "localhost", parts.port or 6379
        if parts.scheme == "rediss":
            tls = read_tls_options(host, query)
    else:
        raise ValueError("the Redis URL must start with redis://, rediss:// or unix://")
    if not database.isdigit():
        raise ValueError("the database in the Redis URL must be a number")
    if parts.scheme == "unix" and not path:
        raise ValueError("the unix:// Redis URL must name a socket file")
    return RedisAddress(host, port, path, username, password, int(database), tls)
