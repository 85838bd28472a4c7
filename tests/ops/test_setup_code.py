"""The set-up code: asked for beyond loopback, the same for every process, shown again on demand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.cli import run
from ops.cli import setup_code as setup_code_command
from ops.container.api import _http_settings
from ops.run_state import RunState, Urls
from ops.settings import load_settings
from ops.setup_code import setup_code
from tests.kit.accounts import administrator
from tests.kit.api import Api, running_api
from tests.kit.servers import Database


@pytest.fixture
def beyond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of an installation that others reach."""
    monkeypatch.setenv("TRACKARR_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TRACKARR_BIND", "0.0.0.0")
    return tmp_path


@pytest.fixture
def api(database: Database, redis_url: str) -> Iterator[Api]:
    with running_api(database.app_url, redis_url) as running:
        yield running


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert run(["setup-code"]) == 0
    printed = capsys.readouterr()
    return printed.out.strip(), printed.err


def test_beyond_loopback_one_code_is_made_and_kept_private(beyond: Path) -> None:
    code = setup_code(load_settings())
    assert code is not None
    assert len(code) >= 8
    assert setup_code(load_settings()) == code
    assert (beyond / "setup-code.secret").stat().st_mode & 0o077 == 0


def test_an_api_started_by_itself_asks_for_it_too(beyond: Path) -> None:
    settings = load_settings()
    assert _http_settings(settings).setup_code == setup_code(settings)


def test_on_loopback_none_is_made(tmp_path: Path) -> None:
    settings = load_settings({"TRACKARR_DATA_DIR": str(tmp_path)})
    assert setup_code(settings) is None
    assert _http_settings(settings).setup_code is None
    assert list(tmp_path.iterdir()) == []


def test_a_code_that_is_set_counts_everywhere(tmp_path: Path) -> None:
    for bind in ("127.0.0.1", "0.0.0.0"):
        settings = load_settings(
            {
                "TRACKARR_DATA_DIR": str(tmp_path),
                "TRACKARR_BIND": bind,
                "TRACKARR_SETUP_CODE": "ours",
            }
        )
        assert setup_code(settings) == "ours"
    assert list(tmp_path.iterdir()) == []


def test_the_command_shows_it_again(beyond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = setup_code(load_settings())
    assert shown(capsys) == (code, "")
    assert shown(capsys) == (code, "")


def test_the_command_makes_none(beyond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = shown(capsys)
    assert code == ""
    assert "no code yet" in said
    assert list(beyond.iterdir()) == []


def test_the_command_shows_one_that_is_set(
    beyond: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKARR_SETUP_CODE", "ours")
    assert shown(capsys) == ("ours", "")


def test_the_command_says_where_none_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKARR_DATA_DIR", str(tmp_path))
    code, said = shown(capsys)
    assert code == ""
    assert "only this machine" in said


def test_the_command_knows_when_the_site_has_begun(
    beyond: Path,
    api: Api,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = Urls(api.app_url, api.app_url, "redis://unused")
    state = RunState(
        urls=urls, pids={}, ports={}, public_url="http://localhost", supervisor=os.getpid()
    )
    # The state counts only while `up` holds its lock.
    monkeypatch.setattr(setup_code_command, "read_run_state", lambda _folder: state)
    made = setup_code(load_settings())
    assert shown(capsys)[0] == made
    administrator(api)
    code, said = shown(capsys)
    assert code == ""
    assert "first account" in said


def test_a_first_registration_without_the_code_is_refused(beyond: Path, api: Api) -> None:
    code = setup_code(load_settings())
    guarded = api.configured(setup_code=code)
    for given in ({}, {"setupCode": "guess"}):
        reply = guarded.browser().register("root", **given)
        assert (reply.status_code, reply.json()["data"]["code"]) == (403, "set_up_code_required")
    assert guarded.browser().register("root", setupCode=code).status_code == 200
