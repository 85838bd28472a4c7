"""Lets background work give way to answers where both want the same cores."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg

NICENESS: Final = 19
"""A seventieth of the share of what answers; all of it where nothing else wants the core."""
LONG_SLICE: Final = 100_000_000
"""Nanoseconds, the longest the kernel takes: whoever wakes with a shorter slice runs at once.

With slices of one length what is woken waits for the running one to use its own up, which is
seen at the next tick only, after 4 ms where a kernel ticks 250 times a second.
"""
SHORT_SLICE: Final = 100_000
"""Nanoseconds, the shortest: for what does little at a time, and somebody waits for it."""

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQII")
"""size, policy, flags, nice, priority, runtime, deadline, period, least and most use."""
_NORMAL: Final = 0


def give_way() -> None:
    """Give the calling thread a small share; on other systems than Linux the whole process."""
    if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    take_slices(LONG_SLICE)


def let_session_give_way() -> None:
    """Give a small share to the calling process as a whole, where it has a session to itself.

    Kernels share the cores out by sessions first, see sched(7), so that what a thread gives away
    would go to its neighbours in the session alone. They give way with it.
    """
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        _give_way_by_session(Path("/proc/self"))


def let_backend_give_way(conn: psycopg.Connection[Any]) -> None:
    """The same for the server process behind a connection, where it is ours to say.

    That is on this machine, as a unix socket tells, and run by our user or for root; elsewhere
    nothing happens. It is for connections of background work only, as it lasts as long as they.
    """
    if sys.platform != "linux" or not conn.info.host.startswith("/"):
        return
    process = conn.info.backend_pid
    place = Path("/proc", str(process))
    with suppress(OSError):
        # In another container the same number may be another program.
        if not (place / "cmdline").read_bytes().startswith(b"postgres"):
            return
        os.setpriority(os.PRIO_PROCESS, process, NICENESS)
        take_slices(LONG_SLICE, process)
        # Each backend has a session of its own.
        _give_way_by_session(place)


def take_slices(nanoseconds: int, thread: int = 0) -> None:
    """Ask for slices of that length, without a larger or smaller share; see sched_setattr(2).

    For the calling thread, or the one of that number, and for what it starts from then on.
    Kernels before 6.12, and other systems, go on as they are.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return
    with suppress(OSError):
        if os.sched_getscheduler(thread) != os.SCHED_OTHER:
            return
        attributes = _ATTRIBUTES.pack(
            _ATTRIBUTES.size,
            _NORMAL,
            0,
            os.getpriority(os.PRIO_PROCESS, thread),
            0,
            nanoseconds,
            *(0, 0, 0, 0),
        )
        # A refusal leaves everything as it was, which is no fault.
        ctypes.CDLL(None).syscall(number, thread, ctypes.c_char_p(attributes), 0)


def _give_way_by_session(process: Path) -> None:
    with suppress(OSError):
        (process / "autogroup").write_text(str(NICENESS), encoding="ascii")
