"""Scrapes over HTTP and UDP: what is asked, who may see it, and how it is answered."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.running_shards import entry, hash_of, running_shards
from tests.tracker.running_tracker import (
    Feed,
    RunningTracker,
    account,
    body_of,
    escape,
    general_key,
    info_hash,
    request,
    running_tracker,
    torrent,
    torrent_key,
)
from tests.tracker.udp_client import UdpClient
from tracker import wire
from tracker.protocol.refusals import Refusal
from tracker.protocol.scrape import (
    HASHES_LIMIT,
    SwarmFigures,
    pack_figures,
    parse_scrape,
    parse_scrape_packet,
    unpack_figures,
    write_scrape,
    write_scraped,
)

PENDING, CLOSED, UNKNOWN = 11, 12, 99


def hashes_of(*torrents: int) -> str:
    return "&".join(f"info_hash={escape(info_hash(number))}" for number in torrents)


@pytest.fixture
def tracker(redis_url: str) -> Iterator[RunningTracker]:
    feed = Feed(redis_url)
    feed.publish(
        [account(1), account(2), account(3, flags=0)],
        [
            torrent(10),
            torrent(PENDING, state=wire.TORRENT_PENDING, uploader=2),
            torrent(CLOSED, state=wire.TORRENT_CLOSED),
            torrent(13),
        ],
    )
    with running_tracker(redis_url) as running:
        yield running


def scrape(tracker: RunningTracker, query: str, key: str = "") -> dict[bytes, Any]:
    return body_of(request(tracker.port, f"/scrape{'/' + key if key else ''}?{query}"))


def test_scrape_counts_seeders_and_leechers_of_each_torrent(tracker: RunningTracker) -> None:
    key = general_key(1)
    tracker.announce(key, 10, "a", port=5001)
    tracker.announce(general_key(2), 10, "b", port=5002, left=5)
    expected = {b"complete": 1, b"downloaded": 0, b"incomplete": 1}
    empty = {b"complete": 0, b"downloaded": 0, b"incomplete": 0}
    for answer in (
        scrape(tracker, hashes_of(10, 13), key),
        scrape(tracker, f"passkey={key}&{hashes_of(13, 10, 10)}"),
    ):
        assert answer[b"files"] == {info_hash(10): expected, info_hash(13): empty}
        assert answer[b"flags"] == {b"min_request_interval": 900}


def test_scrape_leaves_out_what_the_member_may_not_see(tracker: RunningTracker) -> None:
    asked = hashes_of(10, PENDING, CLOSED, UNKNOWN)
    assert set(scrape(tracker, asked, general_key(1))[b"files"]) == {info_hash(10)}
    seen = set(scrape(tracker, asked, general_key(2))[b"files"])
    assert seen == {info_hash(10), info_hash(PENDING)}


def test_scrape_with_a_key_of_one_torrent_sees_that_one(tracker: RunningTracker) -> None:
    key = torrent_key(1, 10)
    assert set(scrape(tracker, hashes_of(10, 13), key)[b"files"]) == {info_hash(10)}
    assert scrape(tracker, hashes_of(13), key)[b"failure reason"] == b"Invalid passkey"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"/scrape?{hashes_of(10)}", b"Passkey required"),
        (f"/scrape/abc?{hashes_of(10)}", b"Invalid passkey"),
        (f"/scrape/{general_key(4)}?{hashes_of(10)}", b"Invalid passkey"),
        (f"/scrape/{general_key(3)}?{hashes_of(10)}", b"User is banned"),
        (f"/scrape/{general_key(1)}", b"Missing info_hash"),
        (f"/scrape/{general_key(1)}?info_hash=", b"Invalid info_hash length"),
        (f"/scrape/{general_key(1)}?info_hash=abc", b"Invalid info_hash length"),
        (f"/scrape/{general_key(1)}?passkey=x&{hashes_of(10)}", b"Passkey given twice"),
        (f"/scrape?passkey=a&passkey=b&{hashes_of(10)}", b"Duplicate passkey"),
        (
            f"/scrape?passkey={general_key(1)}?{hashes_of(10)}",
            b"A second ? stands where & belongs.",
        ),
    ],
)
def test_scrape_explains_what_it_refuses(tracker: RunningTracker, path: str, reason: bytes) -> None:
    assert body_of(request(tracker.port, path)) == {b"failure reason": reason}


def test_scrape_takes_at_most_74_hashes() -> None:
    pairs = [b"info_hash=%018d%%%02x" % (number, number) + b"x" for number in range(75)]
    query = b"&".join(pairs[:HASHES_LIMIT])
    assert len(parse_scrape(query).hashes) == HASHES_LIMIT
    with pytest.raises(Refusal, match="info_hash_many"):
        parse_scrape(query + b"&" + pairs[-1])
    packet = bytes(16) + bytes(20) * 75
    with pytest.raises(Refusal, match="info_hash_many"):
        parse_scrape_packet(packet)
    assert len(parse_scrape_packet(packet[:-20]).hashes) == HASHES_LIMIT


def test_udp_scrape_without_a_key_is_told_so_at_once(tracker: RunningTracker) -> None:
    with UdpClient(tracker.udp_port) as client:
        identity = client.connect()
        client.send(identity + struct.pack(">I", 2) + b"abcd" + info_hash(10))
        assert client.receive() == (
            struct.pack(">I", 3) + b"abcd" + b"Scrape needs a passkey: use HTTP."
        )


def url_option(url: bytes) -> bytes:
    return bytes((2, len(url))) + url


@pytest.mark.parametrize("path", ["/scrape/{}", "/scrape?passkey={}", "/announce?passkey={}"])
def test_udp_scrape_with_a_key_answers_in_the_order_asked(
    tracker: RunningTracker, path: str
) -> None:
    key = general_key(1)
    tracker.announce(key, 10, left=7)
    asked = info_hash(UNKNOWN) + info_hash(10) + info_hash(PENDING)
    with UdpClient(tracker.udp_port) as client:
        identity = client.connect()
        options = url_option(path.format(key).encode())
        client.send(identity + struct.pack(">I", 2) + b"abcd" + asked + options)
        figures = struct.pack(">9I", 0, 0, 0, 0, 0, 1, 0, 0, 0)
        assert client.receive() == struct.pack(">I", 2) + b"abcd" + figures


def test_udp_scrape_with_a_wrong_key_is_refused(tracker: RunningTracker) -> None:
    with UdpClient(tracker.udp_port) as client:
        identity = client.connect()
        head = identity + struct.pack(">I", 2) + b"abcd" + info_hash(10)
        client.send(head + url_option(b"/scrape/" + b"0" * 32))
        assert client.receive()[8:] == b"Invalid passkey"


def test_udp_scrape_packets_may_be_padded() -> None:
    packet = bytes(16) + b"h" * 20 + b"\0\0"
    assert parse_scrape_packet(packet) == ((b"h" * 20,), b"")


def test_udp_hashes_that_look_like_options_stay_hashes() -> None:
    looks_like = bytes((2, 18)) + b"x" * 18
    assert parse_scrape_packet(bytes(16) + b"h" * 20 + looks_like) == (
        (b"h" * 20, looks_like),
        b"",
    )


@given(st.binary(min_size=36, max_size=400))
def test_any_scrape_packet_gives_one_reading(packet: bytes) -> None:
    try:
        asked = parse_scrape_packet(packet)
    except Refusal:
        return
    assert all(len(one) == 20 for one in asked.hashes)
    assert len(write_scraped(b"abcd", asked.hashes, {})) == 8 + 12 * len(asked.hashes)


@given(st.binary(max_size=300))
def test_any_scrape_query_gives_one_reading(query: bytes) -> None:
    try:
        asked = parse_scrape(query)
    except Refusal:
        return
    assert len(set(asked.hashes)) == len(asked.hashes) > 0


def test_figures_travel_between_shards() -> None:
    figures = {b"b" * 20: SwarmFigures(3, 4), b"a" * 20: SwarmFigures(2**32 - 1, 0)}
    assert unpack_figures(pack_figures(figures)) == figures
    with pytest.raises(struct.error):
        unpack_figures(pack_figures(figures)[:-1])
    assert write_scrape(figures, 60).startswith(b"d5:filesd20:" + b"a" * 20 + b"d8:complete")


def test_a_scrape_gathers_the_figures_of_all_shards(redis_url: str) -> None:
    Feed(redis_url).publish([account(1)], [entry(10, 0), entry(20, 1)])
    both = f"info_hash={escape(hash_of(0, 10))}&info_hash={escape(hash_of(1, 20))}"
    with running_shards(redis_url) as shards:
        shards.announce(1, hash_of(0, 10), at=0)
        shards.announce(1, hash_of(1, 20), at=1, left=5)
        for shard in range(2):
            port = shards.own_http[shard].getsockname()[1]
            found = body_of(request(port, f"/scrape/{general_key(1)}?{both}"))[b"files"]
            assert found[hash_of(0, 10)][b"complete"] == found[hash_of(1, 20)][b"incomplete"] == 1
        shards.running[1].stop()
        shards.links[1][0].close()
        port = shards.own_http[0].getsockname()[1]
        away = body_of(request(port, f"/scrape/{general_key(1)}?{both}"))
        assert b"cannot record" in away[b"failure reason"]
