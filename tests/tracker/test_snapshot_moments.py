"""What a snapshot may hold, and when: acknowledged records only, and a time that never falls."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.tracker.redis_gate import redis_gate
from tests.tracker.restart_kit import LIFE, Rebuilt, files, place, tracker_process
from tests.tracker.running_tracker import (
    Feed,
    account,
    announce_path,
    eventually,
    general_key,
    request,
    running_tracker,
    torrent,
)
from tracker import wire
from tracker.shard import ShardNumbers
from tracker.snapshot import SnapshotHead, UnusableSnapshot
from tracker.snapshot_folder import SnapshotFolder, SnapshotPlace
from tracker.swarms import Swarms
from tracker.tail import apply_record

MICROSECONDS = 1_000_000
QUICK = 0.2


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish([account(number) for number in range(1, 21)], [torrent(10)])
    return feed


def record(number: int, at: int) -> wire.PeerRecord:
    return wire.PeerRecord(
        *(at, 10, number, b"-XX0100-" + number.to_bytes(12, "big"), 1, 2, 3, 4),
        *(wire.EVENT_STARTED, 4, 5_001, wire.PROTOCOL_HTTP, 0, 1_800),
        *(bytes(10) + b"\xff\xff\x7f\0\0" + bytes([number]), b"-XX0100-"),
    )


def is_written(kept: SnapshotFolder, root: Path) -> bool:
    """Whether a snapshot with the first announce is whole, and waits."""
    for path in root.glob("*.tmp"):
        try:
            if kept.head(path).number == 1:
                return kept.load(path, lambda chunk: Swarms(LIFE).load_chunk(chunk, 0)).number == 1
        except (UnusableSnapshot, FileNotFoundError):
            continue
    return False


def test_unacknowledged_announce_is_in_no_snapshot(
    feed: Feed, redis_url: str, tmp_path: Path
) -> None:
    kept = files(tmp_path)
    snapshots = SnapshotPlace(tmp_path, place(tmp_path).keys, QUICK)
    numbers = ShardNumbers(pending_seconds=0.3)
    with (
        redis_gate(redis_url) as gate,
        running_tracker(gate.url, numbers, snapshots=snapshots) as tracker,
    ):
        eventually(kept.newest.exists, "no snapshot is written")
        gate.loses_replies = True
        path = announce_path(general_key(1), 10)
        assert b"failure reason" in request(tracker.port, path)
        eventually(lambda: is_written(kept, tmp_path), "no snapshot with it is written")
        assert kept.head(kept.newest).number == 0
        gate.loses_replies = False
        gate.cut()
        eventually(lambda: kept.head(kept.newest).number == 1, "it is never kept")
    assert Rebuilt(redis_url, tmp_path).rebuild.swarms.peers == 1


def test_clock_set_back_over_a_restart_stops_neither_answers_nor_expiry(
    feed: Feed, redis_url: str, tmp_path: Path
) -> None:
    ahead = time.time_ns() // 1_000 + 7_200 * MICROSECONDS
    swarms = Swarms(LIFE)
    for number, silent in ((1, 10), (2, LIFE + 60), (3, LIFE + 120)):
        apply_record(swarms, record(number, ahead - silent * MICROSECONDS))
    history = b"h" * 16
    feed.redis.set(wire.history_name(1, 0), history)
    kept = files(tmp_path)
    kept.write(SnapshotHead(1, 0, history, 1, 0, ahead), swarms)
    kept.keep(rotate=True)
    with tracker_process(redis_url, tmp_path) as tracker:
        answer = tracker.announce(5, 10, "e", left=1)
        assert len(answer[b"peers"]) // 6 in {1, 2, 3}
        eventually(
            lambda: len([one for one in feed.records() if one.event == wire.EVENT_EXPIRED]) == 2,
            "peers do not expire",
        )
        expired = {one.account for one in feed.records() if one.event == wire.EVENT_EXPIRED}
        assert expired == {2, 3}
        assert all(one.at >= ahead for one in feed.records())
        assert len(tracker.announce(6, 10, "f", left=1)[b"peers"]) == 2 * 6
