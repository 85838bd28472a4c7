"""How a command finds its servers: given, those of a running `up`, or started for its own time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from ops.data_folder import lock_file
from ops.embedded import LOCK_NAME
from ops.failures import ServerUnfit, ServerUnreachable
from ops.migrations.server import log_facts
from ops.run_state import (
    UP_LOCK,
    RunState,
    Urls,
    read_run_state,
    settings_at,
    write_run_state,
)
from ops.servers import connected, migrate_to
from ops.settings import Settings, load_settings
from tests.kit.servers import APP_PASSWORD, Database, TestServers, server_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as made:
        yield made


def settings_in(folder: Path, **environment: str) -> Settings:
    return load_settings({"TRACKARR_DATA_DIR": str(folder), **environment})


def login(url: str) -> str:
    with psycopg.connect(url) as connection:
        return connection.info.user


def test_where_nothing_runs_servers_run_for_the_block(folder: Path) -> None:
    with connected(settings_in(folder)) as urls:
        assert urls.protected
        assert login(urls.app_url) == "trackarr_app"
        facts = log_facts(urls.app_url)
        assert facts is not None
        assert facts.migrated_to == facts.newest
    left = [p for p in psutil.process_iter() if str(folder) in " ".join(_command(p))]
    assert left == []


def test_given_servers_are_used_with_the_restricted_login(
    folder: Path, database: Database, servers: TestServers
) -> None:
    given = settings_in(
        folder,
        DATABASE_URL=database.owner_url,
        REDIS_URL=servers.redis_url,
        TRACKARR_APP_PASSWORD=APP_PASSWORD,
    )
    with connected(given) as urls, connected(given) as beside:
        assert urls == beside
        assert urls.owner_url == database.owner_url
        assert login(urls.app_url) == "trackarr_app"
        filled = settings_at(given, urls).servers
    assert filled.database_url is not None
    assert filled.database_url.get_secret_value() == urls.app_url
    assert not (folder / LOCK_NAME).exists()


def test_a_given_database_is_not_migrated(
    folder: Path, empty_database_url: str, servers: TestServers
) -> None:
    given = settings_in(folder, DATABASE_URL=empty_database_url, REDIS_URL=servers.redis_url)
    with connected(given):
        assert log_facts(empty_database_url) is None


def test_the_restricted_login_cannot_migrate(
    folder: Path, database: Database, servers: TestServers
) -> None:
    given = settings_in(folder, TRACKARR_APP_PASSWORD=APP_PASSWORD)
    with pytest.raises(ServerUnfit, match="give the owner's login"):
        migrate_to(database.app_url, given)


def test_an_unreachable_given_server_is_a_sentence(folder: Path) -> None:
    given = settings_in(folder, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ServerUnreachable, match="DATABASE_URL"), connected(given):
        pass


def test_the_state_of_a_running_up_is_used_and_of_an_ended_one_is_not(folder: Path) -> None:
    state = RunState(Urls("owner", "app", "redis"), {"api": 7}, {"api": 8000}, "http://localhost")
    write_run_state(folder, state)
    assert read_run_state(folder) is None
    with lock_file(folder / UP_LOCK):
        assert read_run_state(folder) == state
        with connected(settings_in(folder)) as urls:
            assert urls == state.urls
    assert read_run_state(folder) is None


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
