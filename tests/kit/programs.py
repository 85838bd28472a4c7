"""Programs of the machine that some tests need; absent ones are skipped with their package's name."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest


def require_program(name: str, package: str) -> str:
    """Path of a program; skips the test, saying which Debian package has it, where it is absent."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return path


def until(condition: Callable[[], bool], *, what: str, seconds: float = 45) -> None:
    """Poll until it holds; AssertionError naming `what` when time is up."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.1)


class Program:
    """A started program with its output in a file; ended by its own process id."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=dict(environment) if environment is not None else None,
            )

    def wait_for_port(self, port: int, *, seconds: float = 30) -> None:
        """Wait until it listens on loopback."""
        until(lambda: self._answers(port), what=f"{self.log.stem} on port {port}", seconds=seconds)

    def end(self, *, seconds: float = 15) -> None:
        """Ask it to end; kill it when it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_ended(self, *, seconds: float = 20) -> None:
        """Wait until it ended by itself."""
        self._process.wait(seconds)

    def _answers(self, port: int) -> bool:
        assert self._process.poll() is None, f"it ended: {self.log.read_text(errors='replace')}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
