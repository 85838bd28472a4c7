"""Closing and searching days of the ledger, by hand and by the scheduler."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from domain.credit import CreditPolicy
from ops.cli import run
from ops.container.foundation import foundation
from ops.container.scheduler import tend_ledger
from ops.keyring_file import KeyringFile
from ops.read_models import install_read_models
from ops.run_state import Urls, settings_at
from ops.settings import Settings, load_settings
from projections import accounting
from projections.accounting_replay import replay
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.ledger_checkpoints import list_checkpoints
from projections.ledger_days import list_closings
from projections.ledger_rows import row_days
from tests.kit.servers import APP_PASSWORD, Database, server_folder
from tests.projections.ledger_kit import MONDAY, keep, spread_records

TUESDAY = MONDAY + timedelta(days=1)
RECORDS = spread_records(600, seed=51, days=2)


@pytest.fixture
def settings(
    database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """An installation with two old days in its ledger, as rows."""
    with server_folder() as folder:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(folder))
        monkeypatch.setenv("DATABASE_URL", database.owner_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")
        monkeypatch.setenv("TRACKARR_APP_PASSWORD", APP_PASSWORD)
        KeyringFile(Path(folder) / "keyring.json").load_or_create()
        install_read_models(database.app_url)
        with psycopg.connect(database.app_url, autocommit=True) as conn:
            keep(conn, RECORDS, [300, 300])
        yield settings_at(load_settings(), Urls(database.owner_url, database.app_url, redis_url))


def spoken(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("settings")
def test_compact_closes_every_day_that_is_over(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "compact", "--day", "2024-03-05"]) == 0
    assert spoken(capsys)[0].startswith("2024-03-05  ")
    assert run(["audit", "compact", "--json"]) == 0
    (line,) = spoken(capsys)
    assert json.loads(line)["day"] == "2024-03-04"
    assert json.loads(line)["closing"] == 2
    assert run(["audit", "compact"]) == 0
    assert spoken(capsys) == ["There is no day to compact."]
    with psycopg.connect(database.app_url) as conn:
        assert row_days(conn) == []


@pytest.mark.usefixtures("settings")
def test_compact_refuses_a_day_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "compact", "--day", "2023-01-01"]) == 1
    assert "has no rows" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
def test_announces_come_by_pages_over_closed_and_open_days(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = RECORDS[RECORDS["account"] == 2]
    assert run(["audit", "compact", "--day", "2024-03-04"]) == 0
    spoken(capsys)
    assert run(["audit", "announces", "--account", "2", "--json"]) == 0
    found = [json.loads(line) for line in spoken(capsys)]
    assert [one["uploaded"] for one in found] == mine["up"].tolist()[:100]
    assert run(["audit", "announces", "--account", "2", "--limit", "60"]) == 0
    *rows, more = spoken(capsys)
    assert len(rows) == 60
    place = more.removeprefix("There may be more: --after ")
    assert run(["audit", "announces", "--account", "2", "--after", place, "--json"]) == 0
    rest = [json.loads(line)["uploaded"] for line in spoken(capsys)]
    assert rest == mine["up"].tolist()[60:]
    assert run(["audit", "announces", "--torrent", "5", "--day", "2024-03-05"]) == 0
    assert all(" torrent 5 " in line for line in spoken(capsys))


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--account", "1", "--torrent", "1"],
        ["--account", "0"],
        ["--account", str(2**32)],
        ["--account", "1", "--limit", "0"],
        ["--account", "1", "--after", "yesterday"],
        ["--account", "1", "--after", "2024-13-01/1/1"],
        ["--account", "1", "--day", "today"],
    ],
)
def test_announces_asked_wrongly_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "announces", *options]) == 2
    assert capsys.readouterr().out == ""


def test_the_scheduler_closes_signs_and_says_so(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database.app_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA IF EXISTS accounting_1 CASCADE")
        replay(conn, accounting.SCHEMA, CreditFold(seed=1), StandingPolicy(CreditPolicy()))
    with foundation(settings, name="scheduler", connections=2) as base, capture_logs() as logs:
        tend_ledger(base, threading.Event())
        tend_ledger(base, threading.Event())
    assert [entry["event"] for entry in logs] == [
        "ledger.day_compacted",
        "ledger.day_compacted",
        "ledger.checkpoint_signed",
        # Older than `ledgerKeepDays`, and a checkpoint stands behind them.
        "ledger.day_retired",
        "ledger.day_retired",
    ]
    with psycopg.connect(database.app_url) as conn:
        assert [closing.day for closing in list_closings(conn)] == [MONDAY, TUESDAY]
        assert len(list_checkpoints(conn)) == 1
    assert run(["audit", "verify", "--from", "checkpoint"]) == 0, spoken(capsys)
    assert run(["audit", "verify", "--from", "start"]) == 0, spoken(capsys)


def test_a_scheduler_that_is_stopped_leaves_the_rest_for_the_next(
    settings: Settings, database: Database
) -> None:
    stop = threading.Event()
    stop.set()
    with foundation(settings, name="scheduler", connections=2) as base:
        tend_ledger(base, stop)
    with psycopg.connect(database.app_url) as conn:
        assert len(row_days(conn)) == 2
