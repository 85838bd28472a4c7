"""Private files of the data folder."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ops.data_folder import kept_secret, read_secret, write_private
from ops.failures import DataFolderUnusable

SECRETS = 40
RACER = f"""
import json, sys
from pathlib import Path
from ops.data_folder import kept_secret
print("ready", flush=True)
folder = Path(sys.stdin.readline().rstrip())
print(json.dumps([kept_secret(folder / f"{{number}}.secret") for number in range({SECRETS})]))
"""


def test_a_private_file_is_on_the_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, list[str]]] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, sorted(path.name for path in tmp_path.iterdir())))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_private(tmp_path / "kept", "text")
    assert (tmp_path / "kept").read_text() == "text"
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600
    # First what is in it, then, after the rename, the folder.
    assert [is_folder for is_folder, _ in synced] == [False, True]
    assert synced[1][1] == ["kept"]


def test_processes_that_start_together_hold_the_same_secrets(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(f"{tmp_path}\n")
        racer.stdin.flush()
    held = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    kept = [(tmp_path / f"{number}.secret").read_text() for number in range(SECRETS)]
    assert held == [kept] * len(racers)
    assert len(list(tmp_path.iterdir())) == SECRETS


def test_who_comes_second_reads_what_the_first_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.secret"
    make = secrets.token_hex
    first: list[str] = []

    def overtaken(size: int) -> str:
        """Another one asks while we make ours."""
        monkeypatch.setattr(secrets, "token_hex", make)
        first.append(kept_secret(path))
        return make(size)

    monkeypatch.setattr(secrets, "token_hex", overtaken)
    assert kept_secret(path) == first[0] == path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_looking_for_a_secret_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "kept.secret"
    assert read_secret(path) is None
    assert list(tmp_path.iterdir()) == []
    assert kept_secret(path) == read_secret(path)


def test_a_folder_without_links_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(DataFolderUnusable, match="hard links"):
        kept_secret(tmp_path / "kept.secret")
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_private(tmp_path / "kept", "before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(tmp_path / "kept", "after")
    assert (tmp_path / "kept").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1
