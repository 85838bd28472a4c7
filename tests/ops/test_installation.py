"""`trackarr up` from outside: ready, stopped, refused; with the real servers, stand-in processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from ops import installation
from ops.benchmarks.installed import neutral_environment
from ops.embedded_valkey import EmbeddedValkey
from tests.kit.installation import free_port
from tests.kit.servers import APP_PASSWORD, TestServers, server_folder

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 60


class Up:
    """One data folder; each start is a process of its own, with its lines kept."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            **neutral_environment(),
            "TRACKARR_DATA_DIR": str(folder),
            "TRACKARR_API_PORT": str(free_port()),
            "TRACKARR_TRACKER_PORT": str(free_port()),
            "TRACKARR_UDP_PORT": str(free_port()),
            **environment,
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(self, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ops.up_with_stand_ins"],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def ready(self, **environment: str) -> tuple[subprocess.Popen[str], list[str]]:
        process = self.start(**environment)
        return process, read_until(process, "Ctrl-C stops all")

    def refused(self, **environment: str) -> str:
        """The one sentence of a start that must fail."""
        process = self.start(**environment)
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode != 0
        sentences = [line for line in output.splitlines() if line.startswith("trackarr: ")]
        assert len(sentences) == 1, output
        assert "Traceback" not in output
        return sentences[0]

    @property
    def run_file(self) -> dict[str, dict[str, int]]:
        return dict(json.loads((self.folder / "run.json").read_text()))

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=LIMIT_SECONDS)


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if text in line:
            return lines
    raise AssertionError("ended early:\n" + "\n".join(lines))


def stop(process: subprocess.Popen[str], number: signal.Signals) -> list[str]:
    process.send_signal(number)
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    return output.splitlines()


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.01)


@pytest.fixture
def up() -> Iterator[Up]:
    with server_folder() as folder:
        started = Up(folder)
        yield started
        started.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_gets_ready_and_stops_in_order(up: Up, number: signal.Signals) -> None:
    process, lines = up.ready()
    pids = list(up.run_file["pids"].values())
    assert set(up.run_file["pids"]) == {
        *("api", "tracker", "scheduler", "worker", "postgres", "valkey")
    }
    assert (up.folder / "run.json").stat().st_mode & 0o777 == 0o600
    ending = stop(process, number)
    assert process.returncode == 0
    ends = [line.split("|")[1].split()[0] for line in ending if "ends by SIGTERM" in line]
    assert ends == ["api", "tracker", "scheduler", "worker"]
    assert ending[-1].endswith("stopped")
    assert any("/docs" in line for line in lines)
    wait_until_gone(pids)
    assert not (up.folder / "run.json").exists()


def test_a_second_start_on_the_folder_is_refused_and_harms_nothing(up: Up) -> None:
    process, _ = up.ready()
    before = up.run_file
    sentence = up.refused(TRACKARR_API_PORT=str(free_port()))
    assert sentence.endswith("is in use by another running Trackarr.")
    assert up.run_file == before
    assert all(psutil.pid_exists(pid) for pid in before["pids"].values())
    stop(process, signal.SIGTERM)


def test_a_taken_port_is_refused(up: Up) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        sentence = up.refused(TRACKARR_TRACKER_PORT=str(port))
        assert other.fileno() > 0
    assert f"Port {port} on 127.0.0.1 is taken" in sentence
    assert "TRACKARR_TRACKER_PORT" in sentence
    assert not (up.folder / "postgres").exists()


def test_a_taken_udp_port_is_refused(up: Up) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        # A program that would share its port does not get to share ours.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        sentence = up.refused(TRACKARR_UDP_PORT=str(port))
    assert f"Port {port} on 127.0.0.1 is taken" in sentence
    assert "TRACKARR_UDP_PORT" in sentence


def test_an_unreachable_database_is_refused_without_its_password(up: Up) -> None:
    port = free_port()
    url = f"postgresql://someone:hidden-word@127.0.0.1:{port}/trackarr"
    sentence = up.refused(DATABASE_URL=url)
    assert f"PostgreSQL at 127.0.0.1:{port} refuses the connection" in sentence
    assert "hidden-word" not in sentence


def test_an_unreachable_redis_is_refused(up: Up) -> None:
    port = free_port()
    sentence = up.refused(REDIS_URL=f"redis://:hidden-word@127.0.0.1:{port}/0")
    assert f"Redis at 127.0.0.1:{port} refuses the connection" in sentence
    assert "hidden-word" not in sentence


def test_an_unwritable_folder_is_refused(up: Up, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    sentence = up.refused(TRACKARR_DATA_DIR=str(tmp_path / "file" / "var"))
    assert "cannot be made: not a directory" in sentence


def test_an_unknown_setting_is_refused(up: Up) -> None:
    assert "TRACKARR_API_PROT is not a setting" in up.refused(TRACKARR_API_PROT="8000")


def given_servers(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings that name them; the login's password is the one all tests on the cluster use."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "TRACKARR_APP_PASSWORD": APP_PASSWORD,
    }


def test_given_servers_are_used_and_left_alone(
    up: Up, servers: TestServers, empty_database_url: str
) -> None:
    given = given_servers(empty_database_url, servers.redis_url)
    process, _ = up.ready(**given)
    assert set(up.run_file["pids"]) == {"api", "tracker", "scheduler", "worker"}
    stop(process, signal.SIGTERM)
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("SELECT count(*) FROM log.migrations").fetchone()
    assert row is not None
    assert row[0] > 0


def test_a_weak_redis_is_refused_unless_allowed(
    up: Up, weak_redis_url: str, empty_database_url: str
) -> None:
    given = given_servers(empty_database_url, weak_redis_url)
    sentence = up.refused(**given)
    assert "appendfsync should be always" in sentence
    process, lines = up.ready(**given, TRACKARR_ALLOW_WEAK_REDIS="1")
    assert any("warning: Redis is weak, appendfsync should be always" in line for line in lines)
    stop(process, signal.SIGTERM)


@pytest.fixture
def weak_redis_url() -> Iterator[str]:
    """A server with the durability most installations have."""
    with server_folder() as folder, (folder / "log").open("ab") as log:
        valkey = EmbeddedValkey(folder / "valkey", folder / "valkey.sock", databases=1)
        valkey.start(log, folder / "log")
        client = redis.Redis.from_url(valkey.url)
        client.config_set("appendfsync", "everysec")
        client.close()
        yield valkey.url
        valkey.stop()


def test_a_killed_up_leaves_nothing_running_and_starts_again(up: Up) -> None:
    process, _ = up.ready()
    pids = list(up.run_file["pids"].values())
    redis_url = str(up.run_file["urls"]["redis_url"])
    client = redis.Redis.from_url(redis_url)
    client.set("kept", "yes")
    client.close()
    process.kill()
    process.communicate(timeout=LIMIT_SECONDS)
    wait_until_gone(pids)
    again, _ = up.ready()
    client = redis.Redis.from_url(redis_url)
    assert client.get("kept") == b"yes"
    client.close()
    stop(again, signal.SIGTERM)
    assert again.returncode == 0


def test_killed_servers_come_back_with_their_content(up: Up) -> None:
    process, _ = up.ready()
    state = up.run_file
    owner_url = str(state["urls"]["owner_url"])
    with psycopg.connect(owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    for name in ("postgres", "valkey"):
        os.kill(state["pids"][name], signal.SIGKILL)
    read_until(process, "PostgreSQL had ended and was started again")
    read_until(process, "Valkey had ended and was started again")
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    assert up.run_file["pids"]["postgres"] != state["pids"]["postgres"]
    stop(process, signal.SIGTERM)
    assert process.returncode == 0


def test_a_bind_beyond_loopback_shows_a_setup_code(up: Up) -> None:
    process, lines = up.ready(TRACKARR_BIND="0.0.0.0")
    assert any("setup code" in line for line in lines)
    stop(process, signal.SIGTERM)


def test_a_rolling_restart_replaces_every_process(up: Up) -> None:
    process, _ = up.ready()
    before = up.run_file
    os.kill(before["supervisor"], signal.SIGUSR1)
    lines = read_until(process, "all processes are replaced")
    order = [line.rpartition(" ")[2] for line in lines if "replacing" in line]
    assert order == ["worker", "scheduler", "tracker", "api"]
    for name in order:
        assert up.run_file["pids"][name] != before["pids"][name]
    stop(process, signal.SIGTERM)
    assert process.returncode == 0


def test_connections_wait_for_a_process_that_is_away(up: Up) -> None:
    """Stand-ins accept nothing at all: it is the supervisor that listens."""
    process, _ = up.ready()
    for port in (up.environment["TRACKARR_API_PORT"], up.environment["TRACKARR_TRACKER_PORT"]):
        socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
    stop(process, signal.SIGTERM)


def test_a_stop_during_the_start_leaves_nothing(up: Up) -> None:
    process = up.start()
    read_until(process, "starting the servers")
    stop(process, signal.SIGTERM)
    assert process.returncode == 0
    assert not (up.folder / "run.json").exists()
    again, _ = up.ready()
    stop(again, signal.SIGTERM)


def test_a_stop_swallowed_on_its_way_ends_the_start_at_the_next_step() -> None:
    """Python passes over what is raised in a finalizer or in a fork hook."""
    with installation._stop_raises() as check_stop:
        check_stop()
        with suppress(installation._StopRequested):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(installation._StopRequested):
            check_stop()
