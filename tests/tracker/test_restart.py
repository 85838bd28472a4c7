"""A tracker that starts again has the swarms it had: killed, stopped, or with damaged snapshots."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.tracker.restart_kit import (
    Rebuilt,
    TrackerProcess,
    dump,
    files,
    tracker_process,
    until_written,
    whole_stream,
)
from tests.tracker.running_tracker import STREAM, Feed, account, eventually, torrent
from tracker import wire
from tracker.layouts import Layout
from tracker.snapshot import SnapshotHead
from tracker.swarms import Swarms

QUICK = 0.2


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish(
        [account(number) for number in range(1, 31)], [torrent(number) for number in range(10, 15)]
    )
    return feed


def join_all(tracker: TrackerProcess, accounts: range) -> None:
    """Members join, some twice, over both families; every third seeds."""
    for number in accounts:
        where = 10 + number % 5
        tracker.announce(number, where, f"c{number}", left=number % 3, event="started")
        if number % 4 == 0:
            tracker.announce(number, where, f"c{number}", left=number % 3, host="::1")


def some_leave(tracker: TrackerProcess, accounts: range) -> None:
    for number in accounts:
        where = 10 + number % 5
        if number % 2:
            tracker.announce(number, where, f"c{number}", left=0, event="stopped")
        else:
            tracker.announce(number, where, f"c{number}", left=0, uploaded=number * 1_000)


def end_of(feed: Feed) -> str:
    reply: Any = feed.redis.xinfo_stream(STREAM)
    return str(reply["last-generated-id"].decode())


def last_number(feed: Feed) -> int:
    return int(end_of(feed).partition("-")[2])


def trim_to(feed: Feed, redis_url: str, head: SnapshotHead) -> None:
    """Trim as the worker does: what is before a snapshot's last entry."""
    point = wire.StreamPoint(head.last_id, head.at)
    feed.redis.set(wire.trimmed_name(1, 0), wire.pack_points(point))
    feed.redis.xtrim(STREAM, minid=head.last_id, approximate=False)


def test_killed_tracker_has_its_swarms_back(feed: Feed, redis_url: str, tmp_path: Path) -> None:
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        join_all(tracker, range(1, 21))
        until_written(tmp_path, last_number(feed))
        some_leave(tracker, range(1, 11))
        join_all(tracker, range(21, 31))
        tracker.end(kill=True)
    before = whole_stream(redis_url)
    assert sum(map(len, before.values())) == 25
    again = Rebuilt(redis_url, tmp_path)
    assert again.dump == before
    assert again.heard("snapshot.loaded")
    with tracker_process(redis_url, tmp_path) as tracker:
        (started,) = tracker.heard("tracker.started")
        assert (started["peers"], started["epoch"]) == (25, 2)
        assert len(tracker.announce(30, 10, "c30", left=1)[b"peers"]) == 6 * (len(before[10]) - 1)


def test_clean_stop_leaves_all_in_one_file(feed: Feed, redis_url: str, tmp_path: Path) -> None:
    with tracker_process(redis_url, tmp_path) as tracker:
        join_all(tracker, range(1, 21))
        some_leave(tracker, range(1, 8))
        tracker.end(kill=False)
    kept = files(tmp_path)
    head = kept.head(kept.newest)
    assert head.last_id == f"1-{last_number(feed)}"
    # What the process had in memory, against what its records say.
    swarms = Swarms(3_900)
    kept.load(kept.newest, lambda chunk: swarms.load_chunk(chunk, head.at // 1_000_000))
    assert dump(swarms) == whole_stream(redis_url)
    # The stream behind it is empty, so the start must have it from the file alone.
    expected = whole_stream(redis_url)
    trim_to(feed, redis_url, head)
    again = Rebuilt(redis_url, tmp_path)
    assert again.dump == expected
    assert again.rebuild.last_at >= head.at


def test_kill_while_a_snapshot_is_written(feed: Feed, redis_url: str, tmp_path: Path) -> None:
    blocks = [
        wire.RECORD.pack(
            *(1_700_000_000_000_000, number % 50 + 10, number, number.to_bytes(20, "big")),
            *(1, 2, 3, 4, wire.EVENT_STARTED, 4, 5_001, wire.PROTOCOL_HTTP, 0, 1_800),
            *(bytes(10) + b"\xff\xff\x7f\0\0\1", b"-XX0100-"),
        )
        for number in range(1, 30_001)
    ]
    now = int(feed.redis.time()[0]) * 1_000_000
    block = b"".join(now.to_bytes(8, "little") + one[8:] for one in blocks)
    feed.redis.xadd(STREAM, {wire.FIELD_VERSION: wire.VERSION, wire.FIELD_RECORDS: block}, "1-1")
    feed.redis.set(wire.epoch_name(1, 0), 1)
    before = whole_stream(redis_url)
    for _ in range(3):
        with tracker_process(redis_url, tmp_path, 0.05) as tracker:
            eventually(lambda: bool(list(tmp_path.glob("*.tmp"))), "no snapshot is begun")
            tracker.end(kill=True)
        assert Rebuilt(redis_url, tmp_path).dump == before
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        tracker.wait_for("snapshot.written")
        # What the killed ones left is gone, and what they kept is whole.
        assert len(list(tmp_path.glob("*.tmp"))) <= 1
        tracker.end(kill=True)
    assert Rebuilt(redis_url, tmp_path).dump == before


def test_damaged_newest_means_the_one_before(feed: Feed, redis_url: str, tmp_path: Path) -> None:
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        join_all(tracker, range(1, 11))
        until_written(tmp_path, last_number(feed))
        tracker.wait_for("snapshot.written")
        tracker.wait_for("snapshot.written")
        join_all(tracker, range(11, 21))
        tracker.end(kill=True)
    before = whole_stream(redis_url)
    kept = files(tmp_path)
    trim_to(feed, redis_url, kept.head(kept.previous))
    for cut in (-1, 60):
        kept.newest.write_bytes(kept.newest.read_bytes()[:cut])
        again = Rebuilt(redis_url, tmp_path)
        assert again.dump == before
        assert len(again.heard("snapshot.passed_over")) == 1
        assert not again.rebuild.missing_until


def test_lost_snapshots_are_told_and_peers_come_back(
    feed: Feed, redis_url: str, tmp_path: Path
) -> None:
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        join_all(tracker, range(1, 11))
        until_written(tmp_path, last_number(feed))
        join_all(tracker, range(11, 21))
        tracker.end(kill=True)
    kept = files(tmp_path)
    head = kept.head(kept.newest)
    trim_to(feed, redis_url, head)
    kept.newest.unlink()
    kept.previous.unlink(missing_ok=True)
    with tracker_process(redis_url, tmp_path) as tracker:
        assert tracker.heard("tracker.peers_missing")
        health = tracker.health()
        assert (health["ok"], health["peersMissing"]) == (True, True)
        assert health["peers"] < 20
        join_all(tracker, range(1, 21))
        assert tracker.health()["peers"] == 20


def test_stream_that_begins_behind_the_snapshot_is_not_used_with_it(
    feed: Feed, redis_url: str, tmp_path: Path
) -> None:
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        join_all(tracker, range(1, 5))
        tracker.wait_for("snapshot.written")
        tracker.end(kill=True)
    feed.redis.set(wire.trimmed_name(1, 0), wire.pack_points(wire.StreamPoint("1-900", 1)))
    again = Rebuilt(redis_url, tmp_path)
    assert not again.heard("snapshot.loaded")
    assert "too old" in str(again.heard("snapshot.passed_over"))


@pytest.mark.parametrize(
    "lose",
    [
        lambda client: client.flushdb(),
        lambda client: client.set(wire.history_name(1, 0), b"x" * 16),
        lambda client: client.delete(STREAM),
    ],
    ids=["all lost", "another word", "stream lost"],
)
def test_snapshot_of_another_stream_is_dropped(
    feed: Feed, redis_url: str, tmp_path: Path, lose: Callable[[redis.Redis], object]
) -> None:
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        join_all(tracker, range(1, 5))
        until_written(tmp_path, last_number(feed))
        tracker.end(kill=True)
    lose(feed.redis)
    again = Rebuilt(redis_url, tmp_path)
    assert "another one" in str(again.heard("snapshot.passed_over"))
    assert again.rebuild.missing_until
    assert not files(tmp_path).newest.exists()


def test_snapshots_go_on_after_redis_lost_all(feed: Feed, redis_url: str, tmp_path: Path) -> None:
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        join_all(tracker, range(1, 11))
        until_written(tmp_path, last_number(feed))
        chunks: dict[Any, Any] = {
            key: feed.redis.dump(key) for key in feed.redis.scan_iter("access:*")
        }
        with feed.redis.pipeline() as restoring:
            restoring.flushdb()
            for key, chunk in chunks.items():
                restoring.restore(key, 0, chunk)
            restoring.execute()
        for _ in range(2):
            tracker.wait_for("snapshot.written")
        eventually(lambda: bool(feed.redis.exists(wire.snapshots_name(1, 0))), "nothing is stated")
        tracker.announce(30, 10, "c30")
        tracker.end(kill=True)
    again = Rebuilt(redis_url, tmp_path)
    assert sum(map(len, again.dump.values())) == 11


def test_unwritable_folder_is_told_and_announces_go_on(
    feed: Feed, redis_url: str, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "snapshots"
    in_the_way.write_text("a file")
    with tracker_process(redis_url, in_the_way, QUICK) as tracker:
        tracker.wait_for("snapshot.failed")
        join_all(tracker, range(1, 5))
        in_the_way.unlink()
        tracker.wait_for("snapshot.written")
        tracker.end(kill=False)


def test_tracker_states_its_last_two_snapshots(feed: Feed, redis_url: str, tmp_path: Path) -> None:
    key = wire.snapshots_name(1, 0)
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        join_all(tracker, range(1, 5))
        tracker.wait_for("snapshot.written")
        eventually(lambda: bool(feed.redis.exists(key)), "nothing is stated")
        packed = feed.redis.get(key)
        assert isinstance(packed, bytes)
        older, newer = wire.unpack_points(packed)
        assert older.order <= newer.order <= (1, last_number(feed))
        assert older.at < newer.at
        assert 3_900 < feed.redis.ttl(key) <= 4_200
        tracker.end(kill=True)


def test_fork_leaves_no_process_behind(feed: Feed, redis_url: str, tmp_path: Path) -> None:
    with tracker_process(redis_url, tmp_path, QUICK) as tracker:
        for _ in range(2):
            tracker.wait_for("snapshot.written")
        listed = subprocess.run(
            ["ps", "-o", "stat=", "--ppid", str(tracker.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Z" not in listed.stdout
        assert len(listed.stdout.split()) <= 1


def test_another_number_of_shards_takes_snapshots_over(
    feed: Feed, redis_url: str, tmp_path: Path
) -> None:
    with tracker_process(redis_url, tmp_path) as tracker:
        join_all(tracker, range(1, 21))
        tracker.end(kill=False)
    before = whole_stream(redis_url)
    kept = files(tmp_path)
    trim_to(feed, redis_url, kept.head(kept.newest))
    layouts = (Layout(1, 1), Layout(2, 2))
    halves = [Rebuilt(redis_url, tmp_path, layouts, shard) for shard in range(2)]
    assert halves[0].dump.keys().isdisjoint(halves[1].dump)
    assert halves[0].dump | halves[1].dump == before
