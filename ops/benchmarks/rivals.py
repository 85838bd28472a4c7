"""Other trackers, measured beside ours where they are installed: opentracker, bittorrent-tracker."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.benchmarks.installed import free_ports
from ops.benchmarks.load import Generators, Load, Measured
from ops.benchmarks.processes import BenchmarkFailed, Started, cores, cpu_seconds

OPENTRACKER = "opentracker"
BITTORRENT_TRACKER = "bittorrent-tracker"
VERSION = "11.2.3"
INSTALL_SECONDS = 300.0
START_SECONDS = 20.0
# uint8-util 2.2.6 and newer break this version of the tracker.
PACKAGE = {
    "private": True,
    "dependencies": {BITTORRENT_TRACKER: VERSION},
    "overrides": {"uint8-util": "2.2.5"},
}
SERVER = """\
import Server from 'bittorrent-tracker/server'
const server = new Server({ http: true, udp: true, ws: false, stats: false })
const here = { http: '127.0.0.1', udp: '127.0.0.1', udp6: '::1' }
server.on('error', error => { console.error(error.message); process.exit(1) })
server.on('warning', () => {})
server.listen(Number(process.argv[2]), here, () => console.log('listening'))
"""


@dataclass(frozen=True)
class Rival:
    """A running tracker of others; `keeps_connections` says whether HTTP keep-alive means much."""

    name: str
    port: int
    started: Started
    keeps_connections: bool

    def run(self, generators: Generators, load: Load, fixture: Path) -> Measured:
        return generators.run(load, port=self.port, fixture=fixture)

    def cpu(self) -> float:
        return cpu_seconds(self.started.pid)


@dataclass(frozen=True)
class Absent:
    """A tracker that can't be measured here, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Rivals:
    """What stands beside ours."""

    running: tuple[Rival, ...]
    absent: tuple[Absent, ...]


@contextmanager
def open_rivals(folder: Path, fixture: Path) -> Iterator[Rivals]:
    """Start those that are installed on the measured core; stopped at the end."""
    found: list[Rival] = []
    absent: list[Absent] = []
    with ExitStack() as stack:
        for start in (_start_opentracker, _start_bittorrent_tracker):
            rival = start(folder, fixture)
            if isinstance(rival, Rival):
                stack.callback(rival.started.stop)
                found.append(rival)
            else:
                absent.append(rival)
        yield Rivals(tuple(found), tuple(absent))


def _start_opentracker(folder: Path, fixture: Path) -> Rival | Absent:
    program = shutil.which("opentracker")
    if program is None:
        return Absent(OPENTRACKER, "not installed (Debian package opentracker)")
    place = folder / "opentracker"
    place.mkdir()
    place.chmod(0o755)
    # The package serves listed torrents only; it reads the list below the folder it moves into.
    hashes = [line[2:] for line in fixture.read_text().splitlines(keepends=True) if line[0] == "H"]
    (place / "whitelist").write_text("".join(hashes))
    port = free_ports(1)[0]
    command = [program, "-i", "127.0.0.1", "-p", str(port), "-P", str(port)]
    command += ["-d", str(place), "-w", "whitelist"]
    started = Started(command, core=cores()[0], log=folder / "opentracker.log", folder=place)
    return _answering(Rival(OPENTRACKER, port, started, keeps_connections=False))


def _start_bittorrent_tracker(folder: Path, _fixture: Path) -> Rival | Absent:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return Absent(BITTORRENT_TRACKER, "node or npm is not installed")
    place = _installed(npm)
    if place is None:
        return Absent(BITTORRENT_TRACKER, f"npm could not install version {VERSION}")
    port = free_ports(1)[0]
    started = Started(
        [node, str(place / "server.mjs"), str(port)],
        core=cores()[0],
        log=folder / "bittorrent-tracker.log",
        folder=place,
    )
    return _answering(Rival(BITTORRENT_TRACKER, port, started, keeps_connections=True))


def _installed(npm: str) -> Path | None:
    """The folder it is installed in, kept from one benchmark to the next; None where npm fails."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = caches / "trackarr-bench" / f"{BITTORRENT_TRACKER}-{VERSION}"
    done = place / "installed"
    if not done.exists():
        place.mkdir(parents=True, exist_ok=True)
        (place / "package.json").write_text(json.dumps(PACKAGE))
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            code = subprocess.run(
                command, cwd=place, capture_output=True, timeout=INSTALL_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return None
        if code:
            return None
        done.touch()
    (place / "server.mjs").write_text(SERVER)
    return place


def _answering(rival: Rival) -> Rival:
    """Wait until it listens. Raises BenchmarkFailed."""
    deadline = time.monotonic() + START_SECONDS
    while rival.started.running and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", rival.port)) == 0:
                return rival
        time.sleep(0.02)
    rival.started.stop()
    raise BenchmarkFailed(f"{rival.name} did not start; it said: {_last_line(rival)}")


def _last_line(rival: Rival) -> str:
    lines = rival.started.log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
