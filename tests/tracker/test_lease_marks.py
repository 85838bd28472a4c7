"""Who may take a lease over at once: only when the holder is known to be dead; and keeping one."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import redis

from tracker import wire
from tracker.clock import ShardClock
from tracker.lease import ShardLease, is_dead, process_mark
from tracker.redis_link import RedisCalls
from tracker.resp import parse_redis_url
from tracker.service import TrackerConfig, TrackerService


def mark_of_a_child() -> str:
    code = "from tracker.lease import process_mark; print(process_mark())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_ended_process_of_this_machine_is_dead() -> None:
    assert is_dead(mark_of_a_child(), process_mark())


def test_living_process_is_not_dead() -> None:
    assert not is_dead(process_mark(), process_mark())


def test_process_that_reuses_a_pid_does_not_keep_the_lease() -> None:
    fields = process_mark().split("|")
    fields[4] = str(int(fields[4]) - 1)
    assert is_dead("|".join(fields), process_mark())


def test_process_elsewhere_is_left_alone() -> None:
    dead = mark_of_a_child().split("|")
    for place in range(3):
        moved = dead.copy()
        moved[place] = "elsewhere"
        assert not is_dead("|".join(moved), process_mark())
    assert not is_dead("not a mark", process_mark())


def test_clock_never_falls_below_the_last_record() -> None:
    monotonic = 5_000
    wall = 1_000_000_000
    clock = ShardClock(0, lambda: wall, lambda: monotonic)
    assert clock.now() == 1_000_000
    later = ShardClock(2_000_000, lambda: wall, lambda: monotonic)
    assert later.now() == 2_000_000
    monotonic += 3_000
    wall = 0
    assert (clock.now(), later.now()) == (1_000_003, 2_000_003)


LEASE = wire.lease_name(1, 0)


def test_a_long_start_keeps_its_lease_and_notices_its_loss(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    lease = ShardLease(1, 0, process_mark())
    with RedisCalls(parse_redis_url(redis_url), 5) as calls:
        assert lease.take(calls) == 1
        client.pexpire(LEASE, 1_500)
        assert lease.keep(calls, 100.0)
        assert 5_000 < int(client.pttl(LEASE)) <= 6_000
        client.set(LEASE, "another")
        assert not lease.keep(calls, 103.0)
    client.close()


def test_a_start_whose_lease_is_taken_meanwhile_begins_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis.Redis.from_url(redis_url)
    stop, said = threading.Event(), []
    keep = ShardLease.keep

    def taken_meanwhile(lease: ShardLease, calls: RedisCalls, now: float) -> bool:
        client.set(LEASE, "another")
        return keep(lease, calls, now)

    def log(event: str, **fields: object) -> None:
        if event == "tracker.waiting":
            said.append(fields["why"])
            stop.set()

    monkeypatch.setattr(ShardLease, "keep", taken_meanwhile)
    config = TrackerConfig(
        redis_url=redis_url, passkey_keys={}, connection_id_keys={}, own_process=False
    )
    TrackerService(config, [], [], log=log).run(stop, lambda: None)
    assert said == ["another process holds the shard"]
    client.close()
