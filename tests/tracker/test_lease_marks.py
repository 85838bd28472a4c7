"""Who may take a lease over at once: only when the holder is known to be dead."""

from __future__ import annotations

import subprocess
import sys

from tracker.clock import ShardClock
from tracker.lease import is_dead, process_mark


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
