"""A whole installation on free loopback ports, and a signed-in administrator of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import pbkdf2_hmac, sha256
from itertools import count

import httpx

from ops.benchmarks.ground import open_folder

START_SECONDS = 60
STOP_SECONDS = 40


@contextmanager
def running_installation() -> Iterator[httpx.Client]:
    """`trackarr up` in a folder of its own; stopped in order at the end."""
    with open_folder() as folder:
        ports = _free_ports(3)
        environment = {name: value for name, value in os.environ.items() if _neutral(name)} | {
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
            with httpx.Client(base_url=url, headers={"Origin": url}, timeout=20) as client:
                _wait(client, process)
                _register(client)
                yield client
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _neutral(name: str) -> bool:
    """Whether a variable says nothing about an installation of the operator's."""
    return not name.startswith(("TRACKARR_", "DATABASE_URL", "READ_DATABASE_URL", "REDIS_URL"))


def _free_ports(number: int) -> list[int]:
    held = []
    for port in range(21000, 32000):
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        held.append(probe)
        if len(held) == number:
            break
    ports = [probe.getsockname()[1] for probe in held]
    for probe in held:
        probe.close()
    return ports


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if client.get("/api/health").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the installation to measure did not start")


def _register(client: httpx.Client) -> None:
    """The first account, made as a web client makes it."""
    work = client.get("/api/auth/pow").json()
    for nonce in count():
        digest = sha256(f"{work['challenge']}:{nonce}".encode()).hexdigest()
        if digest.startswith("0" * work["difficulty"]):
            break
    salt = os.urandom(32)
    master = pbkdf2_hmac("sha256", os.urandom(16), salt, 1000, 32)
    body = {
        "username": "bench",
        "salt": b64encode(salt).decode(),
        "verifier": b64encode(sha256(master).digest()).decode(),
        "pow": {"challenge": work["challenge"], "nonce": str(nonce), "hash": digest},
    }
    client.post("/api/auth/register", json=body).raise_for_status()
