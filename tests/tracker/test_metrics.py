"""Metrics of a tracker: what is counted, who may read it, and what no label ever holds."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.tracker.running_shards import entry, hash_of, running_shards
from tests.tracker.running_tracker import (
    Feed,
    RunningTracker,
    account,
    general_key,
    info_hash,
    read_all,
    request,
    running_tracker,
    torrent,
)
from tests.tracker.udp_client import UdpClient
from tracker.histogram import Histogram
from tracker.metrics import MetricsAccess
from tracker.proxies import TrustedProxies

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def tracker(redis_url: str) -> Iterator[RunningTracker]:
    Feed(redis_url).publish([account(1), account(2)], [torrent(10)])
    with running_tracker(redis_url) as running:
        yield running


def text_of(port: int, host: str = "127.0.0.1") -> str:
    response = request(port, "/metrics", host)
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    return body.decode()


def samples(text: str) -> Samples:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"trackarr_tracker_{name}", frozenset({"shard": "0", **labels}.items())]


def test_requests_are_counted_by_protocol_event_and_outcome(tracker: RunningTracker) -> None:
    tracker.announce(general_key(1), 10, "a", event="started", left=5)
    tracker.announce(general_key(1), 10, "a", left=3)
    tracker.announce("0" * 32, 10, "b", event="completed")
    request(tracker.port, f"/announce/{general_key(1)}?info_hash=x")
    request(tracker.port, f"/scrape/{general_key(1)}")
    with UdpClient(tracker.udp_port) as client:
        client.connect()
    found = samples(text_of(tracker.port, "::1"))

    def requests(protocol: str, event: str, outcome: str) -> float:
        return value(found, "requests_total", protocol=protocol, event=event, outcome=outcome)

    assert requests("http", "started", "answered") == 1
    assert requests("http", "none", "answered") == 1
    assert requests("http", "completed", "passkey_invalid") == 1
    assert requests("http", "unread", "info_hash_length") == 1
    assert requests("http", "scrape", "info_hash_missing") == 1
    assert requests("udp", "connect", "answered") == 1
    assert value(found, "peers") == value(found, "swarms") == 1
    assert value(found, "records_total") == 2
    assert value(found, "redis_up") == value(found, "access_loaded") == 1
    assert value(found, "access_age_seconds") < 10
    assert value(found, "answer_seconds_count") == 2
    assert value(found, "answer_seconds_bucket", le="+Inf") == 2
    assert value(found, "batch_records_sum") == 2


def test_no_label_holds_keys_hashes_or_addresses(tracker: RunningTracker) -> None:
    key = general_key(1)
    tracker.announce(key, 10)
    tracker.announce("f" * 32, 10)
    request(tracker.port, "/canary-path?canary-query")
    text = text_of(tracker.port)
    for secret in (key, "f" * 32, info_hash(10).hex(), "127.0.0.1", "canary", "-XX0100-"):
        assert secret not in text
    labels = {name for _, pairs in samples(text) for name, _ in pairs}
    assert labels == {"shard", "protocol", "event", "outcome", "le"}
    assert all(re.fullmatch(r"[a-z_]+", name) for name in labels)


def test_any_shard_tells_of_all(redis_url: str) -> None:
    Feed(redis_url).publish([account(1)], [entry(10, 0), entry(20, 1)])
    with running_shards(redis_url) as shards:
        shards.announce(1, hash_of(0, 10), at=0)
        shards.announce(1, hash_of(1, 20), at=0)
        for shard in range(2):
            text = text_of(shards.own_http[shard].getsockname()[1])
            found = samples(text)
            for each in "01":
                assert value(found, "peers", shard=each) == 1
            assert value(found, "forwarded_total", shard="0") == 1
            assert text.count("# TYPE trackarr_tracker_peers gauge") == 1
        shards.running[1].stop()
        alone = samples(text_of(shards.own_http[0].getsockname()[1]))
        assert value(alone, "peers") == 1


def test_metrics_are_for_this_machine_and_our_proxies() -> None:
    access = MetricsAccess(TrustedProxies(["10.0.0.0/8"]))
    for inside in ("7f000001", "7f010203", "00" * 15 + "01", "0a010203"):
        assert access.allows(bytes.fromhex(inside), b"")
    for outside in ("cb007109", "20010db8" + "00" * 12, "7f" + "00" * 15):
        assert not access.allows(bytes.fromhex(outside), b"")
    assert not access.allows(None, b"")


def test_with_a_token_only_its_bearers_read_metrics() -> None:
    access = MetricsAccess(TrustedProxies(), b"secret")
    home = bytes.fromhex("7f000001")
    assert access.allows(home, b"Bearer secret")
    assert access.allows(bytes.fromhex("cb007109"), b"bearer secret")
    for wrong in (b"", b"Bearer", b"Bearer ", b"Bearer secret ", b"Basic secret", b"Bearer Secret"):
        assert not access.allows(home, wrong)


@pytest.mark.parametrize("header", ["X-Forwarded-For: 203.0.113.9", "Via: 1.1 proxy"])
def test_what_a_proxy_passes_on_is_not_from_this_machine(
    tracker: RunningTracker, header: str
) -> None:
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=10) as connection:
        connection.sendall(f"GET /metrics HTTP/1.1\r\n{header}\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram((1, 2))
    histogram.observe(1, 3)
    histogram.observe(1.5)
    histogram.observe(9, 2)
    assert list(histogram.cumulated()) == [("1.0", 3), ("2.0", 4), ("+Inf", 6)]
    assert (len(histogram), histogram.total) == (6, 22.5)
