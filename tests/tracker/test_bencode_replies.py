"""Bencoded replies decode to what was meant, with keys in order."""

from __future__ import annotations

import bencodepy
import pytest

from tracker.protocol.bencode import (
    AnnounceReply,
    ListedPeer,
    write_failure,
    write_listed_reply,
    write_reply,
)

REPLY = AnnounceReply(3, 4, 1800, 900, b"\x7f\x00\x00\x01\x13\x88", b"")


def is_sorted(written: bytes) -> bool:
    decoded = bencodepy.Bencode().decode(written)
    return bool(bencodepy.Bencode().encode(decoded) == written)


@pytest.mark.parametrize("peers6", [b"", bytes(18)])
def test_compact_reply(peers6: bytes) -> None:
    written = write_reply(REPLY._replace(peers6=peers6))
    expected = {
        b"complete": 3,
        b"incomplete": 4,
        b"interval": 1800,
        b"min interval": 900,
        b"peers": REPLY.peers4,
    }
    if peers6:
        expected[b"peers6"] = peers6
    assert bencodepy.Bencode().decode(written) == expected
    assert is_sorted(written)


def test_dictionary_reply() -> None:
    peers = [
        ListedPeer(b"a" * 20, b"\x01\x02\x03\x04\x00\x50"),
        ListedPeer(b"b" * 20, bytes(15) + b"\x01\xff\xff"),
    ]
    written = write_listed_reply(REPLY, peers, with_id=True)
    assert bencodepy.Bencode().decode(written)[b"peers"] == [
        {b"ip": b"1.2.3.4", b"peer id": b"a" * 20, b"port": 80},
        {b"ip": b"::1", b"peer id": b"b" * 20, b"port": 65535},
    ]
    assert is_sorted(written)
    assert is_sorted(write_listed_reply(REPLY, peers, with_id=False))


def test_failures_say_when_to_come_again() -> None:
    assert write_failure("No.") == b"d14:failure reason3:No.e"
    assert bencodepy.Bencode().decode(write_failure("Wait.", 5)) == {
        b"failure reason": b"Wait.",
        b"retry in": b"5",
    }
