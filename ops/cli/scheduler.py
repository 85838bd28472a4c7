"""`trackarr scheduler`."""

from __future__ import annotations

from ops import container
from ops.cli._process import running_process


def command() -> None:
    """Do what is due by the clock."""
    with running_process("scheduler") as settings:
        container.run_scheduler(settings)
