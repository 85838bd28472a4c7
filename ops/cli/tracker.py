"""`trackarr tracker`: the process that serves announces, and tools around it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Serve announces; with a subcommand, try or measure a tracker.")


@app.callback(invoke_without_command=True)
def tracker(context: typer.Context) -> None:
    """Serve announces; with a subcommand, try or measure a tracker."""
    if context.invoked_subcommand is not None:
        return
    from ops import container  # noqa: PLC0415  subcommands need not load the process
    from ops.cli._process import running_process  # noqa: PLC0415

    with running_process("tracker") as settings:
        container.run_tracker(settings)


@app.command("bench-fixture")
def bench_fixture(
    *,
    torrents: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to make.")] = 10_000,
    members: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to make.")] = 10_000,
    output: Annotated[
        Path, typer.Option(help="File for the hashes and keys, or `-` for standard output.")
    ],
    add: Annotated[
        bool, typer.Option("--add", help="Also where members or torrents exist already.")
    ] = False,
) -> None:
    """Make members and accepted torrents to measure with, and write their hashes and keys.

    They are real facts of this installation and stay in its history: use one of its own. The file
    has a line `H <40 hex>` for each torrent and `K <32 hex>` for each member's announce key.
    """
    # Serving announces must not wait for what only this command imports.
    from ops.benchmarks.fixture import write_fixture  # noqa: PLC0415
    from ops.container.operator import operator  # noqa: PLC0415
    from ops.logs import configure_logging  # noqa: PLC0415
    from ops.run_state import settings_at  # noqa: PLC0415
    from ops.servers import connected  # noqa: PLC0415
    from ops.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    configure_logging(level="warning", style=settings.processes.log_format)
    with connected(settings) as urls, operator(settings_at(settings, urls)) as acting:
        write_fixture(acting.base, output, torrents=torrents, members=members, add=add)
