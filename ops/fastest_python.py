"""Names the Python that shall make `.venv`: `fastest_python.py CANDIDATE...`; standard library only.

The first candidate that can, unless another does the same work in a tenth less time: a plain source
build is often slower than the distribution's, which is optimised, and the tracker feels it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

ROUNDS = 5
GAIN = 0.1
"""Smaller differences are not worth another Python than the one the operator calls `python3`."""
SECONDS = 30.0
ABLE = """
import importlib.util, sys
able = sys.version_info >= (3, 11) and importlib.util.find_spec("venv") is not None
if not able or not (importlib.util.find_spec("ensurepip") or importlib.util.find_spec("pip")):
    sys.exit(1)
print(sys.executable)
"""
# Much as an announce is: bytes searched and split, numbers read, small tuples in a dictionary.
WORK = """
import re, struct, time
asked = re.compile(rb"GET /([a-z]+)[?]key=([0-9a-f]+)&up=([0-9]+)&down=([0-9]+) ")
packed = struct.Struct("<QQ20s")
class Seen:
    __slots__ = ("times", "peers")
    def __init__(self):
        self.times, self.peers = 0, {}
    def take(self, line):
        name, key, up, down = asked.match(line).groups()
        self.times += 1
        self.peers[self.times & 1023] = (key, int(up), int(down), packed.pack(int(up), 7, key))
        return b"%d:%b" % (len(name), name)
def work():
    line = b"GET /announce?key=0123456789abcdef&up=12345&down=678 "
    seen, began = Seen(), time.process_time()
    for _ in range(20_000):
        seen.take(line)
    return time.process_time() - began
print(min(work(), work(), work()))
"""


def choose(able: Sequence[str], seconds: Callable[[str], float | None]) -> str | None:
    """The first of these that works, or the fastest where that is well faster; None for none.

    `seconds` gives the time of the same work under a Python, None where it fails. They are asked
    in turn and their best counts, as other work of the machine disturbs some rounds.
    """
    best: dict[str, float] = {}
    for _ in range(ROUNDS if len(able) > 1 else 1):
        for python in able:
            taken = seconds(python)
            if taken is not None:
                best[python] = min(taken, best.get(python, taken))
    if not best:
        return None
    first = next(python for python in able if python in best)
    fastest = min(best, key=lambda python: best[python])
    return fastest if best[fastest] < best[first] * (1 - GAIN) else first


def find_able(candidates: Sequence[str]) -> list[str]:
    """The executables behind these names that can make an environment, each once."""
    found: dict[str, str] = {}
    for candidate in candidates:
        path = _said(candidate, ABLE)
        if path:
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _seconds(python: str) -> float | None:
    said = _said(python, WORK)
    return float(said) if said else None


def _said(python: str, program: str) -> str:
    """What a Python prints; nothing where there is no such Python, or it fails."""
    try:
        done = subprocess.run(
            [python, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    chosen = choose(find_able(sys.argv[1:]), _seconds)
    if chosen is None:
        sys.exit(
            "trackarr: no Python here can make an environment: venv or pip is missing "
            "(Debian: apt install python3-venv)."
        )
    print(chosen)
