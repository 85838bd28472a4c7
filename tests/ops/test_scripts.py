"""The shell scripts find their source tree from wherever they are called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

OPS = Path(__file__).resolve().parents[2] / "ops"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree below a path with spaces; its Python only says where it was started."""
    tree = tmp_path / "of mine" / "trackarr"
    (tree / "ops").mkdir(parents=True)
    for name in ("up", "test", "bench", "environment.sh"):
        shutil.copy(OPS / name, tree / "ops")
    python = tree / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "$PWD: $*"\n')
    python.chmod(0o755)
    return tree


@pytest.mark.parametrize("script", ["up", "test", "bench"])
@pytest.mark.parametrize("called", ["directly", "relatively", "by-link"])
def test_a_script_works_in_its_own_tree(
    tree: Path, tmp_path: Path, script: str, called: str
) -> None:
    link = tmp_path / "linked"
    link.symlink_to(tree / "ops" / script)
    elsewhere = tmp_path / "elsewhere" / "ops"
    elsewhere.mkdir(parents=True)
    program, folder = {
        "directly": (str(tree / "ops" / script), tmp_path),
        "relatively": (f"ops/{script}", tree),
        "by-link": (str(link), tmp_path),
    }[called]
    run = subprocess.run(
        [program],
        cwd=folder,
        env={**os.environ, "CDPATH": str(elsewhere.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stdout.splitlines() if ": " in line]
    assert lines
    assert {line.partition(": ")[0] for line in lines} == {str(tree)}
