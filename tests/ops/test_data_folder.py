"""Private files of the data folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ops.data_folder import write_private


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
