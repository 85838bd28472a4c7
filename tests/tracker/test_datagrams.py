"""Datagrams in batches and one by one: the same datagrams, the same answers, the same losses."""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.tracker.running_tracker import DEADLINE, eventually
from tracker import datagram_batches
from tracker.datagram_batches import BatchedDatagrams, find_calls, open_datagrams
from tracker.datagrams import BATCH, DATAGRAM_BYTES, Datagram, DatagramSocket, PlainDatagrams

Opener = Callable[[socket.socket], DatagramSocket]
V4, V6 = "127.0.0.1", "::1"
both = pytest.mark.parametrize("opener", [open_datagrams, PlainDatagrams], ids=["batch", "plain"])


def bound(host: str, *, dual: bool = False) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in host:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
    one.bind((host, 0))
    one.settimeout(DEADLINE)
    return one


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with bound("127.0.0.3") as client:
        yield client


def drain(datagrams: DatagramSocket, count: int) -> list[Datagram]:
    """All that comes, until `count` datagrams are there."""
    received: list[Datagram] = []

    def is_complete() -> bool:
        received.extend(datagrams.receive())
        return len(received) >= count

    eventually(is_complete, "datagrams are missing")
    return received


def raw(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def test_linux_has_the_batched_calls() -> None:
    with bound(V4) as server:
        assert isinstance(open_datagrams(server), BatchedDatagrams)


def test_without_the_calls_datagrams_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_batches, "find_calls", lambda: None)
    with bound(V4) as server:
        assert isinstance(open_datagrams(server), PlainDatagrams)


@both
@pytest.mark.parametrize("host", [V4, V6])
def test_datagrams_come_whole_and_in_order(opener: Opener, host: str) -> None:
    with bound(host) as server, bound(host) as sender:
        datagrams = opener(server)
        assert datagrams.receive() == []
        sent = [bytes([n % 256]) * n for n in range(BATCH + 20)]
        for packet in sent:
            sender.sendto(packet, server.getsockname())
        received = drain(datagrams, len(sent))
        assert [one.packet for one in received] == sent
        assert {one.address for one in received} == {raw(host)}
        assert datagrams.send([(one.packet + b"!", one.where) for one in received]) == 0
        assert [sender.recv(4096) for _ in sent] == [packet + b"!" for packet in sent]


@both
def test_answers_go_to_who_asked(opener: Opener) -> None:
    with bound(V4) as server, bound("127.0.0.2") as one, bound("127.0.0.3") as other:
        datagrams = opener(server)
        one.sendto(b"one", server.getsockname())
        other.sendto(b"other", server.getsockname())
        received = drain(datagrams, 2)
        assert {found.packet: found.address for found in received} == {
            b"one": raw("127.0.0.2"),
            b"other": raw("127.0.0.3"),
        }
        datagrams.send([(found.packet, found.where) for found in received])
        assert (one.recv(64), other.recv(64)) == (b"one", b"other")


@both
def test_long_datagrams_are_cut(opener: Opener, client: socket.socket) -> None:
    with bound(V4) as server:
        datagrams = opener(server)
        client.sendto(b"x" * (DATAGRAM_BYTES + 1000), server.getsockname())
        client.sendto(b"y", server.getsockname())
        assert [one.packet for one in drain(datagrams, 2)] == [b"x" * DATAGRAM_BYTES, b"y"]


@both
def test_an_answer_that_cannot_leave_stops_no_other(opener: Opener, client: socket.socket) -> None:
    with bound(V4) as server:
        datagrams = opener(server)
        client.sendto(b"a", server.getsockname())
        (asked,) = drain(datagrams, 1)
        port = client.getsockname()[1].to_bytes(2, "big")
        assert port in asked.where
        nowhere = asked.where.replace(port, bytes(2))
        answers = [(b"1", asked.where), (b"2", nowhere), (b"3", nowhere), (b"4", asked.where)]
        assert datagrams.send(answers) == 2
        assert (client.recv(64), client.recv(64)) == (b"1", b"4")


@both
@pytest.mark.parametrize("wild", ["0.0.0.0", "::"])
def test_ipv4_is_ipv4_on_any_socket(opener: Opener, wild: str, client: socket.socket) -> None:
    with bound(wild, dual=True) as server:
        datagrams = opener(server)
        client.sendto(b"a", (V4, server.getsockname()[1]))
        (asked,) = drain(datagrams, 1)
        assert asked.address == raw("127.0.0.3")
        assert datagrams.send([(b"b", asked.where)]) == 0
        assert client.recv(64) == b"b"


@pytest.mark.parametrize("wild", ["0.0.0.0", "::"])
def test_answers_come_from_the_address_that_was_asked(wild: str, client: socket.socket) -> None:
    with bound(wild, dual=True) as server:
        datagrams = open_datagrams(server)
        asked = ["127.0.0.9", "127.0.0.8", "127.0.0.9"]
        for host in asked:
            client.sendto(host.encode(), (host, server.getsockname()[1]))
        datagrams.send([(one.packet, one.where) for one in drain(datagrams, 3)])
        for _ in asked:
            packet, (host, _) = client.recvfrom(64)
            assert packet == host.encode()


def test_answers_leave_from_ipv6_addresses_too() -> None:
    with bound("::") as server, bound(V6) as client:
        datagrams = open_datagrams(server)
        client.connect((V6, server.getsockname()[1]))
        client.send(b"a")
        (asked,) = drain(datagrams, 1)
        assert asked.address == raw(V6)
        assert datagrams.send([(b"b", asked.where)]) == 0
        assert client.recv(64) == b"b"


def test_a_full_buffer_costs_answers_and_no_time(client: socket.socket) -> None:
    with bound(V4) as server:
        client.sendto(b"a", server.getsockname())
        calls = find_calls()
        assert calls is not None
        pushed: list[int] = []

        def is_full(*_: object) -> int:

            pushed.append(1)
            ctypes.set_errno(errno.EAGAIN)
            return -1

        datagrams = BatchedDatagrams(server, calls[0], is_full)
        (asked,) = drain(datagrams, 1)
        assert datagrams.send([(b"b", asked.where)] * (BATCH + 5)) == BATCH + 5
        assert len(pushed) == 2


def test_what_the_system_wrote_into_the_headers_is_made_good(client: socket.socket) -> None:
    calls = find_calls()
    assert calls is not None
    receive = calls[0]

    def receive_and_shorten(descriptor: int, headers: int, *rest: object) -> int:
        count: int = receive(descriptor, headers, *rest)
        # As after datagrams without sender or control message.
        ctypes.memset(headers + 8, 0, 4)
        ctypes.memset(headers + 40, 0, 8)
        return count

    with bound("0.0.0.0") as server:
        datagrams = BatchedDatagrams(server, receive_and_shorten, calls[1])
        for host in ("127.0.0.8", "127.0.0.9"):
            client.sendto(b"a", (host, server.getsockname()[1]))
            (asked,) = drain(datagrams, 1)
            assert asked.address == raw("127.0.0.3")
            assert datagrams.send([(b"b", asked.where)]) == 0
            assert client.recvfrom(64)[1][0] == host


@both
def test_answers_may_be_longer_than_requests(opener: Opener, client: socket.socket) -> None:
    """Some hundred peers fit no buffer for requests, but each answer has to leave."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    with bound(V4) as server:
        datagrams = opener(server)
        client.sendto(b"a", server.getsockname())
        (asked,) = drain(datagrams, 1)
        sent = [bytes([n]) * (DATAGRAM_BYTES * 2) for n in range(BATCH)]
        for start in range(0, BATCH, 16):
            some = sent[start : start + 16]
            assert datagrams.send([(packet, asked.where) for packet in some]) == 0
            assert [client.recv(1 << 16) for _ in some] == some
        # All at once: more than the buffer holds, and perhaps more than the client's socket does.
        assert datagrams.send([(packet, asked.where) for packet in sent]) == 0
        assert client.recv(1 << 16) == sent[0]
