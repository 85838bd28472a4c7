"""A private installation with a made-up community in it: servers, `trackarr import`, one api."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from ops.api_client import ApiClient
from ops.benchmarks.catalogue_set import PASSWORD, Shape, member_name, write_set
from ops.benchmarks.catalogue_timing import Client
from ops.benchmarks.ground import open_folder
from ops.benchmarks.installed import free_ports, neutral_environment
from ops.benchmarks.processes import BenchmarkFailed, Started, cores, pinned_to, start_own
from ops.embedded import EmbeddedServers
from ops.run_state import Urls
from ops.servers import embedded_servers, migrate_to
from ops.settings import Settings, load_settings

_REMEMBERED = ("imported_facts", "import_seconds", "fold_seconds")


class Stage:
    """What runs, and how to reach it. Made by `open_stage`, which also ends it."""

    def __init__(
        self, folder: Path, settings: Settings, urls: Urls, servers: EmbeddedServers
    ) -> None:
        self.core, self.other_core = cores()
        self.urls = urls
        self.port = settings.network.api_port
        self.imported_facts = 0
        self.import_seconds = 0.0
        self.fold_seconds = 0.0
        self._folder = folder
        self._settings = settings
        self._servers = servers
        self._api: Started | None = None

    @property
    def server_log(self) -> Path:
        return self._servers.log_path

    @property
    def superuser_url(self) -> str:
        return self._servers.superuser_url

    @property
    def database(self) -> str:
        return urlsplit(self.urls.owner_url).path.removeprefix("/").partition("?")[0]

    def import_set(self, file: Path) -> None:
        """`trackarr import`, as an operator runs it; then the read models, timed apart."""
        began = time.monotonic()
        told = self._command("import", str(file), "--no-fold")
        self.import_seconds = time.monotonic() - began
        found = re.search(r"(\d+) facts", told)
        self.imported_facts = int(found[1]) if found else 0
        began = time.monotonic()
        self._command("projections", "catch-up")
        self.fold_seconds = time.monotonic() - began

    def remember(self, file: Path) -> None:
        """Write down what loading took, for `recall`."""
        told = {name: getattr(self, name) for name in _REMEMBERED}
        file.write_text(json.dumps(told) + "\n")

    def recall(self, file: Path) -> None:
        """What loading took when this community went in; read models are brought up to date."""
        for name, value in json.loads(file.read_text()).items():
            setattr(self, name, value)
        self._command("projections", "catch-up")

    def start_api(self) -> None:
        """Start the api on its own core."""
        self._api = start_own(
            "api",
            core=self.core,
            log=self._folder / "api.log",
            environment=self._environment(),
            program=sys.executable,
        )

    def stop_api(self) -> None:
        if self._api is not None:
            self._api.stop()
            self._api = None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A connection of the member of the set who can sign in."""
        with ApiClient(f"http://localhost:{self.port}") as api:
            api.log_in(member_name(0), PASSWORD)
            cookie = api.cookie_header
        with Client(self.port, cookie) as client:
            yield client

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection as the processes have it."""
        return psycopg.connect(self.urls.app_url, autocommit=True)

    def stop(self) -> None:
        """End everything, the servers last."""
        self.stop_api()
        self._servers.stop()

    def _command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ops.cli", *words],
            env=self._environment(),
            stdout=subprocess.PIPE,
            # Its progress is ours.
            stderr=None,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchmarkFailed(f"trackarr {' '.join(words)} ended with {done.returncode}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {
            **neutral_environment(),
            "TRACKARR_DATA_DIR": str(self._settings.storage.data_dir),
            "TRACKARR_API_PORT": str(self.port),
            "TRACKARR_BIND": "127.0.0.1",
            "TRACKARR_LOG_LEVEL": "warning",
            "TRACKARR_LOG_FORMAT": "json",
            # All asks come from one address and one member.
            "TRACKARR_RATE_LIMITS": "off",
            "DATABASE_URL": self.urls.app_url,
            "REDIS_URL": self.urls.redis_url,
        }


@contextmanager
def open_stage(
    shape: Shape, *, kept: Path | None = None, say: Callable[[str], None]
) -> Iterator[Stage]:
    """Servers as shipped, that community in them; no process of ours runs.

    They live in a temporary folder, or in `kept`, which is loaded once and then used as it is.
    """
    (port,) = free_ports(1)
    with open_folder() if kept is None else _kept_folder(kept) as folder:
        loaded = folder.parent / f"loaded-{shape.torrents}.json"
        settings = load_settings({"TRACKARR_DATA_DIR": str(folder), "TRACKARR_API_PORT": str(port)})
        file = folder.parent / "community.jsonl"
        if not loaded.exists():
            if folder.exists():
                raise BenchmarkFailed(f"{folder} holds another community, or half of one")
            write_set(file, shape, name="benchmark", progress=say)
        servers = embedded_servers(settings)
        with pinned_to(cores()[1]):
            started = servers.start()
        stage: Stage | None = None
        try:
            app_url = migrate_to(started.database_url, settings).app_conninfo
            urls = Urls(started.database_url, app_url, started.redis_url)
            stage = Stage(folder.parent, settings, urls, servers)
            if loaded.exists():
                say(f"using what {folder} holds")
                stage.recall(loaded)
            else:
                say(f"importing {file.stat().st_size / 2**20:,.0f} MiB")
                stage.import_set(file)
                file.unlink()
                stage.remember(loaded)
            yield stage
        finally:
            if stage is not None:
                stage.stop()
            servers.stop()


@contextmanager
def _kept_folder(kept: Path) -> Iterator[Path]:
    """A data folder in `kept` that stays, passable as a temporary one is."""
    kept.mkdir(mode=0o711, parents=True, exist_ok=True)
    yield kept.absolute() / "data"
