"""The program: every command has a help, failures are one sentence, logs hold no secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli import command_names, run
from ops.logs import HIDDEN, drop_colours, hide_secrets

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = {"api", "tracker", "worker", "scheduler"}


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert {*PROCESSES, "up", "migrate", "doctor", "settings"} <= set(command_names())
    for name in command_names():
        assert f" {name} " in printed


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["upp"]) == 2
    assert "upp" in capsys.readouterr().err


def test_a_failure_is_one_sentence_and_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKARR_API_PORT", "99999")
    assert run(["doctor"]) == 2
    assert capsys.readouterr().err == (
        "trackarr: TRACKARR_API_PORT: input should be less than 32768.\n"
    )


def test_printing_the_settings_loads_no_web_server() -> None:
    script = (
        "import sys; from ops.cli import run; run(['settings'])\nsys.exit('fastapi' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True
    )
    assert done.returncode == 0
    assert b"#TRACKARR_API_PORT=8000" in done.stdout


def test_fields_named_for_secrets_are_hidden() -> None:
    event = hide_secrets(None, "info", {"event": "x.y", "passkey": "abc", "torrent": 7})
    assert event == {"event": "x.y", "passkey": HIDDEN, "torrent": 7}
    assert "color_message" not in drop_colours(None, "info", {"event": "x", "color_message": "y"})


def test_the_test_lock_holds_the_runtime_lock() -> None:
    """`ops/test` counts its installation as that of `ops/up`."""
    runtime = pins(ROOT / "requirements.lock")
    assert runtime
    assert runtime.items() <= pins(ROOT / "requirements-test.lock").items()


def pins(lock: Path) -> dict[str, str]:
    lines = [line for line in lock.read_text().splitlines() if "==" in line]
    return {line.split("==")[0]: line.split("==")[1].split()[0] for line in lines}
