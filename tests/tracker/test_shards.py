"""Shards beside each other: forwarding, aliases, a shard that is away, a process taken over."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.tracker.running_shards import (
    RunningShard,
    RunningShards,
    announce_target,
    entry,
    hash_of,
    running_shards,
)
from tests.tracker.running_tracker import Feed, account, eventually, general_key
from tests.tracker.udp_client import UdpClient, announce_packet, url_options
from tracker import wire
from tracker.forwarding import ShardPlace

REASON = b"failure reason"
ALIAS = hash_of(0, 77)
"""Of torrent 20, which belongs to shard 1."""


@pytest.fixture
def feed(redis_url: str) -> Feed:
    """Members 1 to 9; torrents 10 to 15 of shard 0, 20 to 25 of shard 1."""
    feed = Feed(redis_url)
    torrents = [entry(10 + number, 0) for number in range(6)]
    torrents += [
        entry(20 + number, 1, alias=wire.NO_HASH if number else ALIAS) for number in range(6)
    ]
    feed.publish([account(number) for number in range(1, 10)], torrents)
    return feed


def records(feed: Feed, layout: int, shard: int) -> list[wire.PeerRecord]:
    """What one shard's stream holds."""
    found: list[wire.PeerRecord] = []
    for _, fields in feed.redis.xrange(wire.stream_name(layout, shard)):
        found.extend(wire.unpack_records(fields[wire.FIELD_RECORDS]))
    return found


def udp_announce(shards: RunningShards, member: int, info_hash: bytes, **fields: int) -> bytes:
    with UdpClient(shards.udp_port) as client:
        packet = announce_packet(
            client.connect(), info_hash, f"-XX0100-{member:012}".encode(), **fields
        )
        return client.ask(packet + url_options(f"/announce/{general_key(member)}".encode()))


def test_whoever_accepts_http_the_owner_answers_and_records(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url) as shards:
        for member in range(1, 10):
            for shard in range(2):
                info_hash = hash_of(shard, 10 + 10 * shard)
                answer = shards.announce(member, info_hash, at=member % 2, uploaded=member)
                assert answer[b"complete"] == member
        assert shards.counted("forwarded") == 9
        assert shards.counted("announces") == 18
    for shard in range(2):
        own = records(feed, 1, shard)
        assert {record.torrent // 10 for record in own} == {1 + shard}
        assert [record.up for record in own] == list(range(1, 10))


def test_an_announce_is_forwarded_with_all_it_says(feed: Feed, redis_url: str) -> None:
    theirs = hash_of(1, 20)
    with running_shards(redis_url) as shards:
        answer = shards.announce(
            2, theirs, at=0, uploaded=5, downloaded=6, left=7, event="started", key="K1", port=6001
        )
        assert (answer[b"complete"], answer[b"incomplete"]) == (0, 1)
        listed = shards.announce(3, theirs, at=0, compact=0, left=0)
        bare = shards.announce(3, theirs, at=0, compact=0, left=0, no_peer_id=1, numwant=1)
        assert shards.running[0].service.counters.forwarded == 3
    peer = {b"ip": b"127.0.0.1", b"port": 6001}
    assert listed[b"peers"] == [{**peer, b"peer id": b"-XX0100-000000000002"}]
    assert bare[b"peers"] == [peer]
    first = records(feed, 1, 1)[0]
    assert (first.up, first.down, first.left, first.event) == (5, 6, 7, wire.EVENT_STARTED)
    assert (first.port, first.protocol, first.key != 0) == (6001, wire.PROTOCOL_HTTP, True)
    assert first.address == bytes(10) + b"\xff\xff\x7f\x00\x00\x01"


def test_an_alias_is_the_same_swarm_over_http_and_udp(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url) as shards:
        for member, info_hash in ((1, hash_of(1, 20)), (2, ALIAS)):
            assert REASON not in shards.announce(member, info_hash)
        for member, info_hash in ((3, hash_of(1, 20)), (4, ALIAS)):
            answer = udp_announce(shards, member, info_hash)
            assert struct.unpack(">I", answer[:4]) == (1,)
            assert struct.unpack(">I", answer[16:20]) == (member,)
    assert [record.account for record in records(feed, 1, 1)] == [1, 2, 3, 4]
    assert records(feed, 1, 0) == []


def test_without_the_kernels_help_shards_forward_datagrams(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url, steered=False) as shards:
        for member in range(1, 10):
            for shard in range(2):
                answer = udp_announce(shards, member, hash_of(shard, 10 + 10 * shard))
                assert struct.unpack(">I", answer[16:20]) == (member,)
        # Eighteen sockets, spread by their address: the chance that none met the other shard
        # is one in 2^18.
        assert shards.counted("forwarded") > 0
    assert len(records(feed, 1, 0)) == len(records(feed, 1, 1)) == 9


def test_refusals_of_the_owner_reach_the_client(feed: Feed, redis_url: str) -> None:
    feed.publish([account(1), account(2, flags=0)], [entry(10, 0), entry(20, 1)])
    with running_shards(redis_url) as shards:
        for number in range(8):
            shard = number % 2
            banned = shards.announce(2, hash_of(shard, 10 + 10 * shard), at=number // 4)
            assert banned == {REASON: b"User is banned"}
        unknown = shards.announce(1, hash_of(1, 99))
    assert unknown[REASON] == b"Torrent not found or inactive"


def test_a_shard_that_nobody_runs_is_refused_for_now(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url) as shards:
        shards.running[1].stop()
        (shards.folder / "shard-1.sock").unlink()
        assert REASON not in shards.announce(1, hash_of(0, 10), at=0)
        answer = shards.announce(1, hash_of(1, 20), at=0)
    assert answer[b"retry in"] == b"1"
    assert records(feed, 1, 1) == []


def test_a_shard_that_starts_again_finds_what_waited_for_it(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url) as shards:
        theirs = hash_of(1, 20)
        assert REASON not in shards.announce(1, theirs, at=0)
        shards.running[1].stop()
        answers: list[dict[bytes, Any]] = []
        asking = threading.Thread(target=lambda: answers.append(shards.announce(2, theirs, at=0)))
        asking.start()
        eventually(lambda: shards.counted("forwarded") == 2, "nothing was forwarded")
        assert REASON not in shards.announce(3, hash_of(0, 10), at=0)
        shards.running[1] = shards.start(1)
        asking.join(10)
        assert answers[0].get(b"complete") == 2
    assert [record.account for record in records(feed, 1, 1)] == [1, 2]


class SteadyClients:
    """Members that announce growing totals one after the other; a refusal or loss is a fault."""

    def __init__(self, shards: RunningShards) -> None:
        self.shards = shards
        self.answered: list[tuple[int, int]] = []
        self.faults: list[object] = []
        self._stop = threading.Event()
        asks = (self._http(1, hash_of(0, 10)), self._http(2, hash_of(1, 20)), self._udp(3))
        self._threads = [
            threading.Thread(target=self._run, args=(member, ask))
            for member, ask in enumerate(asks, 1)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def go_on(self) -> None:
        """Wait until each has been answered again."""
        before = len(self.answered)
        eventually(
            lambda: {who for who, _ in self.answered[before:]} == {1, 2, 3} or bool(self.faults),
            "no more answers",
        )

    def _run(self, member: int, ask: Callable[[int], object]) -> None:
        total = 0
        while not self._stop.is_set():
            total += 1
            try:
                fault = ask(total)
            except (OSError, AssertionError) as broken:
                fault = broken
            if fault is not None:
                self.faults.append(fault)
                return
            self.answered.append((member, total))

    def _http(self, member: int, info_hash: bytes) -> Callable[[int], object]:
        return lambda total: self.shards.announce(member, info_hash, uploaded=total).get(REASON)

    def _udp(self, member: int) -> Callable[[int], object]:
        def ask(total: int) -> object:
            answer = udp_announce(self.shards, member, hash_of(1, 22), uploaded=total)
            return None if answer[:4] == b"\0\0\0\1" else answer

        return ask


def test_a_successor_takes_the_shard_over_under_announces(feed: Feed, redis_url: str) -> None:
    """Three times each: nobody is refused, nothing is lost, the swarm goes on."""
    with running_shards(redis_url) as shards:
        clients = SteadyClients(shards)
        for shard in (0, 1, 0, 1, 0, 1):
            old, new = shards.running[shard], shards.start(shard)
            assert new.prepared.wait(10)
            old.stop()
            shards.running[shard] = new
            new.serves()
            clients.go_on()
        clients.stop()
        assert clients.faults == []
    kept = {(r.account, r.up) for shard in range(2) for r in records(feed, 1, shard)}
    assert set(clients.answered) <= kept
    for member in (1, 2, 3):
        totals = [total for who, total in clients.answered if who == member]
        assert totals == list(range(1, len(totals) + 1))


def test_another_number_of_shards_is_another_layout_with_the_same_swarms(
    feed: Feed, redis_url: str
) -> None:
    """One, two, one: every peer is known from the first moment, in the right shard."""
    hashes = [hash_of(shard, 10 + 10 * shard + n) for shard in range(2) for n in range(6)]

    def announce_all(shards: RunningShards, layout: int, there: int) -> None:
        for info_hash in hashes:
            answer = shards.announce(layout, info_hash)
            assert answer[b"complete"] == there

    with running_shards(redis_url, 1) as shards:
        announce_all(shards, 1, 1)
        shards.announce(9, hashes[0])
        assert REASON not in shards.announce(9, hashes[0], event="stopped")
    with running_shards(redis_url, 2) as shards:
        assert [shards.health(shard)["peers"] for shard in range(2)] == [6, 6]
        announce_all(shards, 2, 2)
    with running_shards(redis_url, 1) as shards:
        announce_all(shards, 3, 3)
    assert feed.redis.hgetall(wire.LAYOUTS) == {b"1": b"1", b"2": b"2", b"3": b"1"}
    assert [len(records(feed, 2, shard)) for shard in range(2)] == [6, 6]
    assert len(records(feed, 3, 0)) == 12


def test_a_new_layout_waits_for_the_trackers_of_the_old(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url, 1) as old:
        new = RunningShard(redis_url, ShardPlace(0, 2, old.folder), ([], [], []))
        eventually(lambda: new.heard("tracker.waiting"), "it started")
        why = "a tracker with another number of shards still runs"
        assert new.events[0][1]["why"] == why
        assert REASON not in old.announce(1, hash_of(0, 10))
        new.stop()
    assert feed.redis.hgetall(wire.LAYOUTS) == {b"1": b"1"}


def test_who_waited_for_a_shard_of_an_old_layout_begins_anew(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url, 1) as shards:
        shards.announce(1, hash_of(0, 10))
        waiting = shards.start(0)
        assert waiting.prepared.wait(10)
        feed.redis.hset(wire.LAYOUTS, "2", 2)
        shards.running[0].stop()
        shards.running[0] = waiting
        waiting.serves()
        assert shards.health(0)["layout"] == 3
        assert shards.announce(2, hash_of(0, 10))[b"complete"] == 2
    assert [len(records(feed, layout, 0)) for layout in (1, 2, 3)] == [1, 0, 1]


def test_a_closed_stream_takes_nothing_more(feed: Feed, redis_url: str) -> None:
    """Neither from the tracker that wrote it, nor into one that was never written."""
    with running_shards(redis_url, 2) as shards:
        shards.announce(1, hash_of(0, 10))
    with running_shards(redis_url, 1):
        pass
    for shard in range(2):
        with pytest.raises(redis.ResponseError, match="equal or smaller"):
            feed.redis.xadd(wire.stream_name(1, shard), {"v": "1"}, id="1-999")


def test_health_names_the_shard_and_the_layout(feed: Feed, redis_url: str) -> None:
    with running_shards(redis_url) as shards:
        fields = [shards.health(shard) for shard in range(2)]
    assert [(f["shard"], f["shards"], f["layout"]) for f in fields] == [(0, 2, 1), (1, 2, 1)]


def test_keep_alive_requests_of_both_shards_are_answered_in_order(
    feed: Feed, redis_url: str
) -> None:
    wanted = [(1 + n % 9, n % 2) for n in range(12)]
    with (
        running_shards(redis_url) as shards,
        socket.create_connection(("127.0.0.1", shards.port), timeout=10) as connection,
    ):
        for member, shard in wanted:
            target = announce_target(member, hash_of(shard, 10 + 10 * shard))
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        received = b""
        while received.count(b"8:complete") < len(wanted):
            received += connection.recv(65536)
    counts = [int(part.partition(b"e")[0]) for part in received.split(b"8:completei")[1:]]
    assert counts == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]


def test_a_request_that_has_arrived_when_a_stop_begins_is_answered(
    feed: Feed, redis_url: str
) -> None:
    target = announce_target(1, hash_of(0, 10))
    asked = f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
    with (
        running_shards(redis_url, 1) as shards,
        socket.create_connection(("127.0.0.1", shards.port), timeout=10) as connection,
    ):
        connection.sendall(asked)
        assert b"8:complete" in connection.recv(65536)
        flag = shards.running[0].stop_flag

        def send_and_stop() -> bool:
            """Called by the tracker between two rounds of its loop."""
            if not flag._flag:  # type: ignore[attr-defined]
                connection.sendall(asked)
                flag.set()
            return True

        flag.is_set = send_and_stop  # type: ignore[method-assign]
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in received
