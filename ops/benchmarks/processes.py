"""Processes of a benchmark: pinned to a core, their CPU time and memory read, ended by their id."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from ops.readiness import READY_FD, READY_LINE
from ops.server_process import die_with_parent

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class BenchmarkFailed(RuntimeError):
    """Something needed for a figure did not work; there is no figure then."""


@cache
def cores() -> tuple[int, int]:
    """The core of the server that is measured, and that of everything else.

    They are the same where there is only one; then the figures say little. Looked up once: a
    pinned process would see its own core only.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def place(pid: int, core: int) -> None:
    """Keep a process that runs, with all its threads, on one core."""
    for thread in psutil.Process(pid).threads():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread.id, {core})


@contextmanager
def pinned_to(core: int) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Started:
    """A running process of ours; `log` is where its output goes."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        core: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        pipes: Sequence[int] = (),
    ) -> None:
        def prepare() -> None:
            die_with_parent()
            os.sched_setaffinity(0, {core})

        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if environment is None else dict(environment),
                cwd=folder,
                pass_fds=tuple(pipes),
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509  this program starts no threads before
            )
        self.pid = self._process.pid

    def stop(self) -> None:
        """Ask it to end, wait, and kill it where it does not."""
        if self._process.poll() is None:
            # A paused process hears nothing.
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        return self._process.poll() is None


def start_own(
    name: str, *, core: int, log: Path, environment: Mapping[str, str], program: str
) -> Started:
    """Start `trackarr <name>` and wait until it says that it serves. Raises BenchmarkFailed."""
    reading, writing = os.pipe()
    try:
        started = Started(
            [program, "-m", "ops.cli", name],
            core=core,
            log=log,
            environment={**environment, READY_FD: str(writing)},
            pipes=(writing,),
        )
    finally:
        os.close(writing)
    try:
        _await_ready(reading, started, name)
    except BaseException:
        started.stop()
        raise
    finally:
        os.close(reading)
    return started


def _await_ready(pipe: int, started: Started, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    told = b""
    while READY_LINE not in told:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise BenchmarkFailed(f"trackarr {name} was not ready within {START_SECONDS:.0f} s")
        part = os.read(pipe, 64)
        if not part:
            lines = started.log.read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "no output"
            raise BenchmarkFailed(f"trackarr {name} ended while starting: {last}")
        told += part


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its descendants, also of those that ended, seconds."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
    return total


def resident_bytes(pid: int) -> int:
    """Memory a process holds in RAM."""
    return int(psutil.Process(pid).memory_info().rss)
