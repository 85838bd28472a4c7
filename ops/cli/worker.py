"""`trackarr worker`."""

from __future__ import annotations

from ops import container
from ops.cli._process import running_process


def command() -> None:
    """Run jobs, fold events into read models and the peer ledger."""
    with running_process("worker") as settings:
        container.run_worker(settings)
