"""Which Python makes the environment: the first, or one that is well faster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ops.fastest_python import ROUNDS, choose, find_able

SCRIPT = Path(__file__).resolve().parents[2] / "ops" / "fastest_python.py"


def taking(times: dict[str, Sequence[float | None]]) -> Callable[[str], float | None]:
    """Times of each Python round by round."""
    left = {python: iter(each) for python, each in times.items()}
    return lambda python: next(left[python])


@pytest.mark.parametrize(
    ("second", "chosen"),
    [(0.5, "second"), (0.89, "second"), (0.91, "first"), (1.0, "first"), (2.0, "first")],
)
def test_the_first_is_left_for_one_that_takes_a_tenth_less(second: float, chosen: str) -> None:
    times = taking({"first": [1.0] * ROUNDS, "second": [second] * ROUNDS})
    assert choose(["first", "second"], times) == chosen


def test_the_best_round_counts() -> None:
    """One disturbed round must not decide."""
    disturbed = [1.0, 9.0, 9.0, 9.0, 9.0]
    times = taking({"first": disturbed, "second": [1.2] * ROUNDS})
    assert choose(["first", "second"], times) == "first"


def test_one_that_fails_is_not_chosen() -> None:
    fails: list[float | None] = [None] * ROUNDS
    times = taking({"first": fails, "second": [9.0] * ROUNDS, "third": [10.0] * ROUNDS})
    assert choose(["first", "second", "third"], times) == "second"
    assert choose(["first"], taking({"first": fails})) is None
    assert choose([], taking({})) is None


def test_a_single_one_is_asked_once() -> None:
    assert choose(["first"], taking({"first": [1.0]})) == "first"


def test_the_able_are_found_once_each(tmp_path: Path) -> None:
    """By whatever names, in their order, without those too old, broken or not there."""
    link = tmp_path / "link"
    link.symlink_to(sys.executable)
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    candidates = [str(tmp_path / "none"), str(old), sys.executable, str(link)]
    assert find_able(candidates) == [sys.executable]


def test_the_program_names_one_and_says_why_it_cannot() -> None:
    run = subprocess.run(
        [sys.executable, SCRIPT, sys.executable], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, sys.executable), run.stderr
    run = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "python3-venv" in run.stderr
