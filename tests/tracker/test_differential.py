"""One trace of announces into ours and into bittorrent-tracker (npm): same counts, same peers.

Both are asked over HTTP on IPv4 and IPv6. Where they differ by design is listed at the masks.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from ops.benchmarks import rivals
from tests.kit.programs import Program, require_program
from tests.tracker.running_tracker import (
    Feed,
    account,
    announce_path,
    body_of,
    general_key,
    request,
    running_tracker,
    torrent,
)
from tracker.rules import Rules
from tracker.shard import ShardNumbers

TORRENTS: Final = range(10, 14)
CLIENTS: Final = range(1, 25)
STEPS: Final = 600
SEED: Final = 20_260_101
"""The trace is always the same one: what one tracker is told, the other is told too."""


@dataclass(frozen=True)
class Step:
    """One announce of the trace; a client keeps its port, its family and its torrent."""

    client: int
    torrent: int
    host: str
    left: int
    event: str
    numwant: int

    def path(self, passkey: str) -> str:
        more: dict[str, object] = {"event": self.event} if self.event else {}
        return announce_path(
            passkey,
            self.torrent,
            f"c{self.client}",
            port=6000 + self.client,
            left=self.left,
            numwant=self.numwant,
            **more,
        )


def recorded_trace() -> list[Step]:
    """Clients come, go on, complete, leave and come again, in four swarms."""
    chance = random.Random(SEED)
    left: dict[int, int] = {}
    trace = []
    for _ in range(STEPS):
        client = chance.choice(CLIENTS)
        event = ""
        if client not in left:
            left[client], event = chance.choice((0, 0, 700)), "started"
        elif chance.random() < 0.2:
            event = "stopped"
        elif left[client] and chance.random() < 0.3:
            left[client], event = 0, "completed"
        trace.append(
            Step(
                client,
                TORRENTS[client % len(TORRENTS)],
                "::1" if client % 3 == 0 else "127.0.0.1",
                left[client],
                event,
                chance.choice((0, 3, 50, 50, 50)),
            )
        )
        if event == "stopped":
            del left[client]
    return trace


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running bittorrent-tracker."""
    node, npm = require_program("node", "nodejs"), require_program("npm", "npm")
    place = rivals._installed(npm)
    if place is None:
        # Its package cannot be had where there is no registry; the programs are there.
        require_program(f"{rivals.BITTORRENT_TRACKER} {rivals.VERSION}", "none: npm, a registry")
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("rival")
    script = place / "differential.mjs"
    # Ours listens on both families; theirs takes one address for HTTP, and `::` is both.
    script.write_text(rivals.SERVER.replace("http: '127.0.0.1'", "http: '::'"))
    program = Program([node, str(script), str(port)], folder / "rival.log", folder=place)
    try:
        program.wait_for_port(port)
        yield port
    finally:
        program.end()


def peers_of(answer: dict[bytes, Any]) -> set[tuple[bytes, bytes]]:
    """Endpoints of an answer by the parameter they stood in."""
    found = set()
    for name, size in ((b"peers", 6), (b"peers6", 18)):
        packed = answer.get(name, b"")
        found |= {(name, packed[at : at + size]) for at in range(0, len(packed), size)}
    return found


def test_the_same_trace_gives_the_same_swarms(redis_url: str, rival: int) -> None:
    feed = Feed(redis_url)
    feed.publish([account(n) for n in CLIENTS], [torrent(number) for number in TORRENTS])
    numbers = ShardNumbers(rules=Rules(announces_per_minute=0))
    compared = 0
    seeding: dict[int, set[int]] = {number: set() for number in TORRENTS}
    with running_tracker(redis_url, numbers) as tracker:
        for number, step in enumerate(recorded_trace()):
            ours = body_of(request(tracker.port, step.path(general_key(step.client)), step.host))
            theirs = body_of(
                request(rival, step.path("").replace("/announce/?", "/announce?"), step.host)
            )
            assert b"failure reason" not in ours, (number, step, ours)
            assert b"failure reason" not in theirs, (number, step, theirs)
            for count in (b"complete", b"incomplete"):
                assert ours[count] == theirs[count], (number, step, ours, theirs)
            follow(seeding[step.torrent], step)
            if step.event == "stopped":
                # A client that leaves needs no peers, so ours sends none.
                assert peers_of(ours) == set()
            elif step.numwant == 50:
                compared += 1
                masked = peers_of(theirs) - left_out(seeding[step.torrent], step)
                assert peers_of(ours) == masked, (number, step)
            else:
                # Which few of many is chance; they are among those of the swarm.
                assert len(peers_of(ours)) <= step.numwant
    assert compared > STEPS // 3


def follow(seeding: set[int], step: Step) -> None:
    if step.event == "stopped" or step.left:
        seeding.discard(step.client)
    else:
        seeding.add(step.client)


def left_out(seeding: set[int], step: Step) -> set[tuple[bytes, bytes]]:
    """What theirs gives and ours does not.

    The asker itself: theirs leaves it out for WebRTC alone. And for a seeder the other seeders,
    which are of no use to it: theirs gives everybody to everybody.
    """
    return {endpoint(client) for client in {step.client} | (set() if step.left else seeding)}


def endpoint(client: int) -> tuple[bytes, bytes]:
    port = (6000 + client).to_bytes(2, "big")
    if client % 3 == 0:
        return b"peers6", socket.inet_pton(socket.AF_INET6, "::1") + port
    return b"peers", socket.inet_aton("127.0.0.1") + port
