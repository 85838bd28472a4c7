"""Real servers for tests: one embedded pair a test process, a fresh database a test."""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import redis
from psycopg import sql

from ops.embedded import EmbeddedServers

APP_ROLE = "trackarr_app"
# One password for all databases of a test cluster, as the role belongs to the cluster.
APP_PASSWORD = "trackarr-app-of-the-tests"
DATABASES = 64
PREFIX = "trackarr-test-"
MEMORY = Path("/dev/shm")
# A pair's files stay below 0.5 GB, most of it PostgreSQL's log; several processes have one each.
MEMORY_NEEDED = 2 * 1024**3


@dataclass(frozen=True)
class Database:
    """One database of a test: the login that migrated it, and the login processes use."""

    owner_url: str
    app_url: str


class TestServers:
    """A running pair, and how to get fresh databases from it."""

    __test__ = False

    def __init__(self, owner_url: str, redis_url: str) -> None:
        self.owner_url = owner_url
        self.redis_url = redis_url
        self._template: str | None = None

    @contextmanager
    def database(
        self, *, migrated: bool = True, like: Database | None = None
    ) -> Iterator[Database]:
        """A database of its own, cloned from the migrated template or empty; dropped at the end.

        `like` is another one to clone instead; nobody may be connected to it.
        """
        name = f"test_{uuid4().hex}"
        if like is not None:
            self._create(name, urlsplit(like.owner_url).path.removeprefix("/"))
        else:
            self._create(name, self._migrated_template() if migrated else None)
        owner = _with_database(self.owner_url, name)
        try:
            yield Database(owner, _with_login(owner, APP_ROLE, APP_PASSWORD))
        finally:
            self._drop(name)

    def close(self) -> None:
        if self._template:
            self._drop(self._template)

    def _migrated_template(self) -> str | None:
        """The name of a migrated database, made once a session."""
        if self._template is None and importlib.util.find_spec("ops.migrations.migrate"):
            name = f"template_{uuid4().hex}"
            self._create(name, None)
            self._template = name
            module = importlib.import_module("ops.migrations.migrate")
            module.migrate(_with_database(self.owner_url, name), app_password=APP_PASSWORD)
        return self._template

    def _create(self, name: str, template: str | None) -> None:
        # Copied file by file: block by block through the log costs twice the time.
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(template or "template1")
        )
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(statement)
            if template:
                # A clone does not inherit rights on the database itself.
                connection.execute(
                    sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(
                        sql.Identifier(name), sql.Identifier(APP_ROLE)
                    )
                )

    def _drop(self, name: str) -> None:
        """Drop a database, also while an autovacuum worker, which we can't end, is busy in it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        deadline = time.monotonic() + 20
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            while True:
                try:
                    connection.execute(statement)
                except psycopg.errors.InsufficientPrivilege:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    return


@contextmanager
def running_servers() -> Iterator[TestServers]:
    """The pair TRACKARR_TEST_SERVERS names (a file: database URL, Redis URL), else one of our own."""
    named = os.environ.get("TRACKARR_TEST_SERVERS")
    if named:
        database_url, redis_url = Path(named).read_text().split()[:2]
        with _redis_index(Path(named).parent) as index:
            yield from _closing(TestServers(database_url, f"{redis_url}?db={index}"))
        return
    with server_folder(_memory()) as folder:
        embedded = EmbeddedServers(folder, connections=200, databases=DATABASES, durable=False)
        urls = embedded.start()
        with psycopg.connect(embedded.superuser_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET max_wal_size = '256MB'")
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield from _closing(TestServers(urls.database_url, urls.redis_url))
        finally:
            embedded.stop()


@contextmanager
def server_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder PostgreSQL's unprivileged user can enter, which pytest's own (0700) is not."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """Where files are never written to a disk, if it has room: the thousand databases of a run are.

    What killed runs left there is removed first, as nothing else frees that memory.
    """
    try:
        for left in MEMORY.glob(f"{PREFIX}*-*"):
            if not Path(f"/proc/{left.name.removeprefix(PREFIX).partition('-')[0]}").exists():
                shutil.rmtree(left, ignore_errors=True)
        room = os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free
    except OSError:
        return None
    return MEMORY if room >= MEMORY_NEEDED else None


def flush(redis_url: str) -> None:
    """Empty the one Redis database this test process may use."""
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    client.close()


def _closing(servers: TestServers) -> Iterator[TestServers]:
    try:
        yield servers
    finally:
        servers.close()


@contextmanager
def _redis_index(folder: Path) -> Iterator[int]:
    """A Redis database number no other test process of the shared pair uses."""
    for index in range(1, DATABASES):
        file: IO[str] = (folder / f"redis-db-{index}.lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        with file:
            yield index
        return
    raise RuntimeError(f"all {DATABASES} Redis databases of the shared test servers are in use")


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
