"""A private installation to load: servers, fixture, one tracker on its own core, a worker."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from ops.benchmarks.fixture import write_fixture
from ops.benchmarks.ground import open_folder
from ops.benchmarks.installed import free_ports, neutral_environment
from ops.benchmarks.load import Generators, Load, Measured
from ops.benchmarks.processes import Started, cores, cpu_seconds, pinned_to, place, start_own
from ops.container.foundation import foundation
from ops.embedded import EmbeddedServers
from ops.run_state import Urls, settings_at
from ops.servers import embedded_servers, migrate_to
from ops.settings import Settings, load_settings
from tracker.wire import stream_name

RAISED = {
    # As an operator raises them: all load comes from one address and a few thousand members.
    "TRACKARR_TRACKER_CONNECTIONS_PER_ADDRESS": "4096",
    "TRACKARR_TRACKER_ANNOUNCES_PER_MINUTE": "0",
    "TRACKARR_LOG_LEVEL": "warning",
    "TRACKARR_LOG_FORMAT": "json",
}


class Stage:
    """What runs, and how to load it. Made by `open_stage`, which also ends it."""

    def __init__(
        self, folder: Path, settings: Settings, urls: Urls, servers: EmbeddedServers
    ) -> None:
        self.core, self.other_core = cores()
        self.folder = folder
        self.settings = settings_at(settings, urls)
        self.urls = urls
        self.fixture = folder / "fixture"
        self.http_port = settings.network.tracker_port
        self.udp_port = settings.network.udp_port
        self.generators = Generators(folder, core=self.other_core)
        self._servers = servers
        self._tracker: Started | None = None
        self._worker: Started | None = None

    @property
    def tracker_pid(self) -> int:
        if self._tracker is None:
            raise RuntimeError("the tracker of this stage does not run")
        return self._tracker.pid

    @property
    def tracker_log(self) -> Path:
        return self.folder / "tracker.log"

    @property
    def worker_pid(self) -> int:
        if self._worker is None:
            raise RuntimeError("the worker of this stage does not run")
        return self._worker.pid

    def make_fixture(self, *, torrents: int, members: int) -> None:
        """What `trackarr tracker bench-fixture` makes, by the same function."""
        with foundation(self.settings, name="bench", connections=2) as base:
            write_fixture(base, self.fixture, torrents=torrents, members=members, add=False)

    def start_tracker(self, **settings: str) -> None:
        """`settings` are of this start alone."""
        self._tracker = self._start("tracker", self.core, **settings)

    def stop_tracker(self) -> None:
        if self._tracker is not None:
            self._tracker.stop()
            self._tracker = None

    def kill_tracker(self) -> None:
        """As a crash would end it: nothing is written down."""
        if self._tracker is not None:
            self._tracker.kill()
            self._tracker = None

    def start_worker(self) -> None:
        self._worker = self._start("worker", self.other_core)

    def pause_worker(self) -> None:
        """Keep it from working without forgetting anything, as a start would cost CPU time."""
        if self._worker is not None:
            self._worker.signal(signal.SIGSTOP)

    def resume_worker(self) -> None:
        if self._worker is not None:
            self._worker.signal(signal.SIGCONT)

    def stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def stop(self) -> None:
        """End everything, the servers last."""
        self.stop_tracker()
        self.stop_worker()
        self._servers.stop()

    def run(self, load: Load, **options: object) -> Measured:
        """Send `load` to our tracker."""
        port = self.http_port if load.protocol == "http" else self.udp_port
        return self.generators.run(load, port=port, fixture=self.fixture, **options)  # type: ignore[arg-type]

    def server_cpu(self) -> dict[str, float]:
        """CPU seconds so far of each part of the chain that runs."""
        pids = {"valkey": self._servers.pids["valkey"], "postgres": self._servers.pids["postgres"]}
        if self._tracker is not None:
            pids["tracker"] = self._tracker.pid
        if self._worker is not None:
            pids["worker"] = self._worker.pid
        return {name: cpu_seconds(pid) for name, pid in pids.items()}

    @contextmanager
    def server_on_one_core(self) -> Iterator[None]:
        """In this block Valkey, without which no announce is answered, is on the tracker's core."""
        valkey = self._servers.pids["valkey"]
        place(valkey, self.core)
        try:
            yield
        finally:
            place(valkey, self.other_core)

    def newest_entry(self) -> str:
        """Id of the last entry of the tracker's stream, "0-0" while there is none."""
        with redis.Redis.from_url(self.urls.redis_url) as client:
            name = stream_name(self.settings.processes.tracker_shards, 0)
            if not client.exists(name):
                return "0-0"
            newest: bytes = client.xinfo_stream(name)["last-generated-id"]
            return newest.decode()

    def _start(self, name: str, core: int, **own: str) -> Started:
        environment = {
            **neutral_environment(),
            **RAISED,
            "TRACKARR_DATA_DIR": str(self.settings.storage.data_dir),
            "TRACKARR_TRACKER_PORT": str(self.http_port),
            "TRACKARR_UDP_PORT": str(self.udp_port),
            "TRACKARR_BIND": "127.0.0.1",
            "DATABASE_URL": self.urls.app_url,
            "REDIS_URL": self.urls.redis_url,
            **own,
        }
        log = self.folder / f"{name}.log"
        return start_own(name, core=core, log=log, environment=environment, program=sys.executable)


@contextmanager
def open_stage(*, torrents: int, members: int) -> Iterator[Stage]:
    """Servers as shipped in a temporary folder, filled with that fixture; the tracker runs."""
    tracker_port, udp_port = free_ports(2)
    with open_folder() as folder, pinned_to(cores()[1]):
        settings = load_settings(
            {
                "TRACKARR_DATA_DIR": str(folder),
                "TRACKARR_TRACKER_PORT": str(tracker_port),
                "TRACKARR_UDP_PORT": str(udp_port),
            }
        )
        servers = embedded_servers(settings)
        started = servers.start()
        stage: Stage | None = None
        try:
            app_url = migrate_to(started.database_url, settings).app_conninfo
            urls = Urls(started.database_url, app_url, started.redis_url)
            stage = Stage(folder.parent, settings, urls, servers)
            stage.make_fixture(torrents=torrents, members=members)
            stage.start_tracker()
            yield stage
        finally:
            if stage is not None:
                stage.stop()
            servers.stop()
