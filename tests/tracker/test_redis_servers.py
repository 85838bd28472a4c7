"""Redis as operators run it: behind TLS, with a replica, too weak, nearly full."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis

from ops.embedded_valkey import EmbeddedValkey
from tests.kit.installation import free_port
from tests.kit.servers import server_folder
from tests.tracker.running_tracker import (
    Feed,
    RunningTracker,
    account,
    eventually,
    general_key,
    running_tracker,
    torrent,
)
from tests.tracker.tls_gate import make_certificate, tls_gate
from tracker.redis_watch import memory_percent
from tracker.resp import RedisAddress, parse_redis_url
from tracker.service import TrackerConfig, TrackerService
from tracker.shard import ShardNumbers

REASON = b"failure reason"
UNAVAILABLE = b"The tracker cannot record announces at the moment."


def fill(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish([account(number) for number in range(1, 9)], [torrent(10)])
    return feed


def why_it_waits(redis_url: str) -> str:
    """What a tracker says that cannot start on this Redis."""
    said: list[str] = []
    stop = threading.Event()

    def log(event: str, **fields: object) -> None:
        said.append(str(fields.get("why", event)))
        stop.set()

    config = TrackerConfig(
        redis_url=redis_url, passkey_keys={}, connection_id_keys={}, own_process=False
    )
    TrackerService(config, [], [], log=log).run(stop, lambda: None)
    return said[0]


def test_announces_are_recorded_over_tls(redis_url: str, tmp_path: Path) -> None:
    feed = fill(redis_url)
    trusted = make_certificate(tmp_path, "127.0.0.1")
    with tls_gate(redis_url, trusted) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted}"
        with running_tracker(url) as tracker:
            for member in range(1, 9):
                # A record and a reply larger than one TLS record among them: the access feed.
                assert REASON not in tracker.announce(general_key(member), 10, f"m{member}")
    assert [record.account for record in feed.records()] == list(range(1, 9))


@pytest.mark.parametrize(
    ("address", "options"),
    [("127.0.0.1", ""), ("127.0.0.2", "ssl_ca_certs={trusted}")],
    ids=["unknown authority", "another host's certificate"],
)
def test_a_server_that_does_not_prove_itself_is_not_spoken_to(
    redis_url: str, tmp_path: Path, address: str, options: str
) -> None:
    certificate = make_certificate(tmp_path, address)
    with tls_gate(redis_url, certificate) as port:
        asked = options.format(trusted=certificate)
        assert why_it_waits(f"rediss://127.0.0.1:{port}/0?{asked}") == "Redis cannot be reached"
        free = f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none"
        fill(redis_url)
        with running_tracker(free) as tracker:
            assert REASON not in tracker.announce(general_key(1), 10)


def test_tls_options_are_those_of_the_url() -> None:
    tls = parse_redis_url("rediss://kv.example/2?ssl_ca_certs=/a.pem&ssl_check_hostname=false").tls
    assert tls is not None
    assert (tls.host, tls.authorities, tls.check_host) == ("kv.example", "/a.pem", False)
    for bad in ("ssl_cert_reqs=maybe", "ssl_ciphers=all"):
        with pytest.raises(ValueError, match="Redis URL"):
            parse_redis_url(f"rediss://:hidden@kv.example/0?{bad}")


@dataclass
class Pair:
    """A server and its replica, both with files of their own."""

    url: str
    client: redis.Redis
    replica: redis.Redis
    replica_process: psutil.Process


@pytest.fixture
def pair() -> Iterator[Pair]:
    with valkey() as first, valkey() as second:
        client, replica = redis.Redis.from_url(first.url), redis.Redis.from_url(second.url)
        port = free_port()
        client.config_set("bind", "127.0.0.1")
        client.config_set("port", port)
        replica.execute_command("REPLICAOF", "127.0.0.1", str(port))
        eventually(
            lambda: replica.info("replication")["master_link_status"] == "up", "no replication"
        )
        assert second.process is not None
        yield Pair(first.url, client, replica, psutil.Process(second.process.pid))
        client.close()
        replica.close()


@contextmanager
def valkey() -> Iterator[EmbeddedValkey]:
    with server_folder() as folder, (folder / "log").open("ab") as log:
        server = EmbeddedValkey(folder / "valkey", folder / "valkey.sock", databases=1)
        server.start(log, folder / "log")
        try:
            yield server
        finally:
            server.stop()


def test_with_a_replica_answers_wait_for_its_disk(pair: Pair) -> None:
    feed = fill(pair.url)
    with running_tracker(pair.url, ShardNumbers(pending_seconds=0.3)) as tracker:
        eventually(lambda: ("redis.replicas", {"wait_for": 1}) in tracker.events, "not noticed")
        assert REASON not in tracker.announce(general_key(1), 10)
        assert pair.replica.xlen("peer-events:{1.0}") == 1
        pair.replica_process.send_signal(signal.SIGSTOP)
        try:
            refused = tracker.announce(general_key(2), 10, "b", port=5002)
        finally:
            pair.replica_process.send_signal(signal.SIGCONT)
        assert refused[REASON] == UNAVAILABLE
        eventually(
            lambda: REASON not in tracker.announce(general_key(2), 10, "b", port=5002),
            "the replica is back, answers are not",
        )
        # A replica that is gone is not waited for.
        pair.replica_process.kill()
        eventually(
            lambda: REASON not in tracker.announce(general_key(3), 10, "c", port=5003),
            "the replica is gone, answers still wait",
        )
        assert ("redis.replicas", {"wait_for": 0}) in tracker.events
    assert {record.account for record in feed.records()} == {1, 2, 3}


def test_a_weak_server_is_refused_unless_allowed() -> None:
    with valkey() as server, redis.Redis.from_url(server.url) as client:
        client.config_set("appendfsync", "everysec")
        fill(server.url)
        why = why_it_waits(server.url)
        assert why == "Redis may lose acknowledged announces: appendfsync should be always"
        with running_tracker(server.url, ShardNumbers(allow_weak_redis=True)) as tracker:
            assert REASON not in tracker.announce(general_key(1), 10)


def test_a_server_that_turns_weak_is_left_at_the_next_connection() -> None:
    with valkey() as server, redis.Redis.from_url(server.url) as client:
        feed = fill(server.url)
        with running_tracker(server.url, ShardNumbers(pending_seconds=0.3)) as tracker:
            assert REASON not in tracker.announce(general_key(1), 10)
            client.config_set("maxmemory-policy", "allkeys-lru")
            cut(client)
            eventually(lambda: heard(tracker, "redis.weak"), "not noticed")
            eventually(
                lambda: tracker.announce(general_key(2), 10).get(REASON) == UNAVAILABLE,
                "answered on a weak server",
            )
            client.config_set("maxmemory-policy", "noeviction")
            eventually(lambda: REASON not in tracker.announce(general_key(3), 10), "not back")
        assert feed.records()[0].account == 1


def cut(client: redis.Redis) -> None:
    """End every connection but this one."""
    client.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")


def heard(tracker: RunningTracker, event: str) -> bool:
    return any(name == event for name, _ in tracker.events)


def test_memory_that_runs_out_is_told_early() -> None:
    with valkey() as server, redis.Redis.from_url(server.url) as client:
        fill(server.url)
        client.set("ballast", bytes(30_000_000))
        # Setting it takes as much again for a moment.
        eventually(lambda: client.info("memory")["used_memory"] < 33_000_000, "no end of it")
        client.config_set("maxmemory", 37_000_000)
        with running_tracker(server.url) as tracker:
            eventually(lambda: heard(tracker, "redis.memory_high"), "nobody was told")
            told = dict(tracker.events)["redis.memory_high"]["percent"]
            assert isinstance(told, int)
            assert 80 <= told < 100


@pytest.mark.parametrize(
    ("info", "percent"),
    [
        ({"used_memory": "80", "maxmemory": "100", "total_system_memory": "1000"}, 80),
        ({"used_memory": "80", "maxmemory": "0", "total_system_memory": "1000"}, 8),
        ({"used_memory": "80", "maxmemory": "5000", "total_system_memory": "100"}, 80),
        ({"used_memory": "80"}, None),
        ({}, None),
    ],
)
def test_memory_is_measured_against_the_nearer_limit(
    info: dict[str, str], percent: int | None
) -> None:
    assert memory_percent(info) == percent


def test_a_unix_socket_is_spoken_to_as_it_is(redis_url: str) -> None:
    address = parse_redis_url("unix:///run/kv.sock")
    assert isinstance(address, RedisAddress)
    with socket.socket() as plain:
        assert address.secured(plain) is plain
