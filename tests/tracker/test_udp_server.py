"""Announces over real UDP sockets, a real tracker and a real Redis."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from tests.tracker.redis_gate import redis_gate
from tests.tracker.running_tracker import (
    CONNECTION_KEY,
    Feed,
    RunningTracker,
    account,
    eventually,
    general_key,
    info_hash,
    peer_id,
    running_tracker,
    torrent,
    torrent_key,
)
from tests.tracker.udp_client import CONNECT, TRANSACTION, UdpClient, announce_packet, url_options
from tracker import wire
from tracker.connection_ids import ConnectionIds
from tracker.shard import ShardNumbers

LOOPBACK = bytes((127, 0, 0, 1))
PATIENT = ShardNumbers(pending_seconds=30)


def error(text: str) -> bytes:
    return struct.pack(">I", 3) + TRANSACTION + text.encode()


EXPIRED = error("Connection ID expired")


def endpoint(host: str, port: int) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host) + port.to_bytes(2, "big")


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish([account(number) for number in range(1, 9)], [torrent(10), torrent(11)])
    return feed


def is_silent(client: UdpClient) -> bool:
    """Whether nothing came back before the answer to a connect sent afterwards.

    The tracker serves a socket's datagrams in order, so this needs no waiting.
    """
    return client.ask(CONNECT + b"last")[:8] == bytes(4) + b"last"


def test_announce_is_answered_and_recorded_once(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        answer = client.announce(
            general_key(1), 10, uploaded=7, downloaded=8, left=9, event=2, key=0x1A2B3C4D
        )
        health = tracker.service.counters
        assert (health.datagrams, health.announces) == (2, 1)
    action, transaction, interval, leechers, seeders = struct.unpack(">I4sIII", answer)
    assert (action, transaction, leechers, seeders) == (1, TRANSACTION, 1, 0)
    (record,) = feed.records()
    assert (record.torrent, record.account, record.peer) == (10, 1, peer_id("a"))
    assert (record.up, record.down, record.left) == (7, 8, 9)
    assert (record.event, record.protocol) == (wire.EVENT_STARTED, wire.PROTOCOL_UDP)
    assert (record.family, record.port, record.interval) == (4, 5001, interval)
    assert record.address == bytes(10) + b"\xff\xff" + LOOPBACK


def test_torrent_key_opens_its_torrent_only(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        assert client.announce(torrent_key(1, 10), 10)[:4] == b"\x00\x00\x00\x01"
        assert client.announce(torrent_key(1, 10), 11) == error("Invalid passkey")
    assert [record.torrent for record in feed.records()] == [10]


def test_answer_waits_for_its_record(feed: Feed, redis_url: str) -> None:
    with (
        redis_gate(redis_url) as gate,
        running_tracker(gate.url, PATIENT) as tracker,
        UdpClient(tracker.udp_port) as client,
    ):
        id_ = client.connect()
        gate.loses_replies = True
        options = url_options(f"/announce/{general_key(1)}".encode())
        client.send(announce_packet(id_, info_hash(10), peer_id("a")) + options)
        eventually(lambda: len(feed.records()) == 1, "the record did not reach Redis")
        assert is_silent(client)
        gate.loses_replies = False
        gate.cut()
        assert client.receive()[:4] == b"\x00\x00\x00\x01"
    assert len(feed.records()) == 1


def test_redis_away_means_an_error(feed: Feed, redis_url: str) -> None:
    numbers = ShardNumbers(pending_seconds=0.3)
    away = error("The tracker cannot record announces at the moment.")
    with (
        redis_gate(redis_url) as gate,
        running_tracker(gate.url, numbers) as tracker,
        UdpClient(tracker.udp_port) as client,
    ):
        assert client.announce(general_key(1), 10)[:4] == b"\x00\x00\x00\x01"
        gate.silent = True
        assert client.announce(general_key(2), 10, "b") == away
        assert client.announce(general_key(3), 10, "c") == away
        gate.silent = False
        eventually(
            lambda: client.announce(general_key(4), 10, "d")[:4] == b"\x00\x00\x00\x01",
            "the tracker did not come back",
        )


@pytest.mark.parametrize(
    ("minutes", "address", "works"),
    [
        (0, LOOPBACK, True),
        (1, LOOPBACK, True),
        (3, LOOPBACK, False),
        (0, bytes((127, 0, 0, 2)), False),
        (0, bytes(15) + b"\x01", False),
    ],
    ids=["now", "last minute", "old", "other address", "other family"],
)
def test_connection_id_is_checked(
    feed: Feed, redis_url: str, minutes: int, address: bytes, works: bool
) -> None:
    issued = time.time() - 60 * minutes
    # The tracker's minute may change before it looks; keep away from the end of one.
    if minutes == 1 and issued % 60 > 50:
        issued += 10
    ids = ConnectionIds({1: CONNECTION_KEY}, lambda: issued)
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        answer = client.announce(general_key(1), 10, id_=ids.issue(address))
        assert (answer[:4] == b"\x00\x00\x00\x01") is works
        assert works or answer == EXPIRED
        assert client.announce(general_key(1), 10)[:4] == b"\x00\x00\x00\x01"
    assert len(feed.records()) == 1 + works


def test_connection_id_works_from_another_port(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        with UdpClient(tracker.udp_port) as first:
            id_ = first.connect()
        with UdpClient(tracker.udp_port) as second:
            answer = second.announce(general_key(1), 10, id_=id_)
    assert answer[:4] == b"\x00\x00\x00\x01"


@pytest.mark.parametrize("options", [b"", b"\x00\x00", url_options(b"/announce")])
def test_keyless_announce_gets_an_error_after_a_proven_id(
    feed: Feed, redis_url: str, options: bytes
) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        plain = announce_packet(client.connect(), info_hash(10), peer_id("a")) + options
        assert client.ask(plain) == error("Passkey required")
        assert client.ask(bytes(8) + plain[8:]) == EXPIRED
    assert feed.records() == []


def test_scrape_gets_an_error_after_a_proven_id(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        asked = struct.pack(">I", 2) + TRANSACTION + info_hash(10)
        assert client.ask(client.connect() + asked) == error("Scrape needs a passkey: use HTTP.")
        assert client.ask(bytes(8) + asked) == EXPIRED


def test_garbage_gets_nothing(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        id_ = client.connect()
        whole = announce_packet(id_, info_hash(10), peer_id("a"))
        for garbage in (b"", b"\x00", (CONNECT + TRANSACTION)[:15], whole[:97], bytes(4000)):
            client.send(garbage)
        for action in (2, 3, 4, 1 << 31):
            client.send(id_ + struct.pack(">I", action) + TRANSACTION + bytes(19))
        client.send(bytes(8) + (CONNECT + TRANSACTION)[8:])
        assert is_silent(client)
        assert tracker.service.counters.datagrams_ignored == 10
    assert feed.records() == []


def test_unproven_senders_never_get_more_than_they_sent(feed: Feed, redis_url: str) -> None:
    options = url_options(f"/announce/{general_key(1)}".encode())
    head = announce_packet(bytes(8), info_hash(10), peer_id("a"))
    scrape = bytes(8) + struct.pack(">I", 2) + TRANSACTION + info_hash(10)
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        for packet in (CONNECT + TRANSACTION, head, head + options, head + b"\x02", scrape):
            assert len(client.ask(packet)) <= len(packet)


def test_address_in_the_packet_is_ignored(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        client.announce(general_key(1), 10, ip=0xCB007109)
        answer = client.announce(general_key(2), 10, "b", port=5002, left=1)
    assert answer[20:] == endpoint("127.0.0.1", 5001)


def test_out_of_bounds_totals_are_refused(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        assert client.announce(general_key(1), 10, uploaded=1 << 63) == error("Invalid uploaded")
        client.announce(general_key(1), 10, left=(1 << 64) - 1)
    (record,) = feed.records()
    assert record.left == wire.UNKNOWN_LEFT


def _seed_on_both(tracker: RunningTracker, clients: tuple[UdpClient, UdpClient]) -> None:
    """Members 1 to 3 seed: over UDP on both families, HTTP and UDP mixed, IPv6 alone."""
    for client in clients:
        client.announce(general_key(1), 10, "one", port=5001)
    tracker.announce(general_key(2), 10, "two", port=5002, host="::1")
    clients[0].announce(general_key(2), 10, "two", port=5002)
    clients[1].announce(general_key(3), 10, "three", port=5003)


def test_each_family_gets_its_own_peers(feed: Feed, redis_url: str) -> None:
    with (
        running_tracker(redis_url) as tracker,
        UdpClient(tracker.udp_port) as v4,
        UdpClient(tracker.udp_port, "::1") as v6,
    ):
        _seed_on_both(tracker, (v4, v6))
        by_v4 = v4.announce(general_key(4), 10, "four", port=5004, left=1)
        by_v6 = v6.announce(general_key(4), 10, "four", port=5004, left=1)
        over_http = tracker.announce(general_key(5), 10, "five", port=5005, left=1)
        # Not split in halves: all that is asked for comes from the asker's family.
        few = v6.announce(general_key(6), 10, "six", port=5006, left=1, num_want=4)
    # A client on two families, or two protocols, is one peer.
    assert struct.unpack(">II", by_v4[12:20]) == (1, 3)
    assert struct.unpack(">II", by_v6[12:20]) == (1, 3)
    peers4 = {by_v4[at : at + 6] for at in range(20, len(by_v4), 6)}
    assert peers4 == {endpoint("127.0.0.1", 5001), endpoint("127.0.0.1", 5002)}
    peers6 = {by_v6[at : at + 18] for at in range(20, len(by_v6), 18)}
    assert peers6 == {endpoint("::1", port) for port in (5001, 5002, 5003)}
    assert (over_http[b"complete"], over_http[b"incomplete"]) == (3, 2)
    assert len(few) == 20 + 4 * 18


def test_asker_is_never_among_the_peers(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port, "::1") as client:
        for _ in range(2):
            answer = client.announce(general_key(1), 10, left=1)
            assert answer[20:] == b""
        answer = client.announce(general_key(2), 10, "b", port=5002, left=1)
    assert answer[20:] == endpoint("::1", 5001)
