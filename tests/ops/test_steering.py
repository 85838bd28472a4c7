"""Datagrams reach the socket of their torrent's shard, chosen by the kernel."""

from __future__ import annotations

import select
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.failures import PortTaken
from ops.listening import open_shard_link, open_udp_groups
from ops.settings import NetworkSettings, load_settings
from tests.kit.installation import free_port
from tracker.shard_map import owner_of

CONNECT = 0
ANNOUNCE = 1
SCRAPE = 2


def network(port: int) -> NetworkSettings:
    return load_settings({"TRACKARR_UDP_PORT": str(port)}).network


@pytest.fixture(params=[2, 3])
def groups(request: pytest.FixtureRequest) -> Iterator[list[list[socket.socket]]]:
    opened = open_udp_groups(network(free_port()), request.param)
    yield opened
    for group in opened:
        for one in group:
            one.close()


def receiver(groups: list[list[socket.socket]]) -> tuple[int, bytes]:
    """The shard whose socket holds the one datagram that is there, and the datagram."""
    sockets = {one: shard for shard, group in enumerate(groups) for one in group}
    readable, _, _ = select.select(list(sockets), [], [], 5)
    (found,) = readable
    return sockets[found], found.recv(2048)


def test_announces_and_scrapes_reach_the_owner_of_their_hash(
    groups: list[list[socket.socket]],
) -> None:
    for family, group in ((socket.AF_INET, 0), (socket.AF_INET6, 1)):
        where = groups[0][group].getsockname()
        for number in range(40):
            info_hash = struct.pack(">I", number * 2_654_435_761 & 0xFFFFFFFF) + bytes(16)
            action, rest = (ANNOUNCE, bytes(62)) if number % 2 else (SCRAPE, bytes(20))
            packet = struct.pack(">QII", 1, action, number) + info_hash + rest
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.sendto(packet, where)
            assert receiver(groups) == (owner_of(info_hash, len(groups)), packet)


def test_connects_are_spread_over_all_shards(groups: list[list[socket.socket]]) -> None:
    where = groups[0][0].getsockname()
    seen = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(len(groups)):
            client.sendto(struct.pack(">QII", 0x41727101980, CONNECT, number), where)
            shard, _ = receiver(groups)
            assert shard == number % len(groups)
            seen.add(shard)
        # What is no packet at all must not be lost between the sockets either.
        client.sendto(b"short", where)
        assert receiver(groups) == (0, b"short")
    assert len(seen) == len(groups)


def test_another_programs_port_is_not_shared() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        with pytest.raises(PortTaken, match=f"Port {port} "):
            open_udp_groups(network(port), 2)


def test_a_shard_link_is_private_and_may_stand_in_a_deep_folder() -> None:
    with tempfile.TemporaryDirectory() as base, ExitStack() as stack:
        folder = Path(base, *["a-deep-folder"] * 10, "run")
        for _ in range(2):
            # The second replaces what the first left behind.
            link = stack.enter_context(open_shard_link(folder, 3))
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "shard-3.sock").is_socket()
        assert link.getblocking() is False
