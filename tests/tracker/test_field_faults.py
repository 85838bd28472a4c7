"""Faults other trackers had in the field, tried on ours from the announce to the credit.

Rows that have a test elsewhere: planted addresses (test_proxies), escapes of one hash
(test_tracker_service), IPv6 over UDP (test_udp_server), real dual-stack and hybrid clients
(tests/e2e/test_transfer), metrics without keys (test_metrics).
"""

from __future__ import annotations

import json
import socket
import time

import pytest

from domain.credit import CreditModel, CreditPolicy, PeerRecord, Sums
from tests.tracker.announcer import Announcer
from tests.tracker.running_tracker import (
    CONNECTION_KEY,
    DEADLINE,
    Feed,
    RunningTracker,
    account,
    announce_path,
    body_of,
    escape,
    general_key,
    info_hash,
    peer_id,
    read_all,
    request,
    running_tracker,
    torrent,
)
from tests.tracker.udp_client import TRANSACTION, UdpClient
from tracker import wire
from tracker.clock import ShardClock
from tracker.connection_ids import ConnectionIds

REASON = b"failure reason"
ALIAS = b"truncated v2 hash" + bytes(3)
V4, V6 = "127.0.0.1", "::1"
HOUR = 3600


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish(
        [account(number) for number in range(1, 9)],
        [torrent(10), torrent(11), torrent(13, alias=ALIAS)],
    )
    return feed


def model_of(records: list[wire.PeerRecord]) -> CreditModel:
    """What the rule book makes of these records."""
    model = CreditModel()
    model.fold(
        [
            PeerRecord(
                at=record.at,
                torrent=record.torrent,
                account=record.account,
                peer=record.peer,
                uploaded=record.up,
                downloaded=record.down,
                left=record.left,
                event=record.event,
                late=bool(record.flags & wire.FLAG_LATE),
                interval=record.interval,
            )
            for record in records
        ],
        CreditPolicy(),
        batch=1,
    )
    return model


def credit_of(records: list[wire.PeerRecord], member: int = 1) -> Sums:
    return model_of(records).members.get(member, Sums())


def test_dual_stack_client_is_one_peer_and_credited_once(feed: Feed, redis_url: str) -> None:
    """libtorrent issue 7653."""
    with running_tracker(redis_url) as tracker:
        for total, event in ((0, "started"), (1_000_000, "")):
            for host in (V4, V6):
                answer = tracker.announce(
                    general_key(1), 10, host=host, key="AB", left=5, uploaded=total, event=event
                )
                assert (answer[b"complete"], answer[b"incomplete"]) == (0, 1)
        seen = tracker.announce(general_key(3), 10, "c", port=5003, left=5)
    port = (5001).to_bytes(2, "big")
    assert seen[b"peers"] == socket.inet_aton(V4) + port
    assert seen[b"peers6"] == socket.inet_pton(socket.AF_INET6, V6) + port
    assert credit_of(feed.records()).uploaded == 1_000_000


def test_completed_four_times_is_one_snatch(feed: Feed, redis_url: str) -> None:
    """qBittorrent issue 13799."""
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10, left=9, event="started")
        for _ in range(4):
            tracker.announce(general_key(1), 10, left=0, downloaded=9, event="completed")
    records = feed.records()
    records.append(records[-1]._replace(at=records[-1].at + 60_000_000))
    sums = credit_of(records)
    assert (sums.snatches, sums.downloaded) == (1, 9)


@pytest.mark.parametrize("stop_left", ["16384", str(2**64 - 1)], ids=["http", "as over UDP"])
def test_seeder_that_starts_as_webtorrent_does_snatches_nothing(
    feed: Feed, redis_url: str, stop_left: str
) -> None:
    """bittorrent-tracker PR 185, qBittorrent issue 13799: full totals, and `completed` at once."""
    with running_tracker(redis_url) as tracker:
        for event in ("started", "completed"):
            answer = tracker.announce(general_key(1), 10, downloaded=4_194_304, event=event)
            assert (answer[b"complete"], answer[b"incomplete"]) == (1, 0)
        tracker.announce(general_key(1), 10, left=stop_left, event="stopped")
    sums = credit_of(feed.records())
    assert (sums.snatches, sums.downloaded, sums.uploaded) == (0, 0, 0)


HEX = info_hash(10).hex()
ESCAPED = escape(info_hash(10))


@pytest.mark.parametrize(
    "spelled",
    [HEX, HEX.upper(), ESCAPED[:-3], ESCAPED + "%00", "", f"{ESCAPED}&info_hash={escape(ALIAS)}"],
    ids=["hex", "HEX", "19 bytes", "21 bytes", "empty", "twice"],
)
def test_a_wrong_hash_is_refused_by_name(feed: Feed, redis_url: str, spelled: str) -> None:
    """bittorrent-tracker issues 324 and 476."""
    with running_tracker(redis_url) as tracker:
        answer = tracker.announce(general_key(1), 10, info_hash=spelled)
        without = announce_path(general_key(1), 10).replace(f"info_hash={ESCAPED}&", "")
        missing = body_of(request(tracker.port, without))
    assert b"info_hash" in answer[REASON]
    assert missing == {REASON: b"Missing info_hash"}
    assert feed.records() == []


def test_every_escape_of_a_hash_is_the_same_swarm(feed: Feed, redis_url: str) -> None:
    """bittorrent-tracker issue 32."""
    raw = "".join(
        chr(byte) if chr(byte) in "()!*'~+?/" else f"%{byte:02x}" for byte in info_hash(10)
    )
    with running_tracker(redis_url) as tracker:
        for spelled in (ESCAPED, ESCAPED.lower(), raw):
            answer = tracker.announce(general_key(1), 10, info_hash=spelled)
            assert answer[b"complete"] == 1
    assert {record.torrent for record in feed.records()} == {10}


def test_connection_id_after_130_seconds_opens_nothing(feed: Feed, redis_url: str) -> None:
    """chihaya issue 417."""
    old = ConnectionIds({1: CONNECTION_KEY}, lambda: time.time() - 130)
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        answer = client.announce(general_key(1), 10, id_=old.issue(socket.inet_aton(V4)))
        assert answer == b"\0\0\0\3" + TRANSACTION + b"Connection ID expired"
        assert feed.records() == []
        assert client.announce(general_key(1), 10)[:4] == b"\0\0\0\1"


def test_ipv6_over_udp_is_told_as_it_is_and_ipv4_stays(feed: Feed, redis_url: str) -> None:
    """bittorrent-tracker issue 508."""
    with (
        running_tracker(redis_url) as tracker,
        UdpClient(tracker.udp_port) as by_v4,
        UdpClient(tracker.udp_port, V6) as by_v6,
    ):
        by_v4.announce(general_key(1), 10, left=5)
        by_v6.announce(general_key(1), 10, left=5)
        seen6 = by_v6.announce(general_key(3), 10, "c", port=5003, left=5)
        seen4 = by_v4.announce(general_key(3), 10, "c", port=5003, left=5)
    port = (5001).to_bytes(2, "big")
    assert seen6[20:] == socket.inet_pton(socket.AF_INET6, V6) + port
    assert seen4[20:] == socket.inet_aton(V4) + port


def test_a_second_question_mark_is_refused(feed: Feed, redis_url: str) -> None:
    """RatioUp issue 16."""
    query = announce_path("", 10).partition("?")[2]
    with running_tracker(redis_url) as tracker:
        answer = body_of(request(tracker.port, f"/announce?passkey={general_key(1)}?{query}"))
        again = tracker.announce(general_key(1), 10)
    assert answer == {REASON: b"A second ? stands where & belongs."}
    assert REASON not in again
    assert len(feed.records()) == 1


@pytest.mark.parametrize(
    ("pause", "credited"),
    [(1, 5_100_000), (1800, 5_170_000)],
    ids=["overtaken", "at the next interval"],
)
def test_a_lower_total_after_completed_takes_nothing_away(pause: int, credited: int) -> None:
    """libtorrent issue 2724: within a minute it is late; later it is a new base line."""
    tracker = Announcer()
    for total, left, event in (
        (0, 9, wire.EVENT_STARTED),
        (5_000_000, 0, wire.EVENT_COMPLETED),
        (4_930_000, 0, wire.EVENT_NONE),
        (5_100_000, 0, wire.EVENT_NONE),
    ):
        tracker.announce(down=total, left=left, event=event)
        tracker.now += pause
    model = model_of(tracker.sink.records)
    assert model.members[1].downloaded == credited
    assert model.withheld == []


def test_both_hashes_of_a_hybrid_are_one_peer_and_one_credit(feed: Feed, redis_url: str) -> None:
    """torrust-index issue 300: a v1-only leecher meets the seeder by the other hash."""
    with running_tracker(redis_url) as tracker:
        for total in (0, 777):
            for spelled in (escape(info_hash(13)), escape(ALIAS)):
                answer = tracker.announce(
                    general_key(1), 13, info_hash=spelled, uploaded=total, key="AB"
                )
                assert answer[b"complete"] == 1
        v2 = tracker.announce(general_key(2), 13, "v2", port=5002, info_hash=escape(ALIAS))
        v1 = tracker.announce(general_key(3), 13, "v1", port=5003, left=5)
    assert v2[b"complete"] == 2
    assert len(v1[b"peers"]) == 2 * 6
    assert {record.torrent for record in feed.records()} == {13}
    assert credit_of(feed.records()).uploaded == 777


@pytest.mark.parametrize("jump", [HOUR, -2 * HOUR], ids=["an hour on", "two hours back"])
def test_a_jump_of_the_clock_drops_no_peers_and_makes_no_seed_time(jump: int) -> None:
    """valkey issue 2651, etcd issue 6700."""
    wall, ticks = [1_700_000_000], [50]
    clock = ShardClock(0, lambda: wall[0] * 10**9, lambda: ticks[0] * 10**9)
    tracker = Announcer()
    tracker.now = clock.now() // 1_000_000
    tracker.announce(1, "seed")
    wall[0] += jump
    ticks[0] += 60
    tracker.now = clock.now() // 1_000_000
    tracker.logic.expire()
    assert tracker.announce(2, "b", left=5, port=5002).reply.complete == 1
    tracker.announce(1, "seed")
    assert [record.event for record in tracker.sink.records] == [wire.EVENT_NONE] * 3
    assert credit_of(tracker.sink.records).seed_time == 60_000_000


@pytest.mark.parametrize("jump", [HOUR, -2 * HOUR])
def test_connection_ids_go_on_after_a_jump_of_the_clock(jump: int) -> None:
    """etcd issue 6700: the id of before is worth nothing, a new one works at once."""
    now = [1_700_000_000.0]
    ids = ConnectionIds({1: CONNECTION_KEY}, lambda: now[0])
    address = socket.inet_aton(V4)
    before = ids.issue(address)
    now[0] += jump
    assert not ids.proves(before, address)
    assert ids.proves(ids.issue(address), address)


def test_keys_are_in_no_log_metric_or_answer(feed: Feed, redis_url: str) -> None:
    """Prowlarr issue 1041."""
    key = general_key(1)
    with running_tracker(redis_url) as tracker, UdpClient(tracker.udp_port) as client:
        told = [repr(tracker.announce(key, 10)), repr(client.announce(key, 11, "u"))]
        told += [raw(tracker, path) for path in secret_paths(key)]
        told.append(raw(tracker, "/metrics"))
        told.append(json.dumps(tracker.events, default=repr))
    for text in told:
        assert key not in text
        assert key[8:] not in text


def secret_paths(key: str) -> list[str]:
    """Targets that hold a key where it belongs and where it does not."""
    return [
        *(f"/{key}/announce", f"/announce/{key}", f"/announce?passkey={key}&port=0"),
        *(f"/announce/{key}x?port=1", f"/scrape/{key}", f"/scrape?passkey={key}", f"/{key} x"),
        f"/announce/{key}?event={key}&key={key}&peer_id={peer_id('a').decode()}",
        f"/announce/{key}?" + "a" * 5000,
    ]


def raw(tracker: RunningTracker, path: str) -> str:
    """All that comes back, whatever the status."""
    with socket.create_connection((V4, tracker.port), timeout=DEADLINE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        try:
            return read_all(connection).decode("latin-1")
        except ConnectionResetError:
            # It is closed before all of a request that is too long was read.
            return ""
