"""`trackarr tracker bench-fixture`: real members and torrents, and a file that names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from ops.cli import run
from ops.read_models import install_read_models
from projections.access import account_entries, torrent_entries
from tests.kit.servers import APP_PASSWORD, Database, server_folder
from tracker.wire import ACCESS_SEQ, TORRENT_ACCEPTED


@pytest.fixture
def folder(database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of an installation without members."""
    with server_folder() as made:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(made))
        monkeypatch.setenv("DATABASE_URL", database.owner_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")
        monkeypatch.setenv("TRACKARR_APP_PASSWORD", APP_PASSWORD)
        install_read_models(database.app_url)
        yield made


def make(output: Path | str, *options: str) -> int:
    command = ["tracker", "bench-fixture", "--torrents=3", "--members=2", f"--output={output}"]
    return run([*command, *options])


def words(output: Path, kind: str) -> list[str]:
    return [line[2:] for line in output.read_text().splitlines() if line[0] == kind]


def test_bench_fixture_names_accepted_torrents_and_their_members(
    folder: Path, database: Database, redis_url: str
) -> None:
    output = folder / "fixture"
    assert make(output) == 0
    with psycopg.connect(database.app_url) as conn:
        accounts, torrents = list(account_entries(conn)), list(torrent_entries(conn))
    assert words(output, "H") == [entry.canonical.hex() for entry in torrents]
    assert {entry.state for entry in torrents} == {TORRENT_ACCEPTED}
    keys = words(output, "K")
    assert [int(key[:8], 16) for key in keys] == [entry.number for entry in accounts]
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists(ACCESS_SEQ), "trackers were not told"


def test_bench_fixture_is_readable_by_its_owner_only(folder: Path) -> None:
    output = folder / "fixture"
    assert make(output) == 0
    assert output.stat().st_mode & 0o777 == 0o600


def test_bench_fixture_refuses_an_installation_with_members(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(folder / "first") == 0
    assert make(folder / "second") == 1
    assert "give --add" in capsys.readouterr().err
    assert not (folder / "second").exists()
    assert make(folder / "second", "--add") == 0
    assert not set(words(folder / "first", "H")) & set(words(folder / "second", "H"))


def test_bench_fixture_makes_nothing_where_it_could_not_write(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(folder / "no" / "such" / "folder") == 1
    assert "can't be written" in capsys.readouterr().err
    with psycopg.connect(database.app_url) as conn:
        assert list(account_entries(conn)) == []


def test_bench_fixture_goes_to_standard_output_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("-") == 0
    printed = capsys.readouterr().out
    assert [line[0] for line in printed.splitlines()] == ["H"] * 3 + ["K"] * 2
