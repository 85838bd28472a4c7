"""The Redis protocol and URLs, against the real parser and the real forms."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.resp import (
    BrokenReply,
    RedisError,
    Reply,
    pack_command,
    parse_redis_url,
    parse_reply,
)


def write(value: Reply) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, list):
        return b"*%d\r\n%b" % (len(value), b"".join(map(write, value)))
    raise AssertionError(value)


REPLIES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=10,
)


@given(REPLIES, REPLIES)
def test_replies_are_read_whole_or_not_at_all(first: Reply, second: Reply) -> None:
    one = write(first)
    both = bytearray(one + write(second))
    for end in range(len(one)):
        assert parse_reply(both[:end]) is None
    assert parse_reply(both) == (first, len(one))
    assert parse_reply(both, len(one)) == (second, len(both))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_awaited_or_refused(raw: bytes) -> None:
    try:
        parsed = parse_reply(raw)
    except BrokenReply:
        return
    assert parsed is None or 0 < parsed[1] <= len(raw)


def test_status_error_and_null_array() -> None:
    assert parse_reply(b"+OK\r\n") == (b"OK", 5)
    assert parse_reply(b"*-1\r\n") == (None, 5)
    parsed = parse_reply(b"-OOM command not allowed\r\n")
    assert parsed is not None
    assert isinstance(parsed[0], RedisError)
    assert parsed[0].text == "OOM command not allowed"
    with pytest.raises(BrokenReply):
        parse_reply(b"*1\r\n" * 20 + b":1\r\n")


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=6))
def test_commands_are_arrays_of_bulk_strings(words: list[bytes]) -> None:
    reader = hiredis.Reader()
    reader.feed(pack_command(*words))
    assert reader.gets() == words


def test_addresses() -> None:
    tcp = parse_redis_url("redis://me:p%40ss@cache.example:7000/3")
    assert (tcp.place, tcp.username, tcp.password, tcp.database) == (
        "cache.example:7000",
        "me",
        "p@ss",
        3,
    )
    assert tcp.greeting() == [pack_command("AUTH", "me", "p@ss"), pack_command("SELECT", 3)]
    assert "p@ss" not in repr(tcp)
    local = parse_redis_url("unix://:secret@/run/kv.sock?db=2")
    assert (local.place, local.database) == ("/run/kv.sock", 2)
    assert local.greeting() == [pack_command("AUTH", "secret"), pack_command("SELECT", 2)]
    plain = parse_redis_url("redis://[::1]")
    assert (plain.host, plain.port, plain.greeting()) == ("::1", 6379, [])


@pytest.mark.parametrize("url", ["http://:hunter2@x", "redis://:hunter2@x/y", "unix://:hunter2@"])
def test_addresses_we_cannot_use_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(ValueError, match="Redis URL") as caught:
        parse_redis_url(url)
    assert "hunter2" not in str(caught.value)
