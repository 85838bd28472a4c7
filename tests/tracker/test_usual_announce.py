"""The quick reading of usual announces is the plain reading, or none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.protocol.announce import AnnounceRequest, parse_announce
from tracker.protocol.http_requests import HEAD_END, BadRequest, parse_head
from tracker.protocol.refusals import Refusal
from tracker.protocol.usual_announce import read_usual_announce

KEY = "0123456789abcdef" * 2
HASH = "info_hash=%12%34%56xyzabc%00%01%02%03%04%05%06%07%aa%BB%ff"
LIBTORRENT = (
    f"{HASH}&peer_id=-qB4520-%00~()!*%7fabcde&port=6881&uploaded=5&downloaded=6&left=7"
    "&corrupt=0&key=1A2B3C4D&event=started&numwant=200&compact=1&no_peer_id=1"
    "&supportcrypto=1&redundant=0"
)
DELUGE = LIBTORRENT.replace("&supportcrypto=1", "").replace("&event=started", "")
TRANSMISSION = (
    f"{HASH}&peer_id=-TR3000-abcdefghijkl&port=51413&uploaded=5&downloaded=6&left=7&numwant=80"
    "&key=3c4d5e&compact=1&supportcrypto=1&event=completed"
)
USUAL = [LIBTORRENT, DELUGE, TRANSMISSION]
HEADERS = "\r\nHost: t\r\nUser-Agent: u\r\nAccept-Encoding: gzip\r\nConnection: close"


def plain(received: bytes) -> tuple[AnnounceRequest, bytes, bool] | None:
    """What the plain reading makes of bytes that are one whole request, None for a refusal."""
    end = received.find(HEAD_END)
    if end < 0 or end + len(HEAD_END) != len(received):
        return None
    try:
        head = parse_head(received[:end])
        request = parse_announce(head.query)
    except (BadRequest, Refusal):
        return None
    passkey = head.path.removeprefix(b"/announce/")
    if request.passkey or passkey == head.path or head.old:
        return None
    return request, passkey, head.keep_alive


def get(query: str, headers: str = HEADERS) -> bytes:
    return f"GET /announce/{KEY}?{query} HTTP/1.1{headers}\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize("query", USUAL)
@pytest.mark.parametrize(
    "headers", ["", HEADERS, "\r\nconnection: keep-alive", "\r\nContent-Length: 0"]
)
def test_usual_announces_are_read(query: str, headers: str) -> None:
    read = read_usual_announce(get(query, headers))
    assert read is not None
    assert read == plain(get(query, headers))


@pytest.mark.parametrize(
    "received",
    [
        get(TRANSMISSION)[:-1],
        get(TRANSMISSION, "")[:-2],
        get(TRANSMISSION, "")[:-2] + b"\n",
        get(TRANSMISSION) + b"G",
        get(TRANSMISSION) * 2,
        get(TRANSMISSION, "\r\nContent-Length: 5"),
        get(TRANSMISSION, "\r\nTransfer-Encoding: chunked"),
        get(TRANSMISSION).replace(b"HTTP/1.1", b"HTTP/1.0"),
        get(TRANSMISSION).replace(b"GET", b"PUT"),
        get(TRANSMISSION.replace("&supportcrypto", "&numwant=3&supportcrypto")),
        get(LIBTORRENT.replace("&corrupt=0", "&numwant=3")),
        get(LIBTORRENT + "&event=stopped"),
        get(LIBTORRENT + "&passkey=" + KEY),
        get(TRANSMISSION.replace("port=51413", "port=0")),
        get(TRANSMISSION.replace("port=51413", "port=65536")),
        get(TRANSMISSION.replace("uploaded=5", "uploaded=-5")),
        get(TRANSMISSION.replace("%ff", "%f")),
        get(TRANSMISSION.replace("%ff", "")),
        get(TRANSMISSION.replace("abcdefghijkl", "abcdefghijk%")),
        get(TRANSMISSION.replace("abcdefghijkl", "abcdefghijk%20k")),
    ],
)
def test_anything_else_is_left_to_the_plain_reading(received: bytes) -> None:
    assert read_usual_announce(received) is None


PIECES = st.sampled_from(
    [
        "&key=1",
        "&event=stopped",
        "&event=odd",
        "&event=",
        "&numwant=9",
        "&numwant=-1",
        "&compact=0",
        "&compact=1",
        "&no_peer_id=1",
        "&no_peer_id=0",
        "&supportcrypto=1",
        "&redundant=12",
        "&corrupt=0",
        "&left=3",
        "&passkey=x",
        "&uploaded=999999999999999999",
        "&uploaded=9223372036854775808",
        "&peer_id=",
        "?",
        "=",
        "+",
        "%",
        "%2",
        "%20",
        " ",
        "\r\n",
        "\r",
        "\n",
        "\x00",
        "\xff",
        "9" * 19,
        "HTTP/1.1",
        "Content-Length: 1",
        "\r\nConnection: close",
    ]
)


@given(
    st.sampled_from(USUAL),
    st.sampled_from(["", HEADERS, "\r\nHost: t"]),
    st.lists(st.tuples(st.integers(0, 420), st.integers(0, 14), PIECES | st.just("")), max_size=3),
)
@settings(max_examples=1500, deadline=None)
def test_quick_reading_is_the_plain_one(
    query: str, headers: str, edits: list[tuple[int, int, str]]
) -> None:
    received = get(query, headers).decode("latin-1")
    for at, cut, piece in edits:
        received = received[:at] + piece + received[at + cut :]
    raw = received.encode("latin-1")
    read = read_usual_announce(raw)
    assert read is None or read == plain(raw)


@given(
    st.sampled_from(USUAL),
    st.permutations(range(13)),
    st.lists(st.integers(0, 12), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_other_orders_and_repeats_change_no_meaning(
    query: str, order: list[int], more: list[int]
) -> None:
    pairs = query.split("&")
    chosen = [pairs[place % len(pairs)] for place in order[: len(pairs)] + more]
    raw = get("&".join(chosen))
    read = read_usual_announce(raw)
    assert read is None or read == plain(raw)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_as_plain_or_not_at_all(raw: bytes) -> None:
    read = read_usual_announce(raw)
    assert read is None or read == plain(raw)
