"""The announce query: what clients send, what is refused, and nothing else for any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.client_announces import ANNOUNCES, HASH, ClientAnnounce
from tracker import wire
from tracker.protocol.announce import (
    NUMWANT_CEILING,
    NUMWANT_DEFAULT,
    AnnounceRequest,
    parse_announce,
    unescape,
    unescape_hash,
)
from tracker.protocol.refusals import Refusal


def query(**changes: bytes | None) -> bytes:
    """A right query with parameters replaced, or left out where None."""
    values: dict[str, bytes | None] = {
        "info_hash": b"h" * 20,
        "peer_id": b"p" * 20,
        "port": b"5000",
        "uploaded": b"1",
        "downloaded": b"2",
        "left": b"3",
    }
    values.update(changes)
    pairs = [name.encode() + b"=" + value for name, value in values.items() if value is not None]
    return b"&".join(pairs)


def refusal(raw: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        parse_announce(raw)
    return caught.value.text


@pytest.mark.parametrize("sent", ANNOUNCES, ids=lambda sent: sent.client)
def test_real_clients_are_understood(sent: ClientAnnounce) -> None:
    request = parse_announce(sent.query)
    assert request.info_hash == HASH
    assert request.peer_id == sent.peer_id
    assert request.port == sent.port
    assert (request.uploaded, request.downloaded, request.left) == (
        sent.uploaded,
        sent.downloaded,
        sent.left,
    )
    assert (request.event, request.numwant, request.key) == (sent.event, sent.numwant, sent.key)
    assert request.compact


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"info_hash": None}, "Missing info_hash"),
        ({"info_hash": b""}, "Missing info_hash"),
        ({"info_hash": b"h" * 19}, "Invalid info_hash length"),
        ({"info_hash": b"h" * 21}, "Invalid info_hash length"),
        ({"info_hash": b"0aF9" * 10}, "Invalid info_hash: send 20 raw bytes, not 40 hex"),
        (
            {"info_hash": b"%30aF9" + b"0aF9" * 9},
            "Invalid info_hash: send 20 raw bytes, not 40 hex",
        ),
        ({"info_hash": b"g" * 40}, "Invalid info_hash length"),
        ({"info_hash": b"h" * 19 + b"%zz"}, "Invalid info_hash: broken percent escape"),
        ({"info_hash": b"h" * 18 + b"%4"}, "Invalid info_hash: broken percent escape"),
        ({"info_hash": b"h" * 19 + b"%"}, "Invalid info_hash: broken percent escape"),
        ({"peer_id": None}, "Missing peer_id"),
        ({"peer_id": b"p" * 19}, "Invalid peer_id length"),
        ({"peer_id": b"p" * 17 + b"%+1"}, "Invalid peer_id: broken percent escape"),
        ({"port": None}, "Missing port"),
        ({"port": b"0"}, "Invalid port"),
        ({"port": b"65536"}, "Invalid port"),
        ({"port": b"-1"}, "Invalid port"),
        ({"port": b"+80"}, "Invalid port"),
        ({"port": b"1_0"}, "Invalid port"),
        ({"port": b" 80"}, "Invalid port"),
        ({"port": b"1e3"}, "Invalid port"),
        ({"port": b"%35000"}, "Invalid port"),
        ({"port": b"9" * 400}, "Invalid port"),
        ({"left": b"1e9"}, "Invalid left"),
        ({"left": b"-"}, "Invalid left"),
        ({"left": b"--1"}, "Invalid left"),
    ],
)
def test_what_is_no_announce_is_refused_by_name(
    changes: dict[str, bytes | None], text: str
) -> None:
    assert refusal(query(**changes)) == text


@pytest.mark.parametrize("name", ["uploaded", "downloaded"])
@pytest.mark.parametrize(
    "value",
    [b"-1", b"9223372036854775808", b"18446744073709551615", b"9" * 400, b"1e9", b"1.0", b"+1"],
)
def test_totals_that_cannot_be_are_refused(name: str, value: bytes) -> None:
    assert refusal(query(**{name: value})) == f"Invalid {name}"


@pytest.mark.parametrize(
    ("value", "total"), [(None, 0), (b"", 0), (b"007", 7), (b"9223372036854775807", 2**63 - 1)]
)
def test_totals_in_range_are_taken(value: bytes | None, total: int) -> None:
    request = parse_announce(query(uploaded=value, downloaded=value))
    assert (request.uploaded, request.downloaded) == (total, total)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"-1",
        b"9223372036854775808",
        b"18446744073709551615",
        b"9" * 400,
        b"-" + b"9" * 400,
    ],
)
def test_unknown_left_is_a_leecher(value: bytes | None) -> None:
    assert parse_announce(query(left=value)).left == wire.UNKNOWN_LEFT


@pytest.mark.parametrize(
    ("value", "numwant"),
    [
        (None, NUMWANT_DEFAULT),
        (b"", NUMWANT_DEFAULT),
        (b"-1", NUMWANT_DEFAULT),
        (b"1e9", NUMWANT_DEFAULT),
        (b"0", 0),
        (b"200", 200),
        (b"99999", NUMWANT_CEILING),
        (b"9" * 400, NUMWANT_CEILING),
    ],
)
def test_numwant_is_a_hint(value: bytes | None, numwant: int) -> None:
    assert parse_announce(query(numwant=value)).numwant == numwant


@pytest.mark.parametrize(
    "name", ["info_hash", "peer_id", "port", "uploaded", "downloaded", "left", "event", "passkey"]
)
def test_known_parameters_stand_once(name: str) -> None:
    twice = query(event=b"", passkey=b"") + f"&{name}=1".encode()
    assert refusal(twice) == f"Duplicate {name}"


def test_unknown_parameters_are_passed_over() -> None:
    extra = query() + b"&ip=1.2.3.4&ip=5.6.7.8&ipv6=::1&trackerid=x&&=&a=b=c&supportcrypto=1"
    assert parse_announce(extra) == parse_announce(query())


def test_equals_plus_and_question_mark_are_bytes_of_a_value() -> None:
    raw = b"a=b+c?d" + b"e" * 13
    assert parse_announce(query(info_hash=raw)).info_hash == raw


def test_second_question_mark_before_the_parameters_is_refused() -> None:
    glued = b"passkey=" + b"0" * 32 + b"?" + query()
    assert refusal(glued) == "A second ? stands where & belongs."


def test_compact_and_peer_id_wishes() -> None:
    plain = parse_announce(query())
    assert (plain.compact, plain.no_peer_id) == (True, False)
    wishes = parse_announce(query(compact=b"0", no_peer_id=b"1"))
    assert (wishes.compact, wishes.no_peer_id) == (False, True)


def test_unknown_event_is_none_and_broken_key_is_opaque() -> None:
    request = parse_announce(query(event=b"paused", key=b"%zz"))
    assert (request.event, request.key) == (wire.EVENT_NONE, b"%zz")


def expect_request_or_refusal(raw: bytes) -> None:
    try:
        request = parse_announce(raw)
    except Refusal:
        return
    assert isinstance(request, AnnounceRequest)
    assert len(request.info_hash) == len(request.peer_id) == 20
    assert 1 <= request.port <= 65535
    assert 0 <= request.uploaded < 2**63
    assert 0 <= request.downloaded < 2**63
    assert 0 <= request.left < 2**63 or request.left == wire.UNKNOWN_LEFT
    assert -1 <= request.numwant <= NUMWANT_CEILING


@given(st.binary(max_size=300))
def test_any_bytes_give_a_request_or_a_refusal(raw: bytes) -> None:
    expect_request_or_refusal(raw)


VALUES = st.one_of(
    st.binary(max_size=30),
    st.integers(-(2**70), 2**70).map(lambda number: str(number).encode()),
    st.sampled_from([b"h" * 20, b"%41" * 20, b"%", b"", b"started", "٣".encode()]),
)
NAMES = st.sampled_from(
    [
        "info_hash",
        "peer_id",
        "port",
        "uploaded",
        "downloaded",
        "left",
        "event",
        "numwant",
        "key",
        "compact",
        "passkey",
        "ip",
    ]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_any_parameters_give_a_request_or_a_refusal(pairs: list[tuple[str, bytes]]) -> None:
    expect_request_or_refusal(b"&".join(name.encode() + b"=" + value for name, value in pairs))


@given(
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=20, max_size=20),
    st.lists(st.sampled_from(["raw", "upper", "lower"]), min_size=20, max_size=20),
)
def test_every_spelling_of_a_hash_means_the_same(
    raw: bytes, peer_id: bytes, spellings: list[str]
) -> None:
    spelled = b""
    for byte, spelling in zip(raw, spellings, strict=True):
        if spelling == "raw" and byte not in b"%&":
            spelled += bytes((byte,))
        elif spelling == "lower":
            spelled += b"%%%02x" % byte
        else:
            spelled += b"%%%02X" % byte
    escaped_id = b"".join(b"%%%02x" % byte for byte in peer_id)
    request = parse_announce(query(info_hash=spelled, peer_id=escaped_id))
    assert (request.info_hash, request.peer_id) == (raw, peer_id)


@given(st.binary(max_size=60))
def test_unescape_takes_all_or_nothing(raw: bytes) -> None:
    decoded = unescape(raw)
    if decoded is not None:
        assert len(decoded) == len(raw) - 2 * raw.count(b"%")


def test_decoded_hashes_are_remembered_within_bounds() -> None:
    """Whoever sends ever new ones, or long ones that are none, must not fill the memory."""
    memory = getattr(unescape_hash, "__self__")  # noqa: B009  typed as a plain callable
    before = len(memory)
    assert unescape_hash(b"%41" * 1_000) == b"A" * 1_000
    assert unescape_hash(b"%4") is None
    assert len(memory) == before
    sizes = []
    for number in range(40_000):
        raw = b"%%41%019d" % number
        assert unescape_hash(raw) == unescape(raw)
        sizes.append(len(memory))
    assert max(sizes) == 32_768
    assert unescape_hash(raw) is unescape_hash(raw)
