"""Lets background work give way to answers where both want the same cores."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg

NICENESS: Final = 10
"""A tenth of the share of what answers: work that waits still goes on beside a full load."""


def give_way() -> None:
    """Give the calling thread a small share; on other systems than Linux the whole process."""
    if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)


def let_backend_give_way(conn: psycopg.Connection[Any]) -> None:
    """The same for the server process behind a connection, where it is ours to say.

    That is on this machine, as a unix socket tells, and run by our user or for root; elsewhere
    nothing happens. It is for connections of background work only, as it lasts as long as they.
    """
    if sys.platform != "linux" or not conn.info.host.startswith("/"):
        return
    place = Path("/proc", str(conn.info.backend_pid))
    with suppress(OSError):
        # In another container the same number may be another program.
        if not (place / "cmdline").read_bytes().startswith(b"postgres"):
            return
        os.setpriority(os.PRIO_PROCESS, conn.info.backend_pid, NICENESS)
        # Each backend has a session of its own, and where the kernel shares the cores out by
        # sessions first, see sched(7), niceness counts within one only.
        (place / "autogroup").write_text(str(NICENESS), encoding="ascii")
