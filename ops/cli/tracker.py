"""`trackarr tracker`: the process that serves announces, and tools around it."""

from __future__ import annotations

import re
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


@app.command("check")
def check(
    url: Annotated[str, typer.Argument(metavar="URL", help="Announce URL with its key.")],
    *,
    info_hash: Annotated[
        str | None, typer.Option("--info-hash", help="40 hex digits of a torrent to announce.")
    ] = None,
    client: Annotated[
        str, typer.Option(help="How the peer id begins, to try client lists.")
    ] = "-TC0100-",
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port other peers would be told.")
    ] = 51_413,
    seconds: Annotated[float, typer.Option(min=0.1, max=120, help="Longest wait.")] = 10.0,
) -> None:
    """Announce to a tracker as a client would, then leave, and explain what came of it.

    URL begins with http://, https:// or udp://. Each address family of the host is tried. Without
    --info-hash a made-up torrent is announced, which shows whether the key is taken. Exit code 0
    is fine, 1 a warning, 2 a failure; the key is never printed.
    """
    from ops.doctor import report  # noqa: PLC0415
    from ops.tracker_check import check_tracker  # noqa: PLC0415

    if info_hash is not None and not re.fullmatch(r"[0-9a-fA-F]{40}", info_hash):
        raise typer.BadParameter("must be 40 hex digits", param_hint="--info-hash")
    if not 2 <= len(client) <= 20 or not client.isascii() or not client.isprintable():
        raise typer.BadParameter(
            "must be 2 to 20 printable ASCII characters", param_hint="--client"
        )
    raw = bytes.fromhex(info_hash) if info_hash is not None else None
    findings = check_tracker(url, info_hash=raw, client=client, port=port, seconds=seconds)
    raise typer.Exit(report(findings, typer.echo))
