"""Background work takes the smaller share of the cores, and only its own connections do."""

from __future__ import annotations

import os
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
