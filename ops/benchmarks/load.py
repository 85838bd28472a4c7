"""The load generators: compiled for a benchmark, run on their own core, their report read."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ops.benchmarks.processes import BenchmarkFailed, pinned_to
from ops.failures import OperatorError

SOURCES = Path(__file__).parent / "generator"
SHARED = ("load.c", "report.c")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
MOST_SECONDS = 900

Protocol = Literal["http", "udp"]


class CompilerMissing(OperatorError):
    """The generators are C programs, compiled when they are needed."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator saw; rates a second, times in microseconds.

    `errors` are refusals, `failures` broken connections, `lost` answers that never came: a figure
    is sound only without them.
    """

    kind: Literal["run", "window"]
    done: int
    seconds: float
    rate: float
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    errors: int
    failures: int
    lost: int
    peers_per_answer: float
    generator_cpu_seconds: float
    first_error: str

    @property
    def faults(self) -> int:
        return self.errors + self.failures + self.lost


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to send; see `--help` of the generators. `rate` None is as fast as answers come."""

    protocol: Protocol
    seconds: float = 3.0
    count: int | None = None
    rate: float | None = None
    in_flight: int = 256
    torrents: int | None = None
    members: int | None = None
    peers: int = 50
    fill: bool = False
    leech: bool = False
    keyless: bool = False
    keep_alive: bool = False
    connect_each: bool = False
    window_seconds: float | None = None

    def arguments(self) -> list[str]:
        words = [f"--seconds={self.seconds}"]
        for name in ("count", "rate", "in_flight", "torrents", "members", "peers"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"--{name.replace('_', '-')}={value}")
        if self.window_seconds is not None:
            words.append(f"--window-seconds={self.window_seconds}")
        flags = ("fill", "leech", "keyless", "keep_alive", "connect_each")
        return words + [f"--{name.replace('_', '-')}" for name in flags if getattr(self, name)]


class Generators:
    """The compiled programs; `folder` must outlive them."""

    def __init__(self, folder: Path, *, core: int) -> None:
        """Compile into `folder`. Raises CompilerMissing."""
        self._folder = folder
        self._core = core
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise CompilerMissing(
                "There is no C compiler here, and the load generators are compiled when they are "
                "needed; install one, the Debian package is gcc."
            )
        for name in ("http", "udp"):
            sources = [SOURCES / source for source in (f"{name}.c", *SHARED)]
            done = subprocess.run(
                [compiler, *FLAGS, "-o", folder / name, *sources],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchmarkFailed(f"{name}.c does not compile here: {done.stderr.strip()}")

    def run(
        self,
        load: Load,
        *,
        port: int,
        fixture: Path,
        on_window: Callable[[Measured], None] = lambda _: None,
    ) -> Measured:
        """Send the load to the tracker at `port` of 127.0.0.1. Raises BenchmarkFailed."""
        command = [str(self._folder / load.protocol), f"--server=127.0.0.1:{port}"]
        command += [f"--fixture={fixture}", *load.arguments()]
        last: Measured | None = None
        with (
            pinned_to(self._core),
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process,
        ):
            try:
                for line in process.stdout or ():
                    last = msgspec.json.decode(line, type=Measured)
                    if last.kind == "window":
                        on_window(last)
                said = (process.stderr.read() if process.stderr else "").strip()
                if process.wait(MOST_SECONDS) or last is None or last.kind != "run":
                    raise BenchmarkFailed(f"the {load.protocol} generator failed: {said}")
            finally:
                if process.poll() is None:
                    process.kill()
        if not last.done:
            reason = f": {last.first_error}" if last.first_error else "."
            raise BenchmarkFailed(f"The tracker answers nothing{reason}")
        return last
