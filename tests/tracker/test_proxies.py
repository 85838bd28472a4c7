"""Whose request it is: sockets, trusted proxies, unix sockets, and addresses clients make up."""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ops.failures import PortTaken
from ops.listening import open_unix_listener
from tests.tracker.running_tracker import (
    DEADLINE,
    Feed,
    RunningTracker,
    account,
    announce_path,
    body_of,
    general_key,
    info_hash,
    peer_id,
    read_all,
    running_tracker,
    torrent,
)
from tests.tracker.udp_client import UdpClient, announce_packet, url_options
from tracker.http_server import HttpLimits
from tracker.proxies import TrustedProxies
from tracker.shard import ShardNumbers

VICTIM = "203.0.113.9"
HOME = socket.inet_aton("127.0.0.1")


def v4(text: str) -> bytes:
    return socket.inet_aton(text)


def v6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def head(*forwarded: str) -> bytes:
    lines = "".join(f"\r\nX-Forwarded-For: {one}" for one in forwarded)
    return f"GET / HTTP/1.1\r\nHost: t{lines}\r\nAccept: */*".encode("latin-1")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ((), "10.0.0.1"),
        (("203.0.113.9",), "203.0.113.9"),
        (("198.51.100.1, 203.0.113.9",), "203.0.113.9"),
        (("198.51.100.1", "203.0.113.9"), "203.0.113.9"),
        (("203.0.113.9, 10.0.0.2 ,10.9.9.9",), "203.0.113.9"),
        (("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        (("::ffff:203.0.113.9",), "203.0.113.9"),
        (("203.0.113.9:4711",), "203.0.113.9"),
    ],
)
def test_the_client_is_the_right_most_hop_none_of_ours(
    forwarded: tuple[str, ...], client: str
) -> None:
    proxies = TrustedProxies(["10.0.0.0/8", "fd00::/8"])
    assert proxies.client(v4("10.0.0.1"), head(*forwarded)) == v4(client)


def test_ipv6_hops_with_and_without_brackets_and_ports() -> None:
    proxies = TrustedProxies(["fd00::/8"])
    for entry in ("2001:db8::9", "[2001:db8::9]", "[2001:db8::9]:4711"):
        assert proxies.client(v6("fd00::1"), head(entry)) == v6("2001:db8::9")


@pytest.mark.parametrize("entry", ["", "unknown", "_hidden", "203.0.113.256", "a:b:c", "\xff"])
def test_an_entry_that_is_no_address_is_nobody(entry: str) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client(v4("10.0.0.1"), head(entry)) is None


def test_a_unix_socket_is_a_proxy_that_must_tell() -> None:
    proxies = TrustedProxies()
    assert proxies.client(b"", head()) is None
    assert proxies.client(b"", head("198.51.100.1, 203.0.113.9")) == v4(VICTIM)


def test_other_headers_are_never_read() -> None:
    raw = (
        b"GET / HTTP/1.1\r\nX-Real-IP: 203.0.113.9\r\nCF-Connecting-IP: 203.0.113.9"
        b"\r\nForwarded: for=203.0.113.9\r\nTrue-Client-IP: 203.0.113.9"
    )
    assert TrustedProxies(["10.0.0.0/8"]).client(v4("10.0.0.1"), raw) == v4("10.0.0.1")


def test_trusted_networks_are_checked() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        TrustedProxies(["proxy.example"])
    exact = TrustedProxies(["10.0.0.1"])
    assert exact.trusts(v4("10.0.0.1"))
    assert not exact.trusts(v4("10.0.0.2"))
    assert not exact.trusts(v6("a00:1::"))


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish([account(number) for number in range(1, 9)], [torrent(10)])
    return feed


def asked(
    tracker: RunningTracker, member: int, *headers: str, name: str = "a", **more: Any
) -> dict[bytes, Any]:
    """An announce with request headers of our choice."""
    path = announce_path(general_key(member), 10, name, port=5000 + member, **more)
    lines = "".join(f"{one}\r\n" for one in headers)
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=DEADLINE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        return body_of(read_all(connection))


def test_nobody_plants_a_victim_in_the_peer_lists(feed: Feed, redis_url: str) -> None:
    """Ocelot issue 22, Torrust issue 1987."""
    headers = (
        f"X-Forwarded-For: {VICTIM}",
        f"X-Real-IP: {VICTIM}",
        f"CF-Connecting-IP: {VICTIM}",
        f"Forwarded: for={VICTIM}",
    )
    with running_tracker(redis_url) as tracker:
        for member, header in enumerate(headers, 1):
            asked(tracker, member, header, left=1)
        asked(tracker, 5, *headers, left=1, ip=VICTIM, ipv4=VICTIM, ipv6="2001:db8::9")
        with UdpClient(tracker.udp_port) as client:
            (planted,) = struct.unpack(">I", v4(VICTIM))
            packet = announce_packet(
                client.connect(), info_hash(10), peer_id("u"), left=1, ip=planted, port=5006
            )
            client.ask(packet + url_options(f"/announce/{general_key(6)}".encode()))
        answer = asked(tracker, 7, left=1, name="z")
    peers = answer[b"peers"]
    found = {peers[at : at + 6] for at in range(0, len(peers), 6)}
    assert found == {HOME + struct.pack(">H", 5000 + member) for member in range(1, 7)}
    assert b"peers6" not in answer
    assert {record.address[12:] for record in feed.records()} == {HOME}


def test_behind_a_trusted_proxy_the_client_is_the_peer(feed: Feed, redis_url: str) -> None:
    numbers = ShardNumbers(trusted_proxies=("127.0.0.0/8",))
    with running_tracker(redis_url, numbers) as tracker:
        asked(tracker, 1, f"X-Forwarded-For: 198.51.100.1, {VICTIM}", left=1)
        asked(tracker, 2, "X-Forwarded-For: 2001:db8::9", left=1)
        answer = asked(tracker, 3, left=1)
        refused = asked(tracker, 4, "X-Forwarded-For: unknown")
    assert answer[b"peers"] == v4(VICTIM) + struct.pack(">H", 5001)
    assert answer[b"peers6"] == v6("2001:db8::9") + struct.pack(">H", 5002)
    assert refused == {b"failure reason": b"The proxy does not say which address you have."}


def test_a_proxy_may_open_more_connections_than_one_client(feed: Feed, redis_url: str) -> None:
    limits = HttpLimits(connections_per_address=2)
    for trusted, allowed in (((), 2), (("127.0.0.1",), 5)):
        with running_tracker(
            redis_url, ShardNumbers(limits=limits, trusted_proxies=trusted)
        ) as tracker:
            opened = [
                socket.create_connection(("127.0.0.1", tracker.port), timeout=DEADLINE)
                for _ in range(5)
            ]
            answered = 0
            for one in opened:
                try:
                    one.sendall(b"GET /health HTTP/1.1\r\n\r\n")
                    answered += one.recv(12) == b"HTTP/1.1 200"
                except ConnectionError:
                    pass
            for one in opened:
                one.close()
        assert answered == allowed


@pytest.fixture
def unix_path(tmp_path: Path) -> Path:
    return tmp_path / "t.sock"


def test_announces_come_in_by_a_unix_socket(feed: Feed, redis_url: str, unix_path: Path) -> None:
    listener = open_unix_listener(unix_path)
    assert unix_path.stat().st_mode & 0o777 == 0o660
    with closing(listener), running_tracker(redis_url, more_sockets=(listener,)) as tracker:
        answers = []
        for lines in ("X-Forwarded-For: 198.51.100.4\r\n", ""):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(DEADLINE)
                connection.connect(str(unix_path))
                path = announce_path(general_key(1), 10, left=1)
                connection.sendall(
                    f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode()
                )
                answers.append(body_of(read_all(connection)))
        assert answers[0][b"incomplete"] == 1
        assert b"does not say" in answers[1][b"failure reason"]
        assert asked(tracker, 2, left=1)[b"peers"][:4] == v4("198.51.100.4")


def test_a_unix_socket_file_of_a_dead_program_is_replaced(unix_path: Path) -> None:
    open_unix_listener(unix_path).close()
    again = open_unix_listener(unix_path)
    with closing(again), pytest.raises(PortTaken, match="Another program listens"):
        open_unix_listener(unix_path)


def test_a_unix_socket_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    with pytest.raises(PortTaken, match="can't be made: No such file or directory"):
        open_unix_listener(tmp_path / "missing" / "t.sock")
    with pytest.raises(PortTaken, match="can't be made"):
        open_unix_listener(tmp_path / ("x" * 120))
    kept = tmp_path / "kept"
    kept.write_text("not a socket")
    with pytest.raises(PortTaken, match="can't be made: Address already in use"):
        open_unix_listener(kept)
    assert kept.read_text() == "not a socket"
