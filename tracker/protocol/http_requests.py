"""Heads of HTTP/1.0 and 1.1 requests (RFC 9112), as far as a tracker needs them."""

from __future__ import annotations

from typing import Final, NamedTuple

REQUEST_LIMIT: Final = 4096
"""Bytes of a request line and its headers together."""
HEAD_END: Final = b"\r\n\r\n"

_TEXTS: Final = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
_KEEPING: Final = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
_KEEPING_OLD: Final = _KEEPING[:-2] + b"Connection: keep-alive\r\n\r\n"
_CLOSING: Final = _KEEPING[:-2] + b"Connection: close\r\n\r\n"


class RequestHead(NamedTuple):
    """A request: path and query as sent, and whether the connection may stay open."""

    path: bytes
    query: bytes
    keep_alive: bool
    old: bool
    """HTTP/1.0, where keeping the connection has to be said in the answer."""


class BadRequest(Exception):
    """No request we can answer in its own terms; `status` is the HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def parse_head(head: bytes) -> RequestHead:
    """Read a request's head, without the empty line that ends it. Raises BadRequest.

    A request with a body is refused: nothing of a body is ever read, and the rest of it
    would be taken for the next request.
    """
    line_end = head.find(b"\r\n")
    line = head if line_end < 0 else head[:line_end]
    words = line.split(b" ")
    if len(words) != 3:
        raise BadRequest(400)
    method, target, version = words
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise BadRequest(505 if version.startswith(b"HTTP/") else 400)
    if method != b"GET":
        raise BadRequest(405)
    old = version == b"HTTP/1.0"
    keep_alive = stays_open(head[line_end:] if line_end >= 0 else b"", old=old)
    path, _, query = _origin_form(target).partition(b"?")
    return RequestHead(path, query, keep_alive, old)


def stays_open(headers: bytes, *, old: bool) -> bool:
    """Whether headers (empty, or CRLF before each) let the connection stay open; `old` is 1.0.

    Raises BadRequest where they announce a body.
    """
    connection = _read_connection(headers.lower())
    return b"keep-alive" in connection if old else b"close" not in connection


def _read_connection(headers: bytes) -> bytes:
    """The `Connection` header's value; `headers` is lower case and starts with CRLF."""
    if b"\r\ntransfer-encoding:" in headers:
        raise BadRequest(400)
    length = headers.find(b"\r\ncontent-length")
    if length >= 0:
        again = headers.find(b"\r\ncontent-length", length + 1)
        if again >= 0 or headers[length + 16 : length + 17] != b":":
            raise BadRequest(400)
        if _value_at(headers, length + 17) != b"0":
            raise BadRequest(400)
    at = headers.find(b"\r\nconnection:")
    return _value_at(headers, at + 13) if at >= 0 else b""


def find_header(head: bytes, name: bytes) -> bytes:
    """The value of the first header of that (lower-case) name in a raw head, empty without."""
    at = head.lower().find(b"\r\n%b:" % name)
    return _value_at(head, at + len(name) + 3) if at >= 0 else b""


def _value_at(headers: bytes, start: int) -> bytes:
    end = headers.find(b"\r\n", start)
    return headers[start : end if end >= 0 else len(headers)].strip()


def _origin_form(target: bytes) -> bytes:
    """The path and query of a target; the absolute form must be accepted (RFC 9112 §3.2.2)."""
    if target.startswith(b"/"):
        return target
    if target[:7].lower() == b"http://":
        slash = target.find(b"/", 7)
        if slash > 7:
            return target[slash:]
    raise BadRequest(400)


def write_response(body: bytes, head: RequestHead, content_type: bytes = b"text/plain") -> bytes:
    """A 200 response as the request's version and connection wish it."""
    form = _CLOSING
    if head.keep_alive:
        form = _KEEPING_OLD if head.old else _KEEPING
    return form % (content_type, len(body)) + body


def write_status(status: int, body: bytes = b"", content_type: bytes = b"text/plain") -> bytes:
    """A response with another status; the connection ends with it."""
    text = _TEXTS[status]
    allow = b"Allow: GET\r\n" if status == 405 else b""
    content = body or text
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%bConnection: close\r\n\r\n%b"
        % (status, text, content_type, len(content), allow, content)
    )
