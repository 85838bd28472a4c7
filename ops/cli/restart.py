"""`trackarr restart`."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

import typer

from ops.failures import NotRunning, ProcessDidNotStart
from ops.run_state import RunState, read_run_state
from ops.settings import load_settings

PAUSE_SECONDS = 0.1
SERVERS = frozenset({"postgres", "valkey"})


def command(
    *,
    seconds: Annotated[
        int, typer.Option(min=1, max=3600, help="Give up waiting after so many seconds.")
    ] = 300,
) -> None:
    """Replace every process of the running `trackarr up`, one by one; nobody is refused.

    Use it after installing another version. Settings are those `up` was started with: to change
    them, the number of tracker shards among them, stop `up` and start it again.
    """
    data_dir = load_settings().storage.data_dir
    before = read_run_state(data_dir)
    if before is None or not before.supervisor:
        raise NotRunning(f"No Trackarr runs on the data folder {data_dir}.")
    os.kill(before.supervisor, signal.SIGUSR1)
    waiting = set(before.pids) - SERVERS
    deadline = time.monotonic() + seconds
    while waiting:
        if time.monotonic() > deadline:
            names = ", ".join(sorted(waiting))
            raise ProcessDidNotStart(
                f"Not replaced within {seconds} s: {names}; the lines of `trackarr up` say why."
            )
        time.sleep(PAUSE_SECONDS)
        now = read_run_state(data_dir)
        if now is None:
            raise NotRunning("Trackarr was stopped meanwhile.")
        for name in sorted(_replaced(before, now) & waiting):
            waiting.remove(name)
            print(f"{name} replaced")


def _replaced(before: RunState, now: RunState) -> set[str]:
    return {name for name, pid in now.pids.items() if pid != before.pids.get(name)}
