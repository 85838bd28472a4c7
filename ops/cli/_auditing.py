"""What the auditing commands share: the running servers, and a clean standard output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from ops.container.auditor import Auditor, auditor
from ops.run_state import settings_at
from ops.servers import connected
from ops.settings import load_settings


@contextmanager
def auditing() -> Iterator[Auditor]:
    """The auditor of this installation; servers are started for the block when none run.

    Log lines go to standard error: standard output is the answer.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    settings = load_settings()
    with connected(settings) as urls, auditor(settings_at(settings, urls)) as made:
        yield made
