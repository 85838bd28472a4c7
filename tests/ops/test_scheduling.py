"""Background work takes the smaller share of the cores, and only its own connections do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import psycopg

from ops import scheduling
from tests.kit.servers import Database


def niceness(process: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, process)


def test_the_thread_that_asks_gives_way_alone() -> None:
    seen: list[int] = []

    def work() -> None:
        scheduling.give_way()
        scheduling.give_way()
        seen.append(niceness(0))

    thread = threading.Thread(target=work)
    before = niceness(0)
    thread.start()
    thread.join()
    assert seen == [max(before, scheduling.NICENESS)]
    assert niceness(0) == before


def test_the_server_process_of_a_connection_gives_way(database: Database) -> None:
    with psycopg.connect(database.app_url) as background, psycopg.connect(database.app_url) as ours:
        before = niceness(ours.info.backend_pid)
        scheduling.let_backend_give_way(background)
        assert niceness(background.info.backend_pid) == max(before, scheduling.NICENESS)
        assert niceness(ours.info.backend_pid) == before
        group = Path("/proc", str(background.info.backend_pid), "autogroup")
        if group.exists():
            assert f"nice {scheduling.NICENESS}" in group.read_text()


def slice_of(process: int) -> int | None:
    """Nanoseconds; None where this kernel does not tell."""
    told = Path("/proc", str(process), "sched")
    found = re.search(r"se\.slice +: +(\d+)", told.read_text()) if told.exists() else None
    return int(found[1]) if found else None


def test_slices_are_asked_for_and_inherited(database: Database) -> None:
    with psycopg.connect(database.app_url) as background, psycopg.connect(database.app_url) as ours:
        scheduling.let_backend_give_way(background)
        usual = slice_of(ours.info.backend_pid)
        assert usual != scheduling.LONG_SLICE
        if usual is not None:
            assert slice_of(background.info.backend_pid) == scheduling.LONG_SLICE
    code = (
        "import subprocess, sys; from ops import scheduling as s; s.take_slices(s.SHORT_SLICE);"
        "subprocess.run(['cat', '/proc/self/sched'], check=True)"
    )
    if usual is not None:
        seen = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert re.search(rf"se\.slice +: +{scheduling.SHORT_SLICE}\b", seen.stdout)


def test_a_process_gives_way_as_a_whole_where_its_session_is_its_own() -> None:
    code = (
        "from ops.scheduling import let_session_give_way; let_session_give_way();"
        "print(open('/proc/self/autogroup').read())"
    )
    if not Path("/proc/self/autogroup").exists():
        return
    for own in (True, False):
        seen = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            start_new_session=own,
        )
        assert (f"nice {scheduling.NICENESS}" in seen.stdout) is own
