"""`trackarr api`."""

from __future__ import annotations

from ops import container
from ops.cli._process import running_process


def command() -> None:
    """Serve the REST API."""
    with running_process("api") as settings:
        container.run_api(settings)
