"""Swarms by themselves: storage of large ones, dumps, choices, and expiry that counts its work."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from tracker.protocol.bencode import V4_SIZE, V6_SIZE
from tracker.swarm import Swarm
from tracker.swarms import LOOKED_AT_A_CALL, Departed, Swarms

LIFE = 600
TORRENT = 7


def enter(
    swarms: Swarms, number: int, now: int, *, left: int = 1, endpoint: bytes = b"", torrent: int = 7
) -> Swarm:
    """Let member `number` announce with his only client."""
    peer_id = b"%020d" % number
    swarm = swarms.find(torrent)
    slot = swarm.find(number, peer_id) if swarm is not None else -1
    told = endpoint or number.to_bytes(4, "big") + b"\x1a\xe1"
    if swarm is None or slot < 0:
        swarm, slot = swarms.join(torrent, number, peer_id, now, endpoint=told, seeding=left == 0)
    swarm.update(slot, told, now, key=1, up=2, down=3, left=left, interval=60, by_udp=True)
    return swarm


def filled(size: int, now: int = 0) -> tuple[Swarms, Swarm]:
    swarms = Swarms(LIFE)
    for number in range(1, size + 1):
        swarm = enter(swarms, number, now)
    return swarms, swarm


def expire_all(swarms: Swarms, now: int, limit: int = 256) -> list[Departed]:
    """Call until nobody is dropped any more; no call may look at more peers than it should."""
    gone: list[Departed] = []
    while True:
        before = swarms.looked_at
        departed = swarms.expire(now, limit)
        assert swarms.looked_at - before < LOOKED_AT_A_CALL + 1_024
        assert len(departed) <= limit
        gone += departed
        if not departed and swarms.looked_at - before < LOOKED_AT_A_CALL:
            return gone


def test_members_of_a_swarm_that_grows_and_shrinks_are_found() -> None:
    chance = random.Random(5)
    swarms = Swarms(LIFE)
    model: dict[tuple[int, bytes], tuple[int, dict[int, bytes]]] = {}
    for share, steps in ((0.95, 2_500), (0.02, 4_000), (0.6, 1_500)):
        for _ in range(steps):
            client = (chance.randrange(1, 900), b"%020d" % chance.randrange(3))
            swarm = swarms.find(TORRENT)
            slot = swarm.find(*client) if swarm is not None else -1
            assert (slot >= 0) == (client in model)
            if chance.random() < share:
                left, endpoint = chance.randrange(2), chance.randbytes(chance.choice((6, 6, 18)))
                if swarm is None or slot < 0:
                    swarm, slot = swarms.join(
                        TORRENT, *client, now=0, endpoint=endpoint, seeding=left == 0
                    )
                slot = swarm.update(
                    slot, endpoint, 0, key=0, up=0, down=0, left=left, interval=0, by_udp=False
                )
                endpoints = model[client][1] if client in model else {}
                model[client] = (left, endpoints | {len(endpoint): endpoint})
            elif swarm is not None and slot >= 0:
                left, endpoints = model.pop(client)
                departed = swarms.leave(swarm, slot)
                assert departed.peer.left == left
                assert departed.endpoints == [endpoints[width] for width in sorted(endpoints)]
        check(swarms, model)
        again = Swarms(LIFE)
        assert sum(again.load_chunk(chunk, 0) for chunk in swarms.dump_chunks()) == len(model)
        check(again, model)


def check(swarms: Swarms, model: dict[tuple[int, bytes], tuple[int, dict[int, bytes]]]) -> None:
    swarm = swarms.find(TORRENT)
    assert swarm is not None
    assert swarm.seeders == sum(left == 0 for left, _ in model.values())
    assert swarms.peers == len(swarm) == len(model)
    for client, (left, endpoints) in model.items():
        slot = swarm.find(*client)
        assert swarm.peer(slot).left == left
        assert swarm.endpoints(slot) == [endpoints[width] for width in sorted(endpoints)]
        seats = swarm.seats(client[0])
        assert slot in seats
        assert len(seats) == swarms.peers_of(client[0])
        if slot % 16:
            continue
        possible = {
            endpoint
            for other, (other_left, others) in model.items()
            if other != client and (left or other_left)
            for endpoint in others.values()
        }
        peers4, peers6 = swarm.choose(slot, 40, slot / len(model))
        chosen = cut(peers4, V4_SIZE) + cut(peers6, V6_SIZE)
        assert len(set(chosen)) == len(chosen) == min(40, len(possible))
        assert possible.issuperset(chosen)


def cut(peers: bytes, width: int) -> list[bytes]:
    return [peers[at : at + width] for at in range(0, len(peers), width)]


def test_a_peer_id_that_another_member_copies_is_another_peer() -> None:
    swarms = Swarms(LIFE)
    # 1 and 257 share a tag.
    for account in (1, 257, 2):
        swarms.join(TORRENT, account, b"%020d" % 0, 0, endpoint=bytes(6), seeding=False)
    swarm = swarms.find(TORRENT)
    assert swarm is not None
    found = [swarm.find(account, b"%020d" % 0) for account in (1, 257, 2)]
    assert sorted(found) == [0, 1, 2]
    assert swarm.find(513, b"%020d" % 0) == -1
    assert [swarm.seats(account) for account in (1, 257, 513)] == [[found[0]], [found[1]], []]


def test_every_peer_has_its_chance() -> None:
    _, swarm = filled(200)
    asker = swarm.find(1, b"%020d" % 1)
    offered: set[bytes] = set()
    for step in range(200):
        peers, _ = swarm.choose(asker, 50, step / 200)
        assert len(peers) == 50 * V4_SIZE
        offered.update(cut(peers, V4_SIZE))
    assert len(offered) == 199


def test_empty_swarms_are_given_up() -> None:
    swarms, swarm = filled(1)
    swarms.leave(swarm, 0)
    swarms.expire(LIFE + 120, 10)
    assert swarms.find(TORRENT) is None


@pytest.mark.parametrize("size", [1, 300])
def test_torn_dumps_are_refused(size: int) -> None:
    swarms, _ = filled(size)
    enter(swarms, 1, 0, endpoint=bytes(V6_SIZE))
    (chunk,) = swarms.dump_chunks()
    for cut_off in (1, 5, 22, len(chunk) // 2, len(chunk) - 1):
        with pytest.raises(ValueError, match="torn"):
            Swarms(LIFE).load_chunk(chunk[:-cut_off], 0)
    with pytest.raises(ValueError, match="twice"):
        Swarms(LIFE).load_chunk(chunk + chunk, 0)
    # More seeders than peers.
    with pytest.raises(ValueError, match="torn"):
        Swarms(LIFE).load_chunk(chunk[:8] + b"\xff\xff\0\0" + chunk[12:], 0)


def test_restored_peers_expire_as_they_would_have() -> None:
    swarms, _ = filled(3, now=100)
    enter(swarms, 4, 400)
    (chunk,) = swarms.dump_chunks()
    again = Swarms(LIFE)
    again.load_chunk(chunk, 500)
    assert expire_all(again, 100 + LIFE - 1) == []
    assert len(expire_all(again, 100 + LIFE + 60)) == 3
    assert again.peers == 1


def test_a_large_swarm_is_looked_at_piece_by_piece() -> None:
    size = LOOKED_AT_A_CALL + 5_000
    swarms, swarm = filled(size)
    for number in range(1, size, 7):
        enter(swarms, number, 500)
    staying = len(range(1, size, 7))
    gone = expire_all(swarms, LIFE + 60, limit=2_048)
    assert (len(gone), swarms.peers, len(swarm)) == (size - staying, staying, staying)
    # Nobody is due before the youngest have been silent for a life.
    looked_at = swarms.looked_at
    for now in range(LIFE + 60, 500 + LIFE, 10):
        assert swarms.expire(now, 256) == []
    assert swarms.looked_at == looked_at
    assert len(expire_all(swarms, 500 + LIFE + 60)) == staying


def test_one_silent_peer_of_many_is_found_in_several_calls() -> None:
    swarms, _ = filled(1, now=0)
    for number in range(2, LOOKED_AT_A_CALL + 5_000):
        enter(swarms, number, 500)
    assert swarms.expire(LIFE + 60, 256) == []
    assert swarms.looked_at == LOOKED_AT_A_CALL
    assert [left.peer.account for left in expire_all(swarms, LIFE + 60)] == [1]


def test_who_moves_up_during_a_search_is_not_forgotten() -> None:
    swarms, swarm = filled(3_000, now=0)
    silent, first, others = 2_999, 1, range(2, 2_999)
    for number in (*others, 3_000):
        enter(swarms, number, 500)
    assert swarm.find(first, b"%020d" % first) == 0
    now = LIFE + 60
    # One is found in the upper piece, and the call ends there.
    (departed,) = swarms.expire(now, 1)
    assert departed.peer.account == silent
    # A seeder comes; the lowest leecher makes room and stands at the top now.
    enter(swarms, 4_000, now, left=0)
    assert swarm.find(first, b"%020d" % first) > 2_000
    gone = expire_all(swarms, now)
    gone += expire_all(swarms, now + 60)
    assert [left.peer.account for left in gone] == [first]


def test_clock_that_jumps_forward_costs_no_walk_through_the_years() -> None:
    swarms, _ = filled(2)
    assert len(expire_all(swarms, 10**9)) == 2
    enter(swarms, 1, 10**9)
    assert expire_all(swarms, 10**9 + LIFE - 1) == []
    assert len(expire_all(swarms, 10**9 + LIFE + 60)) == 1


@pytest.mark.parametrize(("swarm_size", "most"), [(50, 130), (2, 300)])
def test_memory_of_a_peer(swarm_size: int, most: int) -> None:
    swarms = Swarms(LIFE)
    count = 4_000 // swarm_size
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, swarm_size + 1):
            for torrent in range(1, count + 1):
                enter(swarms, 1_000 + number, 0, torrent=torrent, left=number % 2)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / swarms.peers <= most
