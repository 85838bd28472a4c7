"""`trackarr tracker`."""

from __future__ import annotations

from ops import container
from ops.cli._process import running_process


def command() -> None:
    """Serve announces."""
    with running_process("tracker") as settings:
        container.run_tracker(settings)
