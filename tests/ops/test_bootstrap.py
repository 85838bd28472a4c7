"""Making `.venv`, on a machine whose Python makes it without pip."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_venv_without_pip_is_brought_to_a_new_lock_from_inside(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    shutil.copy(ROOT / "ops" / "bootstrap.py", tmp_path / "ops")
    (tmp_path / "requirements.lock").write_text("# nothing to install\n")
    python = tmp_path / ".venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    done = subprocess.run(
        [python, "ops/bootstrap.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv" / "requirements.lock").exists()
