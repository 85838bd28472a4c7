"""`trackarr doctor`."""

from __future__ import annotations

import typer

from ops.doctor import Finding, Level, examine, report
from ops.failures import OperatorError
from ops.servers import connected
from ops.settings import load_settings


def command() -> None:
    """Look over the installation and say what to do; exit code 0 fine, 1 warnings, 2 failures."""
    settings = load_settings()
    try:
        with connected(settings) as urls:
            code = report(examine(settings, urls))
    except OperatorError as failure:
        # Without servers there is nothing more to look at.
        code = report([Finding(Level.FAIL, "servers", failure.sentence)])
    raise typer.Exit(code)
