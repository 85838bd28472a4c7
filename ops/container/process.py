"""What every process is given: its servers, and the wish to stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from ops.settings import Settings


def database_url(settings: Settings) -> str:
    """The database as this process connects to it; always set once servers are found."""
    return _given(settings.servers.database_url)


def redis_url(settings: Settings) -> str:
    return _given(settings.servers.redis_url)


def _given(secret: Any) -> str:
    if secret is None:
        raise RuntimeError("the servers of this process were not filled in")
    return str(secret.get_secret_value())


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; call from the main thread."""
    stop = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request)
    return stop
