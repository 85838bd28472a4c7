"""UDP packets as bytes: what real clients send, options, numbers, and any bytes at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracker.client_announces import HASH
from tests.tracker.udp_client import CONNECT, TRANSACTION, announce_packet, url_options
from tracker import wire
from tracker.connection_ids import ConnectionIds
from tracker.protocol.announce import parse_announce
from tracker.protocol.bencode import AnnounceReply
from tracker.protocol.refusals import Refusal
from tracker.protocol.udp_packets import (
    PacketHead,
    parse_announce_packet,
    read_head,
    read_passkey_option,
    write_announced,
    write_connected,
    write_error,
)

ID = b"\x80connect"
PEER = b"-LT2110-x!(a*~)bcdef"
KEY = b"0123456789abcdef0123456789abcdef"


def packet(options: bytes = b"", **fields: int) -> bytes:
    return announce_packet(ID, HASH, PEER, **fields) + options


def test_libtorrent_sends_its_key_in_the_options() -> None:
    raw = packet(
        url_options(b"/announce/" + KEY),
        left=4194304,
        event=2,
        num_want=200,
        port=6891,
        key=0x0A1B2C3D,
    )
    assert read_head(raw) == PacketHead(ID, 1, TRANSACTION)
    over_http = parse_announce(
        b"info_hash=%00%20~*(%5b%25%ff%0a%3d%2b%9f%26%c3%e4%d1_z%8b%9c&peer_id="
        + PEER
        + b"&port=6891&uploaded=0&downloaded=0&left=4194304&key=0A1B2C3D&event=started"
        b"&numwant=200&compact=1&no_peer_id=1&passkey=" + KEY
    )
    assert parse_announce_packet(raw) == over_http


@pytest.mark.parametrize(
    ("options", "passkey"),
    [
        pytest.param(b"", b"", id="Transmission, rTorrent, webtorrent"),
        pytest.param(b"\x00\x00", b"", id="aria2"),
        pytest.param(url_options(b"/announce?passkey=" + KEY), KEY, id="qBittorrent, query"),
        pytest.param(url_options(b"/announce/" + KEY, 7), KEY, id="split"),
        pytest.param(b"\x01\x01" + url_options(b"/announce/" + KEY), KEY, id="NOP before"),
        pytest.param(url_options(b"/announce/" + KEY) + b"\x00\x02", KEY, id="end, then more"),
        pytest.param(b"\x00" + url_options(b"/announce/" + KEY), b"", id="after the end"),
        pytest.param(b"\x09\x02xx" + url_options(b"/announce/" + KEY), KEY, id="unknown option"),
        pytest.param(url_options(b"/announce"), b"", id="no key"),
        pytest.param(url_options(b"/announce/?passkey=" + KEY), KEY, id="empty in the path"),
        pytest.param(url_options(b"/scrape/" + KEY), b"", id="another path"),
        pytest.param(url_options(b"/announce?a=1&passkey=" + KEY + b"&b"), KEY, id="among others"),
    ],
)
def test_options(options: bytes, passkey: bytes) -> None:
    assert parse_announce_packet(packet(options)).passkey == passkey


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (b"\x02", "options_broken"),
        (b"\x02\x05/ann", "options_broken"),
        (b"\x07\x01", "options_broken"),
        (url_options(b"/" + b"a" * 512), "url_too_long"),
        (url_options(b"/announce?passkey=a&passkey=a"), "duplicate"),
        (url_options(b"/announce/a?passkey=a"), "passkey_twice"),
        (url_options(b"/announce?passkey=a?b=c"), "second_question_mark"),
    ],
)
def test_broken_options_are_refused(options: bytes, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        parse_announce_packet(packet(options))
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (packet(port=0), "port_invalid"),
        (packet(uploaded=1 << 63), "uploaded_invalid"),
        (packet(downloaded=(1 << 64) - 1), "downloaded_invalid"),
    ],
)
def test_numbers_out_of_bounds_are_refused(raw: bytes, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        parse_announce_packet(raw)
    assert refusal.value.code == code


def test_numbers_at_their_bounds() -> None:
    most = (1 << 63) - 1
    request = parse_announce_packet(packet(uploaded=most, downloaded=most, left=most))
    assert (request.uploaded, request.downloaded, request.left) == (most, most, most)


@pytest.mark.parametrize("left", [1 << 63, (1 << 64) - 1])
def test_unknown_left_is_a_leecher(left: int) -> None:
    assert parse_announce_packet(packet(left=left)).left == wire.UNKNOWN_LEFT


@pytest.mark.parametrize(
    ("sent", "meant"), [(-1, -1), (-(1 << 31), -1), (0, 0), (1, 1), ((1 << 31) - 1, 65_535)]
)
def test_numwant(sent: int, meant: int) -> None:
    assert parse_announce_packet(packet(num_want=sent)).numwant == meant


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (0, wire.EVENT_NONE),
        (1, wire.EVENT_COMPLETED),
        (2, wire.EVENT_STARTED),
        (3, wire.EVENT_STOPPED),
        (4, wire.EVENT_NONE),
        ((1 << 32) - 1, wire.EVENT_NONE),
    ],
)
def test_events(sent: int, meant: int) -> None:
    assert parse_announce_packet(packet(event=sent)).event == meant


def test_key_zero_is_no_key() -> None:
    assert parse_announce_packet(packet(key=0)).key == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        (CONNECT + TRANSACTION)[:15],
        bytes(8) + (CONNECT + TRANSACTION)[8:],
        packet()[:97],
        ID + struct.pack(">I", 2) + TRANSACTION + HASH[:19],
        ID + struct.pack(">I", 3) + TRANSACTION + bytes(100),
        ID + struct.pack(">I", 4) + TRANSACTION + bytes(100),
    ],
)
def test_what_is_no_request_has_no_head(raw: bytes) -> None:
    assert read_head(raw) is None


def outcome(raw: bytes) -> tuple[str, int]:
    """The refusal's code and the size of its packet; no code for an announce that is read."""
    try:
        return "", len(parse_announce_packet(raw).passkey)
    except Refusal as refusal:
        return refusal.code, len(write_error(TRANSACTION, refusal.text))


@given(st.binary(max_size=700))
def test_any_options_give_a_key_or_a_refusal(options: bytes) -> None:
    code, size = outcome(packet(options))
    assert code in {
        "",
        "options_broken",
        "url_too_long",
        "duplicate",
        "passkey_twice",
        "second_question_mark",
    }
    assert size <= 512


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.binary(max_size=3)), max_size=2),
    st.sampled_from([b"", b"\0", b"\0\2", b"?", b"\1", b"\2\1?"]),
)
@settings(max_examples=500)
def test_the_usual_option_is_read_like_any_other(
    edits: list[tuple[int, int, bytes]], end: bytes
) -> None:
    options = url_options(b"/announce/" + b"0123456789abcdef" * 2) + end
    for at, cut, piece in edits:
        options = options[:at] + piece + options[at + cut :]
    # After an option that says nothing there is no short way.
    assert key_or_code(packet(options)) == key_or_code(packet(b"\x01" + options))


def key_or_code(whole: bytes) -> bytes | str:
    try:
        return read_passkey_option(whole)
    except Refusal as refusal:
        return refusal.code


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(packet)))
def test_any_bytes_are_read_or_passed_over(raw: bytes) -> None:
    head = read_head(raw)
    if head is not None and head.action == 1:
        code, size = outcome(raw)
        assert not code or size <= len(raw)


@given(
    path=st.binary(min_size=1, max_size=480).filter(lambda raw: b"?" not in raw),
    size=st.integers(1, 255),
    noise=st.integers(0, 3),
)
def test_split_url_data_is_put_together(path: bytes, size: int, noise: int) -> None:
    options = b"\x01" * noise + url_options(b"/announce/" + path, size) + b"\x00"
    assert parse_announce_packet(packet(options)).passkey == path


_TOTAL = st.integers(0, (1 << 63) - 1)


@given(up=_TOTAL, down=_TOTAL, left=_TOTAL, port=st.integers(1, 65_535))
def test_numbers_survive_the_round_trip(up: int, down: int, left: int, port: int) -> None:
    request = parse_announce_packet(packet(uploaded=up, downloaded=down, left=left, port=port))
    assert (request.uploaded, request.downloaded) == (up, down)
    assert (request.left, request.port) == (left, port)
    assert (request.info_hash, request.peer_id) == (HASH, PEER)


def test_replies_byte_for_byte() -> None:
    assert write_connected(TRANSACTION, ID) == bytes(4) + TRANSACTION + ID
    reply = AnnounceReply(3, 5, 1800, 900, b"4" * 12, b"6" * 18)
    head = struct.pack(">I4sIII", 1, TRANSACTION, 1800, 5, 3)
    assert write_announced(TRANSACTION, reply, by_v4=True) == head + b"4" * 12
    assert write_announced(TRANSACTION, reply, by_v4=False) == head + b"6" * 18
    assert write_error(TRANSACTION, "No.") == b"\x00\x00\x00\x03" + TRANSACTION + b"No."


A, B = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_connection_id_holds_this_minute_and_the_next() -> None:
    clock = Clock(6000.0)
    ids = ConnectionIds({1: bytes(32)}, clock)
    given_id = ids.issue(A)
    assert len(given_id) == 8
    clock.now = 6119.9
    assert ids.proves(given_id, A)
    assert ids.issue(A) != given_id
    clock.now = 6120.0
    assert not ids.proves(given_id, A)
    clock.now = 5999.0
    assert not ids.proves(given_id, A)


def test_connection_id_is_of_one_address_and_one_secret() -> None:
    ids = ConnectionIds({1: bytes(32)}, Clock(60.0))
    assert not ids.proves(ids.issue(A), B)
    assert not ids.proves(ids.issue(A), bytes(10) + b"\xff\xff" + A)
    assert not ConnectionIds({1: bytes(31) + b"\x01"}, Clock(60.0)).proves(ids.issue(A), A)
    assert not ids.proves(bytes(8), A)


def test_changed_secret_still_opens_what_the_old_one_issued() -> None:
    old = ConnectionIds({1: bytes(32)}, Clock(60.0))
    new = ConnectionIds({1: bytes(32), 2: b"x" * 32}, Clock(60.0))
    assert new.proves(old.issue(A), A)
    assert not old.proves(new.issue(A), A)
    with pytest.raises(ValueError, match="need a key"):
        ConnectionIds({}, Clock(60.0))


def test_remembered_ids_end_with_their_minute_and_their_number() -> None:
    clock = Clock(60.0)
    ids = ConnectionIds({1: bytes(32)}, clock)
    first = ids.issue(A)
    assert ids.issue(A) == first == ConnectionIds({1: bytes(32)}, clock).issue(A)
    for number in range(40_000):
        ids.issue(number.to_bytes(4, "big"))
    assert ids.remembered <= 16_384
    clock.now += 60
    second = ids.issue(A)
    assert second != first
    assert ids.proves(first, A)
    for number in range(40_000):
        ids.issue(number.to_bytes(4, "big"))
    assert ids.remembered <= 2 * 16_384
    clock.now += 60
    assert not ids.proves(first, A)
    assert ids.proves(second, A)
    clock.now += 120
    assert not ids.proves(second, A)
    assert ids.remembered == 1
