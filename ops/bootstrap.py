"""Makes `.venv` with the locked packages and this source tree; standard library only.

Run by the scripts beside it with any Python 3.11 or newer: `bootstrap.py [--test]`.
A copy of the installed lock in `.venv` tells the next start that there is nothing to do.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
RUNTIME_LOCK = "requirements.lock"
TEST_LOCK = "requirements-test.lock"
PROGRAM = """#!/bin/sh
exec "{python}" -m ops.cli "$@"
"""


class BootstrapError(Exception):
    """The environment cannot be made; the text says what to do."""


def bootstrap(*, test: bool) -> None:
    """Bring `.venv` to the lock, the one with the test tools when `test`."""
    lock = TEST_LOCK if test else RUNTIME_LOCK
    if _installed(lock):
        return
    _make_environment()
    _install(lock)
    _link_source()
    # The test lock holds the runtime lock with the same pins.
    for done in {lock, RUNTIME_LOCK}:
        shutil.copyfile(ROOT / done, VENV / done)


def _installed(lock: str) -> bool:
    copy = VENV / lock
    link = _site_packages() / "trackarr.pth"
    return (
        PYTHON.exists()
        and copy.exists()
        and filecmp.cmp(copy, ROOT / lock, shallow=False)
        and link.exists()
        # A moved source tree is linked anew.
        and link.read_text().strip() == str(ROOT)
    )


def _make_environment() -> None:
    if PYTHON.exists() and _runs(PYTHON, "-c", "import sys"):
        return
    print("making .venv", flush=True)
    make = (sys.executable, "-m", "venv", "--clear", str(VENV))
    # Debian keeps ensurepip in a package of its own; the pip outside can serve the inside.
    if not _runs(*make) and not _runs(*make, "--without-pip"):
        raise BootstrapError("Python's venv module does not work; install python3-venv.")


def _install(lock: str) -> None:
    inside = _runs(PYTHON, "-m", "pip", "--version")
    outside = [_base_python(), "-m", "pip", "--python", str(PYTHON)]
    pip = [str(PYTHON), "-m", "pip"] if inside else outside
    if not inside and not _runs(*outside[:3], "--version"):
        raise BootstrapError("pip is missing; install python3-pip.")
    wanted = sum(1 for line in (ROOT / lock).read_text().splitlines() if "==" in line)
    print(f"installing {wanted} packages of {lock} (the first time takes a minute)", flush=True)
    process = subprocess.Popen(
        [
            *pip,
            "install",
            "--require-hashes",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar=off",
            f"--requirement={ROOT / lock}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    kept = _show_progress(process.stdout or [], wanted)
    if process.wait() != 0:
        print("\n".join(kept[-15:]), file=sys.stderr)
        raise BootstrapError("The packages could not be installed; pip's last lines are above.")


def _base_python() -> str:
    """The Python outside of `.venv`: the scripts run us with the one inside as soon as it exists."""
    version = sys.version_info
    base = Path(sys.base_prefix) / "bin" / f"python{version.major}.{version.minor}"
    return str(base) if base.exists() else sys.executable


def _show_progress(lines: Iterable[str], wanted: int) -> list[str]:
    kept: list[str] = []
    seen = 0
    for line in lines:
        kept.append(line.rstrip())
        seen += line.startswith(("Collecting ", "Requirement already satisfied"))
        if line.startswith("Collecting ") and seen % 20 == 0:
            print(f"  {seen} of {wanted}", flush=True)
        elif line.startswith("Installing collected"):
            print("  unpacking", flush=True)
    return kept


def _link_source() -> None:
    """Make the packages of this tree importable, without building anything."""
    (_site_packages() / "trackarr.pth").write_text(f"{ROOT}\n")
    program = VENV / "bin" / "trackarr"
    program.write_text(PROGRAM.format(python=PYTHON))
    program.chmod(0o755)


def _site_packages() -> Path:
    paths = sysconfig.get_paths("venv", vars={"base": str(VENV), "platbase": str(VENV)})
    return Path(paths["purelib"])


def _runs(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    try:
        bootstrap(test="--test" in sys.argv[1:])
    except BootstrapError as error:
        sys.exit(f"trackarr: {error}")
