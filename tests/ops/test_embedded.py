"""The embedded servers: first start, crashes of every kind, folders that will not do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from ops import server_process
from ops.embedded import SOCKET_FOLDER_LIMIT, EmbeddedServers, ServerUrls
from ops.failures import DataFolderBusy, DataFolderUnusable
from ops.server_process import ServerUser
from tests.kit.servers import server_folder

LIMIT_SECONDS = 60
DURABLE_VALKEY = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as made:
        yield made


@pytest.fixture
def embedded(folder: Path) -> Iterator[EmbeddedServers]:
    servers = EmbeddedServers(folder, durable=False)
    yield servers
    servers.stop()


def keep(urls: ServerUrls) -> None:
    with psycopg.connect(urls.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    client = redis.Redis.from_url(urls.redis_url)
    client.set("kept", 7)
    client.close()


def kept(urls: ServerUrls) -> bool:
    with psycopg.connect(urls.database_url) as connection:
        row = connection.execute("SELECT number FROM kept").fetchone()
    client = redis.Redis.from_url(urls.redis_url)
    value = client.get("kept")
    client.close()
    return row == (7,) and value == b"7"


def wait_until_ended(pid: int) -> None:
    """Until the process is gone, or is a zombie its parent has not collected."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_content_stays_over_a_stop(embedded: EmbeddedServers) -> None:
    keep(embedded.start())
    pids = list(embedded.pids.values())
    embedded.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert kept(embedded.start())


def test_valkey_runs_as_durable_as_announces_need(embedded: EmbeddedServers) -> None:
    client = redis.Redis.from_url(embedded.start().redis_url, decode_responses=True)
    found = {name: client.config_get(name)[name] for name in DURABLE_VALKEY}
    client.close()
    assert found == DURABLE_VALKEY


def test_an_installation_syncs_to_the_disk(folder: Path) -> None:
    servers = EmbeddedServers(folder)
    with psycopg.connect(servers.start().database_url) as connection:
        row = connection.execute("SHOW fsync").fetchone()
    servers.stop()
    assert row == ("on",)


def test_text_search_sees_letters_of_every_script(embedded: EmbeddedServers) -> None:
    with psycopg.connect(embedded.start().database_url) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
        row = connection.execute("SELECT lower('ÄЖ'), cardinality(show_trgm('война'))").fetchone()
    assert row is not None
    assert row[0] == "äж"
    assert row[1] > 0


def test_no_other_user_reads_passwords_or_logs(embedded: EmbeddedServers, folder: Path) -> None:
    embedded.start()
    private = [*folder.glob("*.secret"), folder / "servers.log"]
    assert len(private) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)
    assert (folder / "valkey" / "valkey.sock").stat().st_mode & 0o077 == 0
    assert (folder / "postgres" / "run").stat().st_mode & 0o077 == 0


def test_a_second_owner_of_the_folder_is_refused(embedded: EmbeddedServers, folder: Path) -> None:
    keep(urls := embedded.start())
    with pytest.raises(DataFolderBusy, match="in use by another running Trackarr"):
        EmbeddedServers(folder).start()
    assert kept(urls)


def test_killed_servers_are_restarted_with_their_content(embedded: EmbeddedServers) -> None:
    keep(urls := embedded.start())
    for pid in embedded.pids.values():
        os.kill(pid, signal.SIGKILL)
    for pid in list(embedded.pids.values()):
        wait_until_ended(pid)
    assert embedded.restart_dead() == ["PostgreSQL", "Valkey"]
    assert embedded.restart_dead() == []
    assert kept(urls)


def test_everything_killed_at_once_recovers(embedded: EmbeddedServers, folder: Path) -> None:
    script = (
        "import signal, sys; from pathlib import Path; from ops.embedded import EmbeddedServers\n"
        "servers = EmbeddedServers(Path(sys.argv[1]), durable=False); servers.start()\n"
        "print(*servers.pids.values(), flush=True); signal.pause()"
    )
    keep(embedded.start())
    embedded.stop()
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert owner.stdout is not None
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    for pid in (*pids, owner.pid):
        os.kill(pid, signal.SIGKILL)
    owner.communicate()
    assert kept(embedded.start())


def test_a_reused_pid_in_the_pid_file_does_not_stop_the_start(
    embedded: EmbeddedServers, folder: Path
) -> None:
    """In a container pids repeat, so a crashed server's pid is often another process."""
    keep(embedded.start())
    pid_file = folder / "postgres" / "cluster" / "postmaster.pid"
    _, _, rest = pid_file.read_text().partition("\n")
    embedded.stop()
    # PostgreSQL takes only a process of its own user for a possible server.
    with (folder / "stranger.log").open("ab") as log:
        stranger = ServerUser().spawn(["/bin/sleep", "600"], log)
    pid_file.write_text(f"{stranger.pid}\n{rest}")
    try:
        assert kept(embedded.start())
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_shell_in_a_servers_folder_does_not_stop_the_start(
    embedded: EmbeddedServers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start()
    embedded.stop()
    places = (folder / "postgres" / "cluster", folder / "valkey")
    standing = [subprocess.Popen(["sleep", "100"], cwd=place) for place in places]
    try:
        monkeypatch.setattr(server_process, "ORPHAN_LIMIT_SECONDS", 5)
        embedded.start()
        assert all(process.poll() is None for process in standing)
    finally:
        for process in standing:
            process.kill()
            process.wait()


def test_a_half_made_cluster_is_made_anew(embedded: EmbeddedServers, folder: Path) -> None:
    half = folder / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    keep(embedded.start())
    assert not half.exists()


def test_a_deep_folder_gets_a_short_socket_path(folder: Path) -> None:
    deep = folder / ("d" * SOCKET_FOLDER_LIMIT)
    servers = EmbeddedServers(deep, durable=False)
    urls = servers.start()
    keep(urls)
    assert kept(urls)
    servers.stop()
    assert str(deep) not in urls.database_url + urls.redis_url


def test_an_odd_folder_name_is_encoded_in_the_urls(folder: Path) -> None:
    odd = folder / "a b&c%ä?"
    servers = EmbeddedServers(odd, durable=False)
    urls = servers.start()
    keep(urls)
    assert kept(urls)
    servers.stop()


def test_a_folder_that_cannot_be_made_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(DataFolderUnusable, match="cannot be made: not a directory"):
        EmbeddedServers(folder / "file" / "var").start()


def test_a_closed_parent_keeps_its_mode(folder: Path) -> None:
    """Root cannot hand PostgreSQL a folder below a closed one; an ordinary user can."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    servers = EmbeddedServers(closed / "var", durable=False)
    if os.geteuid() == 0:
        with pytest.raises(DataFolderUnusable, match="unprivileged user cannot enter"):
            servers.start()
    else:
        servers.start()
        servers.stop()
    assert closed.stat().st_mode & 0o777 == 0o700
