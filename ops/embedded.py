"""Embedded PostgreSQL and Valkey: one owner of a data folder starts, revives and stops both."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ops.data_folder import lock_file, prepare_folder
from ops.embedded_postgres import EmbeddedPostgres
from ops.embedded_valkey import EmbeddedValkey
from ops.failures import DataFolderUnusable
from ops.server_process import ServerUser

# sockaddr_un holds 108 bytes on Linux and 104 on macOS; the longest name is `.s.PGSQL.5432.lock`.
SOCKET_FOLDER_LIMIT = 84
LOCK_NAME = "servers.lock"
LOG_LIMIT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class ServerUrls:
    """Where the servers are. `database_url` is the owner's login; both may hold passwords."""

    database_url: str
    redis_url: str


class EmbeddedServers:
    """PostgreSQL 18 and Valkey 9 in `root`, held by an exclusive lock while they run.

    A given URL takes the place of that server. `durable=False` turns PostgreSQL's fsync off: for tests, where only processes crash.
    Start from the main thread: on Linux the servers stop when the thread that started them ends.
    Raises DataFolderBusy, DataFolderUnusable or ServerDidNotStart.
    """

    def __init__(
        self,
        root: Path,
        *,
        connections: int = 100,
        databases: int = 16,
        durable: bool = True,
        given_database_url: str | None = None,
        given_redis_url: str | None = None,
    ) -> None:
        self._root = root.absolute()
        self._connections = connections
        self._databases = databases
        self._durable = durable
        self._given_database_url = given_database_url
        self._given_redis_url = given_redis_url
        self._lock: IO[str] | None = None
        self._log: IO[bytes] | None = None
        self._short: list[Path] = []
        self._postgres: EmbeddedPostgres | None = None
        self._valkey: EmbeddedValkey | None = None

    @property
    def log_path(self) -> Path:
        return self._root / "servers.log"

    def start(self) -> ServerUrls:
        """Start the servers that are not given and return once each answers."""
        user = ServerUser()
        self._prepare_root(user)
        self._lock = lock_file(self._root / LOCK_NAME)
        try:
            self._log = _open_log(self.log_path)
            return ServerUrls(
                self._given_database_url or self._start_postgres(user, self._log),
                self._given_redis_url or self._start_valkey(self._log),
            )
        except BaseException:
            self.stop()
            raise

    def restart_dead(self) -> list[str]:
        """Start again what has ended by itself; gives the names. URLs stay the same."""
        revived: list[str] = []
        if self._log is None:
            return revived
        for name, server in (("PostgreSQL", self._postgres), ("Valkey", self._valkey)):
            if server and server.process and server.process.poll() is not None:
                server.start(self._log, self.log_path)
                revived.append(name)
        return revived

    def stop(self) -> None:
        """Stop Valkey, then PostgreSQL, and release the folder; harmless when not started."""
        if self._valkey:
            self._valkey.stop()
        if self._postgres:
            self._postgres.stop()
        if self._log:
            self._log.close()
        for folder in self._short:
            shutil.rmtree(folder, ignore_errors=True)
        if self._lock:
            self._lock.close()
        self._valkey = self._postgres = self._log = self._lock = None
        self._short = []

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by server name, of those that run."""
        servers = {"postgres": self._postgres, "valkey": self._valkey}
        return {n: s.process.pid for n, s in servers.items() if s and s.process}

    @property
    def superuser_url(self) -> str:
        """The superuser's URL; only tests and repair need it."""
        if self._postgres is None:
            raise RuntimeError("the embedded servers are not started")
        return self._postgres.superuser_url

    def _start_postgres(self, user: ServerUser, log: IO[bytes]) -> str:
        folder = self._root / "postgres"
        self._postgres = EmbeddedPostgres(
            folder,
            self._socket_folder(folder / "run"),
            user,
            connections=self._connections,
            durable=self._durable,
        )
        self._postgres.start(log, self.log_path)
        return self._postgres.url

    def _start_valkey(self, log: IO[bytes]) -> str:
        folder = self._root / "valkey"
        socket = self._socket_folder(folder) / "valkey.sock"
        self._valkey = EmbeddedValkey(folder, socket, databases=self._databases)
        self._valkey.start(log, self.log_path)
        return self._valkey.url

    def _prepare_root(self, user: ServerUser) -> None:
        prepare_folder(self._root)
        if user.dropped and not user.can_enter(self._root):
            raise DataFolderUnusable(
                f"The data folder {self._root} lies below a folder PostgreSQL's unprivileged user "
                "cannot enter; choose another TRACKARR_DATA_DIR, or run as an ordinary user."
            )

    def _socket_folder(self, wanted: Path) -> Path:
        """`wanted`, or a short private folder where its path is too long for a socket."""
        if len(os.fsencode(wanted)) <= SOCKET_FOLDER_LIMIT:
            return wanted
        short = Path(tempfile.mkdtemp(prefix="trackarr-"))
        self._short.append(short)
        return short


def _open_log(path: Path) -> IO[bytes]:
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
