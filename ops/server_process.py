"""Child server processes: the unprivileged user, parent-death signal, orphans of a killed run."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypedDict

import psutil  # type: ignore[import-untyped]

from ops.failures import DataFolderUnusable, ServerDidNotStart

PR_SET_PDEATHSIG = 1
# Recovery after a crash replays the write-ahead log, which may take long on a slow disk.
START_LIMIT_SECONDS = 120.0
ORPHAN_LIMIT_SECONDS = 60.0


class _Drop(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


class ServerUser:
    """Who runs PostgreSQL: ourselves, or an unprivileged user where we are root.

    PostgreSQL refuses uid 0. A system user `trackarr` is preferred where the operator made one,
    because other programs may run as `nobody` too.
    """

    def __init__(self, names: Sequence[str] = ("trackarr", "nobody")) -> None:
        self._drop: _Drop = {}
        if os.geteuid() == 0:
            found = next((entry for name in names if (entry := _user(name))), None)
            if found is None:
                raise DataFolderUnusable(
                    "Running as root needs a user named trackarr or nobody for PostgreSQL."
                )
            self._drop = {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}

    @property
    def dropped(self) -> bool:
        return bool(self._drop)

    def own(self, path: Path) -> Path:
        """Make a private folder of this user, or hand over a file."""
        if not path.exists():
            path.mkdir(mode=0o700, parents=True)
        if self._drop:
            os.chown(path, self._drop["user"], self._drop["group"])
        return path

    def run(self, args: Sequence[str | Path], log: IO[bytes] | int) -> int:
        """Run a program to its end as this user and give its exit code."""
        return subprocess.run(
            args,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            check=False,
            preexec_fn=die_with_parent,
            **self._drop,
        ).returncode

    def spawn(self, args: Sequence[str | Path], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a server as this user, in a session of its own so that Ctrl-C passes it by."""
        return spawn(args, log, drop=self._drop)

    def can_execute(self, program: Path) -> bool:
        try:
            return self.run([program, "--version"], subprocess.DEVNULL) == 0
        except PermissionError:
            return False

    def can_enter(self, folder: Path) -> bool:
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", folder], subprocess.DEVNULL) == 0


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def spawn(
    args: Sequence[str | Path], log: IO[bytes], *, drop: _Drop | None = None
) -> subprocess.Popen[bytes]:
    """Start a server in its own session; on Linux it stops when the starting thread ends."""
    return subprocess.Popen(
        args,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  servers start before our threads do
        **(drop or {}),
    )


def die_with_parent() -> None:
    """Ask the kernel for SIGINT when the parent ends, also by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


def folder_servers(folder: Path, name: str) -> list[psutil.Process]:
    """Processes called `name` whose working directory is `folder`: each server moves into its own.

    Others, an operator's shell for one, may stand there too.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and name in process.name():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_orphans(folder: Path, name: str, signal_number: signal.Signals) -> None:
    """Stop servers a killed run left in `folder`; we hold the lock, so nobody else uses them."""
    deadline = time.monotonic() + ORPHAN_LIMIT_SECONDS
    for process in folder_servers(folder, name):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal_number)
    while folder_servers(folder, name):
        if time.monotonic() > deadline:
            raise ServerDidNotStart(
                f"A {name} process of an earlier run does not stop in {folder}."
            )
        time.sleep(0.02)


def wait_until_answers(
    process: subprocess.Popen[bytes], answers: Callable[[], bool], name: str, log: Path
) -> None:
    """Poll until the server answers; raise ServerDidNotStart when it ended or stays silent."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while not answers():
        if process.poll() is not None:
            raise ServerDidNotStart(f"The embedded {name} ended while starting; see {log}.")
        if time.monotonic() > deadline:
            raise ServerDidNotStart(
                f"The embedded {name} did not answer within {START_LIMIT_SECONDS:.0f} s; see {log}."
            )
        time.sleep(0.01)
