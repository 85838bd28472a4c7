"""The whole tracker over real sockets and a real Redis: who is let in, and what is recorded."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.tracker.running_tracker import (
    FULL_RIGHTS,
    Feed,
    account,
    announce_path,
    body_of,
    escape,
    eventually,
    general_key,
    info_hash,
    peer_id,
    request,
    running_tracker,
    torrent,
    torrent_key,
)
from tracker import wire
from tracker.rules import Rules
from tracker.shard import ShardNumbers

REASON = b"failure reason"
# One second is promised; the other is for a busy machine.
WITHIN = 2


@pytest.fixture
def feed(redis_url: str) -> Feed:
    """Members 1, 2 and 5000; torrents 10 (accepted), 11 (pending, of member 1), 12 (closed)."""
    feed = Feed(redis_url)
    feed.publish(
        [account(1), account(2), account(5000)],
        [
            torrent(10),
            torrent(11, wire.TORRENT_PENDING, uploader=1),
            torrent(12, wire.TORRENT_CLOSED),
            torrent(13, alias=b"alias-of-13" + bytes(9)),
        ],
    )
    return feed


def test_announce_is_answered_and_recorded(feed: Feed, redis_url: str) -> None:
    before = time.time_ns() // 1000
    with running_tracker(redis_url) as tracker:
        answer = tracker.announce(
            general_key(5000),
            10,
            uploaded=123,
            downloaded=45,
            left=6,
            event="started",
            key="1A2B3C4D",
        )
    assert (answer[b"complete"], answer[b"incomplete"]) == (0, 1)
    assert 1620 <= answer[b"interval"] <= 1980
    assert answer[b"min interval"] == 900
    assert answer[b"peers"] == b""
    assert b"peers6" not in answer
    (record,) = feed.records()
    assert before <= record.at <= time.time_ns() // 1000
    assert (record.torrent, record.account, record.peer) == (10, 5000, peer_id("a"))
    assert (record.up, record.down, record.left) == (123, 45, 6)
    assert record.event == wire.EVENT_STARTED
    assert (record.family, record.port, record.protocol) == (4, 5001, wire.PROTOCOL_HTTP)
    assert record.interval == answer[b"interval"]
    assert record.address == bytes(10) + b"\xff\xff\x7f\x00\x00\x01"
    assert record.tag == b"-XX0100-"
    assert record.key != 0
    assert record.flags == 0


def test_passkey_in_the_query_is_the_same(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        path = announce_path("", 10).replace("/announce/?", f"/announce?passkey={general_key(1)}&")
        assert REASON not in body_of(request(tracker.port, path))
    assert [record.account for record in feed.records()] == [1]


def test_torrent_key_opens_its_torrent_only(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        assert REASON not in tracker.announce(torrent_key(2, 10), 10)
        answer = tracker.announce(torrent_key(2, 10), 13)
    assert answer[REASON] == b"Invalid passkey"
    assert [record.torrent for record in feed.records()] == [10]


@pytest.mark.parametrize(
    "passkey",
    [
        general_key(1)[:-1] + ("0" if general_key(1)[-1] != "0" else "1"),
        general_key(1).upper(),
        general_key(1, epoch=1),
        general_key(99),
        general_key(0),
        "0" * 32,
        "x" * 32,
        general_key(1) + "/",
        torrent_key(1, 13),
    ],
)
def test_wrong_passkeys_sound_alike(feed: Feed, redis_url: str, passkey: str) -> None:
    with running_tracker(redis_url) as tracker:
        assert tracker.announce(passkey, 10)[REASON] == b"Invalid passkey"
        without = tracker.announce("", 10)
    assert without[REASON] == b"Passkey required"
    assert feed.records() == []


def test_pending_torrent_is_its_uploaders_alone(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        assert REASON not in tracker.announce(general_key(1), 11)
        other = tracker.announce(general_key(2), 11)
        closed = tracker.announce(general_key(1), 12)
        unknown = tracker.announce(general_key(1), 404)
    assert other[REASON] == closed[REASON] == unknown[REASON] == b"Torrent not found or inactive"
    assert [record.account for record in feed.records()] == [1]


def test_alias_hash_is_the_same_swarm(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 13)
        alias = escape(b"alias-of-13" + bytes(9))
        answer = tracker.announce(general_key(1), 13, info_hash=alias)
    assert answer[b"complete"] == 1
    assert [record.torrent for record in feed.records()] == [13, 13]


def test_ban_and_lift_arrive_within_a_second(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        assert REASON not in tracker.announce(general_key(2), 10)
        feed.change_account(account(2, flags=0))
        eventually(
            lambda: tracker.announce(general_key(2), 10).get(REASON) == b"User is banned",
            "the ban did not arrive",
            seconds=WITHIN,
        )
        feed.change_account(account(2, flags=FULL_RIGHTS))
        eventually(
            lambda: REASON not in tracker.announce(general_key(2), 10),
            "the lift did not arrive",
            seconds=WITHIN,
        )


def test_key_rotation_new_torrent_and_rules_arrive(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        feed.change_account(account(2, epoch=1))
        feed.change_torrent(torrent(9000))
        feed.change(wire.CHANGE_RULES, json.dumps({"interval": 600, "unheard": 1}).encode())
        eventually(
            lambda: REASON not in tracker.announce(general_key(2, epoch=1), 9000),
            "the new key does not open the new torrent",
        )
        assert tracker.announce(general_key(2), 10)[REASON] == b"Invalid passkey"
        assert tracker.announce(general_key(1), 10)[b"interval"] <= 660


def test_trimmed_change_stream_means_a_new_load(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        # The change is in the chunks but no longer in the stream, whose next entry shows it.
        feed.seq = 7
        feed.redis.delete(wire.accounts_chunk(5000))
        feed.publish([account(1), account(2, flags=0)], [torrent(10)])
        feed.change_torrent(torrent(14))
        eventually(
            lambda: tracker.announce(general_key(2), 10).get(REASON) == b"User is banned",
            "the lost change was not loaded",
        )
        assert tracker.announce(general_key(5000), 10)[REASON] == b"Invalid passkey"
        assert REASON not in tracker.announce(general_key(1), 14)


def test_lost_change_stream_is_noticed_by_its_sequence(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        feed.seq = 7
        feed.publish([account(1), account(2, flags=0)], [torrent(10)])
        eventually(
            lambda: tracker.announce(general_key(2), 10).get(REASON) == b"User is banned",
            "the higher sequence was not noticed",
        )


def test_feed_of_another_history_replaces_the_first(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        assert REASON not in tracker.announce(general_key(2), 10)
        feed.redis.set(wire.ACCESS_SOURCE, "restored")
        feed.publish([account(1), account(2, flags=0)], [torrent(10)])
        eventually(
            lambda: tracker.announce(general_key(2), 10).get(REASON) == b"User is banned",
            "the other history was not noticed",
        )


def test_without_access_feed_clients_come_again(redis_url: str) -> None:
    feed = Feed(redis_url)
    with running_tracker(redis_url) as tracker:
        answer = tracker.announce(general_key(1), 10)
        assert answer == {REASON: b"The tracker is starting.", b"retry in": b"1"}
        assert request(tracker.port, "/health").startswith(b"HTTP/1.1 503 ")
        feed.publish([account(1)], [torrent(10)])
        eventually(
            lambda: REASON not in tracker.announce(general_key(1), 10), "the feed was not loaded"
        )


def test_health_tells_redis_and_access(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10)
        head, _, body = request(tracker.port, "/health").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    fields = json.loads(body)
    assert (fields["ok"], fields["redis"], fields["access"]) == (True, True, True)
    assert (fields["peers"], fields["swarms"]) == (1, 1)
    assert general_key(1) not in body.decode()


def test_one_client_on_two_families_is_one_peer(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        for host in ("127.0.0.1", "::1"):
            answer = tracker.announce(general_key(1), 10, key="K", left=5, host=host)
            assert (answer[b"complete"], answer[b"incomplete"]) == (0, 1)
        seen = tracker.announce(general_key(2), 10, "c", port=5003, left=9)
    assert seen[b"incomplete"] == 2
    assert seen[b"peers"] == socket.inet_aton("127.0.0.1") + (5001).to_bytes(2, "big")
    assert seen[b"peers6"] == bytes(15) + b"\x01" + (5001).to_bytes(2, "big")
    assert [record.family for record in feed.records()] == [4, 6, 4]
    assert feed.records()[1].address == bytes(15) + b"\x01"


def test_planted_addresses_are_ignored(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        path = announce_path(
            general_key(1), 10, ip="203.0.113.9", ipv4="203.0.113.9", ipv6="2001:db8::9"
        )
        headers = "".join(
            f"{name}: 203.0.113.9\r\n"
            for name in ("X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "Forwarded")
        )
        with socket.create_connection(("127.0.0.1", tracker.port), timeout=5) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n{headers}\r\n".encode())
            assert REASON not in body_of(connection.recv(65536))
        answer = tracker.announce(general_key(2), 10, "c", port=5003, left=1)
    assert answer[b"peers"] == socket.inet_aton("127.0.0.1") + (5001).to_bytes(2, "big")
    assert b"peers6" not in answer


def test_dictionary_reply_has_ids_unless_told_not_to(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10, "seed")
        tracker.announce(general_key(1), 10, "seed", host="::1")
        full = tracker.announce(general_key(2), 10, "b", left=1, port=5002, compact=0)
        bare = tracker.announce(general_key(2), 10, "b", left=1, port=5002, compact=0, no_peer_id=1)
    assert sorted(full[b"peers"], key=lambda peer: str(peer[b"ip"])) == [
        {b"ip": b"127.0.0.1", b"peer id": peer_id("seed"), b"port": 5001},
        {b"ip": b"::1", b"peer id": peer_id("seed"), b"port": 5001},
    ]
    assert all(b"peer id" not in peer for peer in bare[b"peers"])
    assert len(bare[b"peers"]) == 2


def test_fifth_client_of_a_member_is_refused_until_one_is_silent(
    feed: Feed, redis_url: str
) -> None:
    with running_tracker(redis_url) as tracker:
        for number in range(4):
            assert REASON not in tracker.announce(
                general_key(1), 10, f"c{number}", port=6000 + number
            )
        refused = tracker.announce(general_key(1), 10, "c4", port=6004)
        assert refused[REASON] == b"Too many clients of yours in this torrent."
        # The same address and port is the same client after a restart.
        replaced = tracker.announce(general_key(1), 10, "again", port=6003)
        assert replaced[b"complete"] == 4
    records = feed.records()
    assert [record.event for record in records][-2:] == [wire.EVENT_EXPIRED, wire.EVENT_NONE]
    assert records[-2].peer == peer_id("c3")


def test_flood_of_one_member_is_told_to_come_later(feed: Feed, redis_url: str) -> None:
    numbers = ShardNumbers(rules=Rules(announces_per_minute=3))
    with running_tracker(redis_url, numbers) as tracker:
        answers = [tracker.announce(general_key(1), 10) for _ in range(8)]
        stopped = tracker.announce(general_key(1), 10, event="stopped")
    assert REASON not in answers[0]
    assert answers[-1] == {REASON: b"Too many announces, slow down.", b"retry in": b"1"}
    assert REASON not in stopped


def test_download_right_is_needed_to_leech_only(feed: Feed, redis_url: str) -> None:
    feed.publish([account(1, flags=wire.ACCOUNT_MAY_ANNOUNCE)], [torrent(10)])
    with running_tracker(redis_url) as tracker:
        assert REASON not in tracker.announce(general_key(1), 10, left=0)
        refused = tracker.announce(general_key(1), 10, left=1)
        stopped = tracker.announce(general_key(1), 10, left=1, event="stopped")
    assert refused[REASON] == b"Low ratio. Download disabled."
    assert REASON not in stopped


def test_stop_of_a_closed_torrents_client_is_recorded(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10)
        feed.change_torrent(torrent(10, wire.TORRENT_CLOSED))
        eventually(
            lambda: REASON in tracker.announce(general_key(1), 10), "the torrent is not closed"
        )
        assert REASON in tracker.announce(general_key(2), 10, event="stopped")
        assert REASON not in tracker.announce(general_key(1), 10, event="stopped", uploaded=77)
    assert feed.records()[-1].up == 77


def test_victim_ports_are_refused(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        answer = tracker.announce(general_key(1), 10, port=25)
    assert answer[REASON].startswith(b"This port is not allowed")
    assert feed.records() == []


def test_restart_knows_the_swarm_and_continues_in_a_new_epoch(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10, "seed", uploaded=500)
        tracker.announce(general_key(1), 10, "seed", host="::1", uploaded=500)
        tracker.announce(general_key(2), 10, "gone", port=5002, left=5)
        tracker.announce(general_key(2), 10, "gone", port=5002, left=5, event="stopped")
    with running_tracker(redis_url) as tracker:
        answer = tracker.announce(general_key(2), 10, "b", port=5003, left=5)
    assert (answer[b"complete"], answer[b"incomplete"]) == (1, 1)
    assert len(answer[b"peers"]) == 6
    assert len(answer[b"peers6"]) == 18
    ids = [number.decode() for number, _ in feed.redis.xrange("peer-events:{1.0}")]
    assert [number.split("-")[0] for number in ids] == ["1", "1", "1", "1", "2"]
    times = [record.at for record in feed.records()]
    assert times == sorted(times)


def test_peers_silent_over_a_restart_are_recorded_as_expired(feed: Feed, redis_url: str) -> None:
    old = time.time_ns() // 1000 - 4000 * 1_000_000
    packed = wire.RECORD.pack(
        old, 10, 1, peer_id("old"), 9, 70, 80, 0, 0, 6, 5001, 1, 0, 1800, bytes(15) + b"\x01", b"t"
    )
    feed.redis.xadd("peer-events:{1.0}", {"v": b"1", "b": packed}, id="1-1")
    feed.redis.set(wire.epoch_name(1, 0), 1)
    with running_tracker(redis_url) as tracker:
        eventually(lambda: len(feed.records()) == 2, "the old peer was not dropped")
        answer = tracker.announce(general_key(2), 10, left=3)
    assert answer[b"complete"] == 0
    expired = feed.records()[1]
    assert expired.event == wire.EVENT_EXPIRED
    assert (expired.torrent, expired.account, expired.peer) == (10, 1, peer_id("old"))
    assert (expired.up, expired.down, expired.left, expired.key) == (70, 80, 0, 9)
    assert (expired.family, expired.port, expired.address) == (6, 5001, bytes(15) + b"\x01")
    assert expired.at > old


def test_hash_escapes_all_reach_one_swarm(feed: Feed, redis_url: str) -> None:
    raw = info_hash(10)
    libtorrent = "".join(
        chr(byte)
        if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "-_.!~*()")
        else f"%{byte:02x}"
        for byte in raw
    )
    with running_tracker(redis_url) as tracker:
        for spelled in (escape(raw), escape(raw).lower(), libtorrent):
            answer = tracker.announce(general_key(1), 10, info_hash=spelled)
            assert answer[b"complete"] == 1
