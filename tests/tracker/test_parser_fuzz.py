"""Real announces with changed bytes: a reading or a refusal in words, whatever comes.

100,000 inputs in the suite and 1,500,000 with `TRACKARR_NIGHTLY=1`; a failure names its seed.
Hypothesis tries each parser besides (test_announce_query, test_udp_packets, test_scrapes,
test_http_requests, test_usual_announce).
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracker.client_announces import ANNOUNCES, HASH
from tests.tracker.udp_client import CONNECT, TRANSACTION, announce_packet, url_options
from tracker.protocol.announce import (
    EVENTS,
    NUMWANT_CEILING,
    TOTAL_LIMIT,
    AnnounceRequest,
    parse_announce,
    unescape,
)
from tracker.protocol.http_requests import HEAD_END, BadRequest, parse_head
from tracker.protocol.refusals import Refusal
from tracker.protocol.scrape import HASHES_LIMIT, parse_scrape, parse_scrape_packet
from tracker.protocol.udp_packets import (
    ACTION_ANNOUNCE,
    ACTION_SCRAPE,
    URL_LIMIT,
    parse_announce_packet,
    read_head,
    read_passkey_option,
    read_url_options,
)
from tracker.protocol.usual_announce import read_usual_announce
from tracker.wire import UNKNOWN_LEFT

NIGHTLY: Final = os.environ.get("TRACKARR_NIGHTLY") == "1"
INPUTS: Final = 300_000 if NIGHTLY else 20_000
"""Of each of the five corpora."""
KEY: Final = b"0123456789abcdef" * 2
URLS: Final = (b"/announce/" + KEY, b"/announce?passkey=" + KEY, b"/scrape?passkey=" + KEY)
SCRAPS: Final = (
    *(b"&", b"=", b"?", b"%", b"%0", b"%ff", b"+", b"#", b" ", b"\r\n", b"\r\n\r\n", b"\0"),
    *(
        b"-1",
        b"9223372036854775808",
        b"18446744073709551615",
        b"1e9",
        b"9" * 400,
        b"_",
        b"\xd9\xa3",
    ),
    *(b"&info_hash=", b"&left=", b"&uploaded=", b"&passkey=", b"&event=completed", b"passkey="),
    *(b"\x02\xff", b"\x02\x00", b"\x01\x01", b"\xff" * 8, b"\x80" + bytes(7), HASH.hex().encode()),
    *(b"Content-Length: 5\r\n", b"Connection: close\r\n", b"HTTP/1.1", b"GET ", b"http://"),
)
HEADERS: Final = b" HTTP/1.1\r\nHost: t\r\nUser-Agent: x\r\nConnection: close\r\n\r\n"

QUERIES: Final = tuple(sent.query for sent in ANNOUNCES)
SCRAPES: Final = tuple(
    b"&".join([b"info_hash=" + b"%00" * 20] * count + [b"passkey=" + KEY]) for count in (1, 3, 74)
)
PACKETS: Final = tuple(
    announce_packet(bytes(8), HASH, sent.peer_id, left=sent.left, port=sent.port) + options
    for sent in ANNOUNCES
    for options in (b"", b"\0\0", *(url_options(url, 9) for url in URLS), url_options(URLS[0]))
)
SCRAPE_PACKETS: Final = tuple(
    bytes(8) + struct.pack(">I", ACTION_SCRAPE) + TRANSACTION + HASH * count + url_options(URLS[2])
    for count in (1, 2, 74)
)


def mutated(source: bytes, chance: random.Random) -> bytes:
    """The source with one to four changes: bytes set, cut, doubled, or a scrap put in."""
    raw = bytearray(source)
    for _ in range(chance.randrange(1, 5)):
        start = chance.randrange(len(raw) + 1)
        end = min(len(raw), start + chance.randrange(8))
        kind = chance.randrange(5)
        if kind == 0:
            raw[start:end] = chance.randbytes(end - start)
        elif kind == 1:
            raw[start:end] = b""
        elif kind == 2:
            raw[start:start] = raw[start - 20 : end]
        elif kind == 3:
            raw[start:end] = chance.choice(SCRAPS)
        else:
            del raw[start + chance.randrange(200) :]
    return bytes(raw)


def check(request: AnnounceRequest) -> None:
    """What any reading of an announce promises."""
    assert len(request.info_hash) == len(request.peer_id) == 20
    assert 1 <= request.port <= 65_535
    assert 0 <= request.uploaded < TOTAL_LIMIT
    assert 0 <= request.downloaded < TOTAL_LIMIT
    assert 0 <= request.left < TOTAL_LIMIT or request.left == UNKNOWN_LEFT
    assert -1 <= request.numwant <= NUMWANT_CEILING
    assert b"?" not in request.passkey


def read_query(raw: bytes) -> None:
    check(parse_announce(raw))


def read_scrape(raw: bytes) -> None:
    asked = parse_scrape(raw)
    assert 1 <= len(asked.hashes) <= HASHES_LIMIT
    assert {len(hash_) for hash_ in asked.hashes} == {20}


def read_datagram(raw: bytes) -> None:
    """As the server does: nothing reaches a parser that has no whole head."""
    head = read_head(raw)
    if head is None:
        return
    if head.action == ACTION_ANNOUNCE:
        check(parse_announce_packet(raw))
        assert len(read_url_options(raw, 98)) <= URL_LIMIT
    elif head.action == ACTION_SCRAPE:
        assert 1 <= len(parse_scrape_packet(raw).hashes) <= HASHES_LIMIT


def read_http(raw: bytes) -> None:
    """A whole request; where the quick reading takes it, the plain one says the same."""
    usual = read_usual_announce(raw)
    head = parse_head(raw.partition(HEAD_END)[0])
    assert b" " not in head.path
    assert b"\r\n" not in head.path
    if usual is None:
        if head.query:
            read_query(head.query)
        return
    request, passkey, kept = usual
    assert (head.path, head.keep_alive) == (b"/announce/" + passkey, kept)
    assert parse_announce(head.query) == request


HTTP: Final = tuple(b"GET " + URLS[0] + b"?" + query + HEADERS for query in QUERIES)
FUZZED: Final[tuple[tuple[Callable[[bytes], None], tuple[bytes, ...]], ...]] = (
    (read_query, QUERIES),
    (read_scrape, SCRAPES),
    (read_datagram, PACKETS),
    (read_datagram, (*SCRAPE_PACKETS, CONNECT + TRANSACTION)),
    (read_http, HTTP),
)


@pytest.mark.timeout(1800 if NIGHTLY else 120)
@pytest.mark.parametrize(
    ("read", "sources"), FUZZED, ids=["announce", "scrape", "udp", "udp-scrape", "http"]
)
def test_changed_announces_are_read_or_refused(
    read: Callable[[bytes], None], sources: tuple[bytes, ...]
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    taken = 0
    for number in range(INPUTS):
        raw = mutated(chance.choice(sources), chance)
        try:
            read(raw)
        except (Refusal, BadRequest):
            continue
        except Exception as fault:
            raise AssertionError(f"seed {seed}, input {number}: {raw!r}") from fault
        taken += 1
    # Mutation that leaves nothing readable would try nothing but refusals.
    assert INPUTS // 50 < taken < INPUTS


ANY_TOTAL = st.integers(0, 2**64 - 1)


@given(
    totals=st.tuples(ANY_TOTAL, ANY_TOTAL, ANY_TOTAL),
    event=st.sampled_from([(b"", 0), (b"completed", 1), (b"started", 2), (b"stopped", 3)]),
    numwant=st.integers(-(2**31), 2**31 - 1),
    key=st.integers(0, 2**32 - 1),
    port=st.integers(0, 65_535),
    peer=st.binary(min_size=20, max_size=20),
)
@settings(max_examples=2000 if NIGHTLY else 200, deadline=None)
def test_one_announce_means_the_same_over_http_and_udp(
    totals: tuple[int, int, int],
    event: tuple[bytes, int],
    numwant: int,
    key: int,
    port: int,
    peer: bytes,
) -> None:
    up, down, left = totals
    word, number = event
    query = b"info_hash=%b&peer_id=%b&port=%d&uploaded=%d&downloaded=%d&left=%d&numwant=%d" % (
        escaped(HASH),
        escaped(peer),
        *(port, up, down, left, numwant),
    )
    query += b"&no_peer_id=1&event=%b&passkey=%b" % (word, KEY) + (
        b"&key=%08X" % key if key else b""
    )
    packet = announce_packet(
        bytes(8),
        HASH,
        peer,
        uploaded=up,
        downloaded=down,
        left=left,
        event=number,
        num_want=numwant,
        key=key,
        port=port,
    )
    packet += url_options(b"/announce?passkey=" + KEY)
    assert meaning(parse_announce, query) == meaning(parse_announce_packet, packet)


def escaped(raw: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in raw)


def meaning(parse: Callable[[bytes], AnnounceRequest], raw: bytes) -> AnnounceRequest | str:
    try:
        return parse(raw)
    except Refusal as refusal:
        return refusal.code


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_any_options_give_a_key_of_the_url_or_a_refusal(options: bytes) -> None:
    packet = announce_packet(bytes(8), HASH, ANNOUNCES[0].peer_id) + options
    try:
        passkey = read_passkey_option(packet)
    except Refusal:
        return
    assert passkey in read_url_options(packet, 98)


def test_the_corpus_is_read_as_it_stands() -> None:
    assert set(EVENTS) == {b"started", b"completed", b"stopped"}
    assert unescape(escaped(bytes(range(256)))) == bytes(range(256))
    for read, sources in FUZZED:
        for source in sources:
            read(source)
