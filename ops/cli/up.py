"""`trackarr up`."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.installation import run_installation
from ops.settings import load_settings


def command(
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Fill the new installation with example content.")
    ] = False,
) -> None:
    """Start everything: servers unless given, api, tracker, worker, scheduler; Ctrl-C stops."""
    raise typer.Exit(run_installation(load_settings(), demo=demo))
