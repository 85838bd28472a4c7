"""No answer without its record: Redis slow, cut off, full, or written by somebody else."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis

from tests.tracker.redis_gate import RedisGate, redis_gate
from tests.tracker.running_tracker import (
    STREAM,
    Feed,
    RunningTracker,
    account,
    announce_path,
    body_of,
    eventually,
    general_key,
    read_all,
    request,
    running_tracker,
    torrent,
)
from tracker import wire
from tracker.event_stream import ShardLost
from tracker.shard import ShardNumbers

REASON = b"failure reason"
UNAVAILABLE = {
    REASON: b"The tracker cannot record announces at the moment.",
    b"retry in": b"1",
}
QUICK = ShardNumbers(pending_seconds=0.3)
# So long that a busy machine does not turn a wait into a refusal.
PATIENT = ShardNumbers(pending_seconds=30)


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish([account(number) for number in range(1, 21)], [torrent(10)])
    return feed


@pytest.fixture
def gate(redis_url: str) -> Iterator[RedisGate]:
    with redis_gate(redis_url) as gate:
        yield gate


class Waiting:
    """An announce whose answer has not come yet."""

    def __init__(self, port: int, path: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())

    def is_answered(self) -> bool:
        self.connection.settimeout(0.2)
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            return False

    def answer(self) -> dict[bytes, object]:
        self.connection.settimeout(10)
        with self.connection:
            return body_of(read_all(self.connection).replace(b"HTTP/1.0", b"HTTP/1.1", 1))


def test_answer_waits_for_its_record(feed: Feed, gate: RedisGate) -> None:
    with running_tracker(gate.url, PATIENT) as tracker:
        gate.loses_replies = True
        waiting = Waiting(tracker.port, announce_path(general_key(1), 10))
        eventually(lambda: len(feed.records()) == 1, "the record did not reach Redis")
        assert not waiting.is_answered()
        # Refusals and health need no record and no wait.
        assert tracker.announce("0" * 32, 10)[REASON] == b"Invalid passkey"
        gate.loses_replies = False
        gate.cut()
        assert REASON not in waiting.answer()
    assert len(feed.records()) == 1


def test_lost_replies_are_resolved_without_a_second_record(feed: Feed, gate: RedisGate) -> None:
    with running_tracker(gate.url, PATIENT) as tracker:
        assert REASON not in tracker.announce(general_key(1), 10)
        gate.loses_replies = True
        first = Waiting(tracker.port, announce_path(general_key(2), 10, "b", port=5002))
        eventually(lambda: len(feed.records()) == 2, "the record did not reach Redis")
        second = Waiting(tracker.port, announce_path(general_key(3), 10, "c", port=5003))
        assert not second.is_answered()
        gate.loses_replies = False
        gate.cut()
        assert REASON not in first.answer()
        assert REASON not in second.answer()
        assert tracker.service.counters.batches_resent == 1
    assert [record.account for record in feed.records()] == [1, 2, 3]


def test_commands_that_never_arrived_are_sent_again(feed: Feed, gate: RedisGate) -> None:
    with running_tracker(gate.url, PATIENT) as tracker:
        gate.silent = True
        waiting = Waiting(tracker.port, announce_path(general_key(1), 10))
        assert not waiting.is_answered()
        gate.cut()
        gate.silent = False
        assert REASON not in waiting.answer()
    assert [record.account for record in feed.records()] == [1]


def test_hanging_redis_means_come_again_and_recovery_needs_no_restart(
    feed: Feed, gate: RedisGate
) -> None:
    with running_tracker(gate.url, QUICK) as tracker:
        assert REASON not in tracker.announce(general_key(1), 10)
        gate.silent = True
        assert tracker.announce(general_key(2), 10, "b", port=5002) == UNAVAILABLE
        # From here on there is no wait: nothing is taken that could not be recorded.
        assert tracker.announce(general_key(3), 10, "c", port=5003) == UNAVAILABLE
        assert request(tracker.port, "/health").startswith(b"HTTP/1.1 503 ")
        gate.silent = False
        eventually(
            lambda: tracker.announce(general_key(1), 10, event="completed") != UNAVAILABLE,
            "the tracker does not come back",
        )
        assert [record.account for record in feed.records()][:2] == [1, 2]
        assert 3 not in [record.account for record in feed.records()]


def test_absent_redis_means_come_again(feed: Feed, gate: RedisGate) -> None:
    with running_tracker(gate.url, QUICK) as tracker:
        gate.forwards = False
        gate.cut()
        assert tracker.announce(general_key(2), 10) == UNAVAILABLE
        gate.forwards = True
        eventually(
            lambda: tracker.announce(general_key(1), 10, "b", port=5002) != UNAVAILABLE,
            "the tracker does not come back",
        )
    assert {record.account for record in feed.records()} == {1, 2}


def test_waiting_answers_are_bounded(feed: Feed, gate: RedisGate) -> None:
    with running_tracker(gate.url, ShardNumbers(pending_answers=3, pending_seconds=30)) as tracker:
        gate.silent = True
        taken = [
            Waiting(tracker.port, announce_path(general_key(n), 10, f"n{n}", port=5000 + n))
            for n in range(1, 4)
        ]
        assert not any(waiting.is_answered() for waiting in taken)
        assert tracker.announce(general_key(4), 10, "n4", port=5004) == UNAVAILABLE
        gate.silent = False
        assert all(REASON not in waiting.answer() for waiting in taken)
    assert sorted(record.account for record in feed.records()) == [1, 2, 3]


def test_refusing_redis_means_come_again(feed: Feed, redis_url: str) -> None:
    # Any error reply will do (memory full, disk full, replica); a right withdrawn from one
    # user disturbs nobody else who shares this server.
    with redis_user(feed.redis, redis_url) as (user, url), running_tracker(url, QUICK) as tracker:
        assert REASON not in tracker.announce(general_key(1), 10)
        feed.redis.execute_command("ACL", "SETUSER", user, "-xadd")
        assert tracker.announce(general_key(2), 10, "b", port=5002) == UNAVAILABLE
        assert len(feed.records()) == 1
        feed.redis.execute_command("ACL", "SETUSER", user, "+xadd")
        eventually(
            lambda: REASON not in tracker.announce(general_key(1), 10, event="completed"),
            "the tracker does not come back",
        )
        assert ("stream.refused", {"kind": "NOPERM"}) in tracker.events
    assert [record.account for record in feed.records()][:2] == [1, 2]


@contextlib.contextmanager
def redis_user(client: redis.Redis, redis_url: str) -> Iterator[tuple[str, str]]:
    """A Redis user of its own with all rights, and the URL to sign in as it."""
    user, password = f"test-{uuid4().hex}", uuid4().hex
    client.execute_command("ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all")
    scheme, _, rest = redis_url.partition("://")
    place = rest.rpartition("@")[2] if "@" in rest else rest
    try:
        yield user, f"{scheme}://{user}:{password}@{place}"
    finally:
        client.execute_command("ACL", "DELUSER", user)


def test_start_waits_for_redis(feed: Feed, gate: RedisGate) -> None:
    gate.forwards = False

    def open_gate() -> None:
        gate.forwards = True

    opening = threading.Timer(0.3, open_gate)
    opening.start()
    with running_tracker(gate.url) as tracker:
        assert REASON not in tracker.announce(general_key(1), 10)
        waited = [fields for event, fields in tracker.events if event == "tracker.waiting"]
    assert len(waited) == 1
    opening.join()


def test_another_writer_ends_this_one(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10)
        foreign = b"\0" * wire.RECORD_SIZE
        feed.redis.xadd(STREAM, {"v": b"1", "b": foreign}, id="2-1")
        with contextlib.suppress(OSError, AssertionError):
            tracker.announce(general_key(2), 10, "b", port=5002)
        expect_shard_lost(tracker)
    assert len(feed.records()) == 2


def test_lost_lease_ends_the_tracker(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10)
        feed.redis.set(wire.lease_name(1, 0), "somebody else")
        expect_shard_lost(tracker)
    assert feed.redis.get(wire.lease_name(1, 0)) == b"somebody else"


def expect_shard_lost(tracker: RunningTracker) -> None:
    eventually(lambda: bool(tracker.failures), "the tracker goes on")
    (failure,) = tracker.failures
    assert isinstance(failure, ShardLost)
    assert "another process" in str(failure)


def test_second_tracker_waits_for_the_first(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as first:
        first.announce(general_key(1), 10)
        assert feed.redis.pttl(wire.lease_name(1, 0)) > 0
        entered = threading.Event()

        def run_second() -> None:
            with running_tracker(redis_url) as second:
                entered.set()
                assert REASON not in second.announce(general_key(2), 10, "b", port=5002)

        thread = threading.Thread(target=run_second)
        thread.start()
        assert not entered.wait(0.5)
        first.stop()
        thread.join(20)
        assert entered.is_set()
    assert feed.redis.get(wire.lease_name(1, 0)) is None
    epochs = [number.split(b"-")[0] for number, _ in feed.redis.xrange(STREAM)]
    assert epochs == [b"1", b"2"]


def test_epoch_counter_behind_its_stream_catches_up(feed: Feed, redis_url: str) -> None:
    feed.redis.xadd(STREAM, {"v": b"1", "b": b""}, id="3-9")
    with running_tracker(redis_url) as tracker:
        assert REASON not in tracker.announce(general_key(1), 10)
    assert feed.redis.xrange(STREAM)[-1][0] == b"4-1"


def test_earlier_holder_is_fenced_before_the_first_record(feed: Feed, redis_url: str) -> None:
    with running_tracker(redis_url) as tracker:
        tracker.announce(general_key(1), 10)
    with running_tracker(redis_url), pytest.raises(redis.ResponseError, match="equal or smaller"):
        feed.redis.xadd(STREAM, {"v": b"1", "b": b""}, id="1-2")


def test_stop_answers_what_was_taken(feed: Feed, gate: RedisGate) -> None:
    with running_tracker(gate.url, PATIENT) as tracker:
        gate.silent = True
        waiting = Waiting(tracker.port, announce_path(general_key(1), 10))
        assert not waiting.is_answered()
        tracker.stop_flag.set()
        gate.silent = False
        assert REASON not in waiting.answer()
        tracker.thread.join(10)
    assert len(feed.records()) == 1
    assert tracker.events[-1] == ("tracker.stopped", {"settled": True})
