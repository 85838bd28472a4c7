"""Heads of HTTP requests: versions, keeping the connection, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.protocol.http_requests import (
    BadRequest,
    RequestHead,
    parse_head,
    write_response,
    write_status,
)


def status(head: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        parse_head(head)
    return caught.value.status


def test_path_and_query_stay_as_sent() -> None:
    head = parse_head(b"GET /announce/a%2Fb?x=1?y=2&z HTTP/1.1\r\nHost: t")
    assert (head.path, head.query) == (b"/announce/a%2Fb", b"x=1?y=2&z")
    assert parse_head(b"GET /p HTTP/1.1").query == b""


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: t", True),
        (b"GET / HTTP/1.1\r\nConnection: close", False),
        (b"GET / HTTP/1.1\r\nCONNECTION:Close", False),
        (b"GET / HTTP/1.1\r\nconnection: keep-alive", True),
        (b"GET / HTTP/1.1\r\nX-Connection: close", True),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nHost: t", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
    ],
)
def test_who_keeps_the_connection(head: bytes, keep_alive: bool) -> None:
    assert parse_head(head).keep_alive is keep_alive


def test_absolute_form_is_accepted() -> None:
    head = parse_head(b"GET http://tracker:8080/announce?a=b HTTP/1.1")
    assert (head.path, head.query) == (b"/announce", b"a=b")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 x", 400),
        (b"GET / FTP/1.1", 400),
        (b"GET announce HTTP/1.1", 400),
        (b"GET http:///x HTTP/1.1", 400),
        (b"GET http://t HTTP/1.1", 400),
        (b"GET / HTTP/2.0", 505),
        (b"POST / HTTP/1.1", 405),
        (b"HEAD / HTTP/1.1", 405),
        (b"get / HTTP/1.1", 405),
        (b"GET / HTTP/1.1\r\nContent-Length: 5", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5", 400),
        (b"GET / HTTP/1.1\r\nContent-Length : 5", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked", 400),
    ],
)
def test_what_is_no_request_of_ours_is_refused(head: bytes, expected: int) -> None:
    assert status(head) == expected


def test_empty_body_may_be_declared() -> None:
    assert parse_head(b"GET / HTTP/1.1\r\nContent-Length: 0").keep_alive


@given(st.binary(max_size=200))
def test_any_bytes_give_a_head_or_a_status(raw: bytes) -> None:
    for head in (raw, b"GET /" + raw + b" HTTP/1.1", b"GET / HTTP/1.1\r\n" + raw):
        try:
            assert isinstance(parse_head(head), RequestHead)
        except BadRequest as bad:
            # Each status a parse can end in has its line.
            write_status(bad.status)


def test_responses_say_how_the_connection_goes_on() -> None:
    kept = RequestHead(b"/", b"", keep_alive=True, old=False)
    assert write_response(b"abc", kept) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"
    )
    assert b"\r\nConnection: close\r\n" in write_response(b"", kept._replace(keep_alive=False))
    assert b"\r\nConnection: keep-alive\r\n" in write_response(b"", kept._replace(old=True))
    assert b"\r\nAllow: GET\r\n" in write_status(405)
