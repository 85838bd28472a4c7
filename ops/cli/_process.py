"""What the four long-running commands share: logs, settings and the servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from ops.logs import configure_logging
from ops.readiness import READY_FD
from ops.run_state import settings_at
from ops.settings import Settings, load_settings


@contextmanager
def running_process(name: str) -> Iterator[Settings]:
    """Settings with the servers filled in, for as long as the process `name` runs."""
    settings = load_settings()
    configure_logging(level=settings.processes.log_level, style=settings.processes.log_format)
    structlog.contextvars.bind_contextvars(process=name)
    if READY_FD in os.environ and settings.servers.database_url and settings.servers.redis_url:
        # A child of `trackarr up`, which has checked the servers and chosen the login.
        yield settings
        return
    from ops.servers import connected  # noqa: PLC0415  half a second a child of `up` saves

    with connected(settings) as urls:
        yield settings_at(settings, urls)
