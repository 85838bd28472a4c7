"""The only place that builds objects: one module for each kind of process.

Each is imported when it is asked for, so that a tracker does not load the web server.
"""

from __future__ import annotations

import os

from ops.settings import Settings


def run_api(settings: Settings) -> None:
    """Serve the REST API until SIGTERM or SIGINT."""
    from ops.container.api import run  # noqa: PLC0415

    run(settings)


def run_tracker(settings: Settings) -> None:
    """Serve announces until SIGTERM or SIGINT."""
    from ops.container.tracker import run  # noqa: PLC0415

    run(settings)


def run_worker(settings: Settings) -> None:
    """Fold events and peer records, and run jobs, until SIGTERM or SIGINT."""
    # NumPy asks for huge pages, and the kernel then moves the fold's arrays into them as they
    # grow: milliseconds in which nobody else gets that core, and announces wait for the disk's.
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    from ops.container.worker import run  # noqa: PLC0415

    run(settings)


def run_scheduler(settings: Settings) -> None:
    """Do what is due by the clock until SIGTERM or SIGINT."""
    from ops.container.scheduler import run  # noqa: PLC0415

    run(settings)
