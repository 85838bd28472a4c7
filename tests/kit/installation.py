"""A whole Trackarr, started as an operator starts it, on free ports and a folder of its own."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from ops.benchmarks.installed import neutral_environment

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90


def free_port() -> int:
    """A free loopback port below the ephemeral range, where clients' own ports do not collide."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Installation:
    """One data folder with its processes; `start` and `stop` may be called repeatedly."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.api_port, self.tracker_port, self.udp_port = free_port(), free_port(), free_port()
        self.environment = {
            **neutral_environment(),
            "PYTHONPATH": str(ROOT),
            "TRACKARR_DATA_DIR": str(folder),
            "TRACKARR_API_PORT": str(self.api_port),
            "TRACKARR_TRACKER_PORT": str(self.tracker_port),
            "TRACKARR_UDP_PORT": str(self.udp_port),
            "TRACKARR_POW_DIFFICULTY": "1",
            "TRACKARR_RATE_LIMITS": "off",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = folder.parent / f"{folder.name}.log"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.api_port}"

    @property
    def run_state(self) -> Mapping[str, Any]:
        """What `up` wrote about itself: process ids, ports, URLs."""
        return dict(json.loads((self.folder / "run.json").read_text()))

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self, *options: str) -> Installation:
        """`trackarr up` with these options, until the api and the tracker answer."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops.cli", "up", *options],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_ready()
        return self

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Poll until the api answers and the tracker is up; AssertionError with the log else."""
        end = time.monotonic() + seconds
        while not self._ready():
            exited = self.process is None or self.process.poll() is not None
            if exited or time.monotonic() > end:
                raise AssertionError(f"not ready; the log says:\n{self.log[-4000:]}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            api = httpx.get(f"http://127.0.0.1:{self.api_port}/api/health", timeout=2)
            tracker = httpx.get(f"http://127.0.0.1:{self.tracker_port}/health", timeout=2)
        except httpx.HTTPError:
            return False
        return api.status_code == 200 and tracker.status_code == 200

    def command(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `trackarr …` against this installation."""
        return subprocess.run(
            [sys.executable, "-m", "ops.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def stop(self, *, signal_number: int = signal.SIGTERM, seconds: float = 40) -> int:
        """End it as an operator would; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(seconds)
