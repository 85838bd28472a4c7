"""Swarms against a plain model: who is in, who is counted, who is offered to whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tracker.protocol.bencode import V4_SIZE, V6_SIZE
from tracker.swarms import Swarms

LIFE = 600
TORRENT = 7


@dataclass
class ModelPeer:
    left: int
    seen: int
    up: int
    endpoints: dict[int, bytes] = field(default_factory=dict)


class SwarmMachine(RuleBasedStateMachine):
    """Clients come, change, leave and fall silent; the model is a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.swarms = Swarms(LIFE)
        self.model: dict[tuple[int, bytes], ModelPeer] = {}
        self.now = 1_000_000

    def find(self, client: tuple[int, bytes]) -> int:
        swarm = self.swarms.find(TORRENT)
        return -1 if swarm is None else swarm.find(*client)

    @rule(
        account=st.integers(1, 3),
        number=st.integers(0, 5),
        left=st.sampled_from([0, 1, 2**64 - 1]),
        up=st.integers(0, 2**63 - 1),
        by_v6=st.booleans(),
        port=st.integers(1, 3),
    )
    def announce(
        self, account: int, number: int, left: int, up: int, by_v6: bool, port: int
    ) -> None:
        client = (account, b"%020d" % number)
        width = V6_SIZE if by_v6 else V4_SIZE
        endpoint = bytes((account, number)) + bytes(width - 4) + port.to_bytes(2, "big")
        swarm, slot = self.swarms.find(TORRENT), self.find(client)
        if client not in self.model:
            assert slot == -1
            taken = sum(key[0] == account for key in self.model)
            assert len(swarm.seats(account) if swarm else []) == taken
            swarm, slot = self.swarms.join(TORRENT, account, client[1], self.now)
            self.model[client] = ModelPeer(left, self.now, up)
        assert swarm is not None
        swarm.update(
            slot,
            endpoint,
            self.now,
            key=number,
            up=up,
            down=0,
            left=left,
            interval=60,
            by_udp=False,
        )
        peer = self.model[client]
        peer.left, peer.seen, peer.up = left, self.now, up
        peer.endpoints[width] = endpoint

    @precondition(lambda self: self.model)
    @rule(choice=st.integers(0, 1000))
    def stop(self, choice: int) -> None:
        client = sorted(self.model)[choice % len(self.model)]
        swarm = self.swarms.find(TORRENT)
        assert swarm is not None
        departed = self.swarms.leave(swarm, self.find(client))
        peer = self.model.pop(client)
        assert (departed.peer.account, departed.peer.peer_id) == client
        assert departed.peer.up == peer.up
        assert departed.endpoints == [peer.endpoints[width] for width in sorted(peer.endpoints)]

    @rule(seconds=st.integers(0, LIFE), limit=st.integers(1, 3))
    def wait(self, seconds: int, limit: int) -> None:
        self.now += seconds
        gone: set[tuple[int, bytes]] = set()
        while departed := self.swarms.expire(self.now, limit):
            assert len(departed) <= limit
            gone.update((left.peer.account, left.peer.peer_id) for left in departed)
        silent = {key for key, peer in self.model.items() if self.now - peer.seen >= LIFE}
        overdue = {key for key, peer in self.model.items() if self.now - peer.seen >= LIFE + 120}
        assert overdue <= gone <= silent
        for key in gone:
            del self.model[key]

    @precondition(lambda self: self.model)
    @rule(
        choice=st.integers(0, 1000),
        want=st.integers(0, 12),
        roll=st.floats(0, 1, exclude_max=True),
    )
    def choose(self, choice: int, want: int, roll: float) -> None:
        client = sorted(self.model)[choice % len(self.model)]
        swarm, slot = self.swarms.find(TORRENT), self.find(client)
        assert swarm is not None
        peers4, peers6 = swarm.choose(slot, want, roll)
        chosen = [peers4[i : i + V4_SIZE] for i in range(0, len(peers4), V4_SIZE)]
        chosen += [peers6[i : i + V6_SIZE] for i in range(0, len(peers6), V6_SIZE)]
        seeding = self.model[client].left == 0
        possible = {
            endpoint: key[1]
            for key, peer in self.model.items()
            if key != client and not (seeding and peer.left == 0)
            for endpoint in peer.endpoints.values()
        }
        assert set(chosen) <= set(possible)
        assert len(set(chosen)) == len(chosen) == min(want, len(possible))
        listed = swarm.choose_listed(slot, want, roll)
        assert sorted(peer.endpoint for peer in listed) == sorted(chosen)
        assert all(possible[peer.endpoint] == peer.peer_id for peer in listed)

    @invariant()
    def counts_agree(self) -> None:
        swarm = self.swarms.find(TORRENT)
        seeders = sum(peer.left == 0 for peer in self.model.values())
        assert (swarm.seeders if swarm else 0) == seeders
        assert (swarm.leechers if swarm else 0) == len(self.model) - seeders
        assert self.swarms.peers == len(self.model)
        for account in (1, 2, 3):
            assert self.swarms.peers_of(account) == sum(key[0] == account for key in self.model)

    @invariant()
    def every_client_is_found(self) -> None:
        for client, peer in self.model.items():
            swarm, slot = self.swarms.find(TORRENT), self.find(client)
            assert swarm is not None
            assert slot >= 0
            assert swarm.peer(slot).seen == peer.seen
            assert swarm.peer(slot).left == peer.left


TestSwarm = SwarmMachine.TestCase
TestSwarm.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_every_peer_has_its_chance() -> None:
    swarms = Swarms(LIFE)
    for number in range(200):
        swarm, slot = swarms.join(TORRENT, number + 1, b"%020d" % number, 0)
        endpoint = number.to_bytes(4, "big") + b"\x00\x01"
        swarm.update(slot, endpoint, 0, key=0, up=0, down=0, left=1, interval=0, by_udp=False)
    asker = swarm.find(1, b"%020d" % 0)
    offered: set[bytes] = set()
    for step in range(200):
        peers, _ = swarm.choose(asker, 50, step / 200)
        assert len(peers) == 50 * V4_SIZE
        offered.update(peers[i : i + V4_SIZE] for i in range(0, len(peers), V4_SIZE))
    assert len(offered) == 199


def test_empty_swarms_are_given_up() -> None:
    swarms = Swarms(LIFE)
    swarm, slot = swarms.join(TORRENT, 1, bytes(20), 0)
    swarm.update(slot, bytes(6), 0, key=0, up=0, down=0, left=1, interval=0, by_udp=False)
    swarms.leave(swarm, slot)
    swarms.expire(LIFE + 120, 10)
    assert swarms.find(TORRENT) is None
