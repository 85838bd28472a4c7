"""One client connection of the announce port: what it sent, what it gets, until when."""

from __future__ import annotations

from typing import Protocol

from tracker.protocol.bencode import write_failure
from tracker.protocol.http_requests import RequestHead, write_response, write_status
from tracker.protocol.refusals import Refusal


class Sender(Protocol):
    """Whoever owns the connections."""

    def send(self, connection: HttpConnection) -> None:
        """Let the prepared answer leave."""
        ...


class HttpConnection:
    """One client connection by its descriptor, which is -1 once it is closed.

    `address` is the other end, empty on a unix socket, and `counted` what it counts as;
    `client` whose requests they are, None where a proxy does not say it. `corked` while what is written leaves in full packets or at the end
    only.
    """

    __slots__ = (
        "address",
        "busy",
        "client",
        "close",
        "corked",
        "counted",
        "deadline",
        "descriptor",
        "head",
        "incoming",
        "outgoing",
        "proxied",
        "server",
        "watched",
    )

    def __init__(
        self, server: Sender, descriptor: int, address: bytes, counted: bytes, deadline: float
    ) -> None:
        self.server = server
        self.descriptor = descriptor
        self.address = address
        self.client: bytes | None = address
        self.counted = counted
        self.deadline = deadline
        self.incoming = self.outgoing = b""
        self.head: RequestHead | None = None
        self.busy = self.close = self.proxied = self.corked = False
        self.watched = 0

    def relay(self, body: bytes) -> None:
        """Another shard has answered."""
        self.answer(body)

    def answer(self, body: bytes, content_type: bytes = b"text/plain") -> None:
        """Send a 200."""
        if self.head is not None:
            self.outgoing = write_response(body, self.head, content_type)
        self.server.send(self)

    def fail(self, status: int, body: bytes = b"", content_type: bytes = b"text/plain") -> None:
        """Send another status and end the connection."""
        self.close = True
        self.outgoing = write_status(status, body, content_type)
        self.server.send(self)

    def wait(self) -> None:
        """Take no further request until the answer is there."""
        self.busy = True

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal instead of the answer."""
        self.answer(write_failure(refusal.text, refusal.retry_minutes))
