"""One trace of announces into ours and into bittorrent-tracker (npm): same counts, same peers.

Both are asked over HTTP and UDP on IPv4 and IPv6, and scraped both ways. Where they differ by
design is listed at the masks.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pytest

from ops.benchmarks import rivals
from tests.kit.programs import Program, require_program
from tests.tracker.running_tracker import (
    Feed,
    RunningTracker,
    account,
    announce_path,
    body_of,
    escape,
    general_key,
    info_hash,
    peer_id,
    request,
    running_tracker,
    torrent,
)
from tests.tracker.udp_client import TRANSACTION, UdpClient, announce_packet, url_options
from tracker.rules import Rules
from tracker.shard import ShardNumbers

TORRENTS: Final = range(10, 14)
CLIENTS: Final = range(1, 25)
STEPS: Final = 900
SEED: Final = 20_260_101
"""The trace is always the same one: what one tracker is told, the other is told too."""
EVENTS: Final = ("", "completed", "started", "stopped")
"""In the order of their numbers in BEP 15."""
Peers = set[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Step:
    """One announce of the trace; a client keeps its port, its family and its torrent."""

    client: int
    torrent: int
    host: str
    left: int
    event: str
    numwant: int
    udp: bool

    @property
    def over_v6(self) -> bool:
        return ":" in self.host

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
                chance.random() < 0.5,
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


@dataclass(frozen=True)
class Answer:
    """What both protocols tell; `peers` are endpoints by the parameter they stand in."""

    complete: int
    incomplete: int
    peers: Peers


def answer_of(port: int, step: Step, passkey: str = "") -> Answer:
    """Announce as the step says; without a passkey as to a tracker that knows none."""
    return _by_udp(port, step, passkey) if step.udp else _by_http(port, step, passkey)


def _by_http(port: int, step: Step, passkey: str) -> Answer:
    path = step.path(passkey).replace("/announce/?", "/announce?")
    answer = body_of(request(port, path, step.host))
    assert b"failure reason" not in answer, (step, answer)
    peers = {
        each
        for name, size in ((b"peers", 6), (b"peers6", 18))
        for each in endpoints(name, answer.get(name, b""), size)
    }
    return Answer(answer[b"complete"], answer[b"incomplete"], peers)


def _by_udp(port: int, step: Step, passkey: str) -> Answer:
    with UdpClient(port, step.host) as client:
        packet = client.ask(
            announce_packet(
                client.connect(),
                info_hash(step.torrent),
                peer_id(f"c{step.client}"),
                left=step.left,
                event=EVENTS.index(step.event),
                num_want=step.numwant,
                port=6000 + step.client,
            )
            + (url_options(f"/announce/{passkey}".encode()) if passkey else b"")
        )
    action, transaction, _, incomplete, complete = struct.unpack_from(">I4sIII", packet)
    assert (action, transaction) == (1, TRANSACTION), (step, packet)
    kind, size = (b"peers6", 18) if step.over_v6 else (b"peers", 6)
    return Answer(complete, incomplete, set(endpoints(kind, packet[20:], size)))


def endpoints(name: bytes, packed: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
    assert len(packed) % size == 0
    for at in range(0, len(packed), size):
        yield name, packed[at : at + size]


def test_the_same_trace_gives_the_same_swarms(redis_url: str, rival: int) -> None:
    feed = Feed(redis_url)
    feed.publish([account(n) for n in CLIENTS], [torrent(number) for number in TORRENTS])
    numbers = ShardNumbers(rules=Rules(announces_per_minute=0))
    compared = {False: 0, True: 0}
    seeding: dict[int, set[int]] = {number: set() for number in TORRENTS}
    with running_tracker(redis_url, numbers) as tracker:
        for number, step in enumerate(recorded_trace()):
            here = tracker.udp_port if step.udp else tracker.port
            ours = answer_of(here, step, general_key(step.client))
            if step.udp and step.over_v6:
                # Theirs answers such a packet with 6-byte peers; over HTTP it takes the step well.
                theirs = answer_of(rival, replace(step, udp=False))
            else:
                theirs = answer_of(rival, step)
            follow(seeding[step.torrent], step)
            counts = (ours.complete, ours.incomplete)
            assert counts == (theirs.complete, theirs.incomplete), (number, step)
            if step.event == "stopped":
                # A client that leaves needs no peers, so ours sends none.
                assert ours.peers == set()
            elif step.numwant == 50:
                compared[step.udp] += 1
                masked = theirs.peers - left_out(seeding[step.torrent], step)
                assert ours.peers == {each for each in masked if fits(each, step)}, (number, step)
            else:
                # Which few of many is chance; they are among those of the swarm.
                assert len(ours.peers) <= step.numwant
            if number % 100 == 99:
                assert scraped_from(tracker) == scraped(rival, rival), number
    assert min(compared.values()) > STEPS // 6


def scraped_from(tracker: RunningTracker) -> list[tuple[int, int]]:
    return scraped(tracker.port, tracker.udp_port, general_key(1))


def scraped(port: int, udp_port: int, passkey: str = "") -> list[tuple[int, int]]:
    """Seeders and leechers of every torrent, the same over HTTP and UDP."""
    asked = "&".join(f"info_hash={escape(info_hash(number))}" for number in TORRENTS)
    way = f"/scrape/{passkey}" if passkey else "/scrape"
    files = body_of(request(port, f"{way}?{asked}"))[b"files"]
    # Theirs writes a hash as text, so that bytes above 127 are two each.
    hashes = [info_hash(number) for number in TORRENTS]
    named = [h if passkey else h.decode("latin-1").encode() for h in hashes]
    by_http = [(files[name][b"complete"], files[name][b"incomplete"]) for name in named]
    with UdpClient(udp_port) as client:
        head = client.connect() + struct.pack(">I4s", 2, TRANSACTION)
        options = url_options(way.encode()) if passkey else b""
        packet = client.ask(head + b"".join(hashes) + options)
    assert packet[:8] == struct.pack(">I4s", 2, TRANSACTION)
    triples = list(struct.iter_unpack(">III", packet[8:]))
    assert [(complete, incomplete) for complete, _, incomplete in triples] == by_http
    return by_http


def fits(found: tuple[bytes, bytes], step: Step) -> bool:
    """Whether a peer can stand in the answer: UDP holds peers of the asker's family only."""
    return not step.udp or found[0] == (b"peers6" if step.over_v6 else b"peers")


def follow(seeding: set[int], step: Step) -> None:
    if step.event == "stopped" or step.left:
        seeding.discard(step.client)
    else:
        seeding.add(step.client)


def left_out(seeding: set[int], step: Step) -> Peers:
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
