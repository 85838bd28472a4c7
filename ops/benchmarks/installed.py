"""A whole installation on free loopback ports, and a signed-in administrator of it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx

from ops.api_client import ApiClient
from ops.benchmarks.ground import open_folder

START_SECONDS = 60
STOP_SECONDS = 40


@contextmanager
def running_installation() -> Iterator[ApiClient]:
    """`trackarr up` in a folder of its own; stopped in order at the end."""
    with open_folder() as folder:
        ports = free_ports(3)
        environment = neutral_environment() | {
            "TRACKARR_DATA_DIR": str(folder),
            "TRACKARR_API_PORT": str(ports[0]),
            "TRACKARR_TRACKER_PORT": str(ports[1]),
            "TRACKARR_UDP_PORT": str(ports[2]),
            "TRACKARR_RATE_LIMITS": "off",
            "TRACKARR_POW_DIFFICULTY": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli", "up"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        url = f"http://localhost:{ports[0]}"
        try:
            _wait(url, process)
            with ApiClient(url) as client:
                client.register("bench", os.urandom(16).hex())
                yield client
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def neutral_environment() -> dict[str, str]:
    """Ours without the variables that say something about an installation of the operator's."""
    own = ("TRACKARR_", "DATABASE_URL", "READ_DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def free_ports(number: int) -> list[int]:
    """That many ports nobody uses on 127.0.0.1, TCP or UDP; from a random one on, as others seek."""
    start = random.randrange(21_000, 31_000)  # noqa: S311 (no secret)
    with ExitStack() as held:
        ports: list[int] = []
        for port in range(start, 32_700):
            if len(ports) == number:
                return ports
            with suppress(OSError):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    probe = held.enter_context(socket.socket(socket.AF_INET, kind))
                    probe.bind(("127.0.0.1", port))
                ports.append(port)
    raise RuntimeError("there are no free ports between 21000 and 32700")


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/api/health").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the installation to measure did not start")
