"""Redis full, made read-only, slow or killed under a running tracker: never an unrecorded answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from ops.embedded_valkey import EmbeddedValkey
from tests.kit.servers import server_folder
from tests.tracker.redis_gate import redis_gate
from tests.tracker.running_tracker import (
    Feed,
    RunningTracker,
    account,
    eventually,
    general_key,
    running_tracker,
    torrent,
)
from tracker.shard import ShardNumbers

REASON = b"failure reason"
COME_AGAIN = {
    REASON: b"The tracker cannot record announces at the moment.",
    b"retry in": b"1",
}
QUICK = ShardNumbers(pending_seconds=0.3)


class Server:
    """A Valkey of one test, with its data on disk as in an installation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._embedded = EmbeddedValkey(folder / "valkey", folder / "valkey.sock", databases=1)
        self.start()
        self.client = redis.Redis.from_url(self._embedded.url)
        self.feed = Feed(self._embedded.url)
        self.feed.publish([account(number) for number in range(1, 9)], [torrent(10)])

    @property
    def url(self) -> str:
        return self._embedded.url

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._embedded.start(log, self._folder / "log")

    def kill(self) -> None:
        assert self._embedded.process is not None
        self._embedded.process.kill()
        self._embedded.process.wait()

    def stop(self) -> None:
        self.client.close()
        self._embedded.stop()

    def accounts(self) -> list[int]:
        """Whose announces are recorded, in order."""
        return [record.account for record in self.feed.records()]


@pytest.fixture
def server() -> Iterator[Server]:
    with server_folder() as folder:
        running = Server(folder)
        try:
            yield running
        finally:
            running.stop()


@contextmanager
def one_recorded(url: str) -> Iterator[RunningTracker]:
    """A tracker that has answered member 1."""
    with running_tracker(url, QUICK) as tracker:
        assert REASON not in tracker.announce(general_key(1), 10, "a")
        yield tracker


def comes_back(tracker: RunningTracker, member: int) -> None:
    eventually(
        lambda: REASON not in tracker.announce(general_key(member), 10, "b", port=5002),
        "the tracker does not come back",
    )


def test_full_memory_means_come_again(server: Server) -> None:
    with one_recorded(server.url) as tracker:
        server.client.config_set("maxmemory", 1)
        assert tracker.announce(general_key(2), 10, "x", port=5003) == COME_AGAIN
        assert tracker.announce(general_key(3), 10, "y", port=5004) == COME_AGAIN
        assert server.accounts() == [1]
        assert ("stream.refused", {"kind": "OOM"}) in tracker.events
        server.client.config_set("maxmemory", 0)
        comes_back(tracker, 4)
    # What was taken before the refusal is written late; what came afterwards was not taken.
    assert server.accounts()[:2] == [1, 2]
    assert 3 not in server.accounts()


def test_a_server_that_is_a_replica_for_a_while_means_come_again(server: Server) -> None:
    with one_recorded(server.url) as tracker:
        server.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert tracker.announce(general_key(2), 10, "x", port=5003) == COME_AGAIN
        assert server.accounts() == [1]
        server.client.execute_command("REPLICAOF", "NO", "ONE")
        comes_back(tracker, 4)
    assert server.accounts().count(2) == 1


def test_a_killed_server_comes_back_with_all_that_was_answered(server: Server) -> None:
    with one_recorded(server.url) as tracker:
        server.kill()
        assert tracker.announce(general_key(2), 10, "x", port=5003) == COME_AGAIN
        server.start()
        comes_back(tracker, 4)
        assert not tracker.failures
    assert server.accounts()[0] == 1
    assert server.accounts().count(2) <= 1


def test_a_slow_server_makes_answers_late_and_loses_none(server: Server) -> None:
    patient = ShardNumbers(pending_seconds=30)
    answers: dict[int, bool] = {}
    with redis_gate(server.url) as gate, running_tracker(gate.url, patient) as tracker:

        def announce(member: int) -> None:
            reply = tracker.announce(general_key(member), 10, f"n{member}", port=5000 + member)
            answers[member] = REASON not in reply

        gate.silent = True
        threads = [threading.Thread(target=announce, args=(member,)) for member in range(1, 9)]
        for thread in threads:
            thread.start()
        eventually(lambda: tracker.service.counters.announces == 8, "not all were taken")
        assert answers == {}
        gate.silent = False
        for thread in threads:
            thread.join(20)
    assert answers == dict.fromkeys(range(1, 9), True)
    assert sorted(server.accounts()) == list(range(1, 9))
