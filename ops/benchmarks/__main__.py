"""`./ops/bench [part …]`: measure, print a table, and write the figures as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from ops.benchmarks import appends, catalogue_bench, latency, replays, tracker_bench
from ops.benchmarks.ground import fresh_ground
from ops.benchmarks.report import Figure, durability, print_table

PARTS = {"log": appends.measure, "replay": replays.measure, "latency": latency.measure}
LARGE: dict[str, Callable[..., None]] = {
    "tracker": tracker_bench.command,
    "catalogue": catalogue_bench.command,
}


def main(
    parts: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(PARTS)}; all when none is given.")
    ] = None,
    *,
    runs: Annotated[int, typer.Option(min=1, max=50, help="Turns of each pair.")] = 3,
    output: Annotated[Path, typer.Option("--json", help="Where the figures are written.")] = Path(
        "bench-results/latest.json"
    ),
) -> None:
    """Measure each part beside its baseline, on fresh embedded servers of its own.

    `tracker` and `catalogue` are benchmarks with options of their own, see `tracker --help`.
    """
    wanted = parts or list(PARTS)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is no part; there are {', '.join(PARTS)}.")
    figures: list[Figure] = []
    setting = ""
    for part in wanted:
        typer.echo(f"measuring {part} …", err=True)
        with fresh_ground() as ground:
            with psycopg.connect(ground.urls.app_url) as conn:
                setting = durability(conn)
            figures += PARTS[part](ground, runs)
    print_table(figures, setting=setting)
    output.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    found = [figure.as_json() for figure in figures]
    output.write_text(
        json.dumps({"machine": machine, "durability": setting, "figures": found}, indent=2) + "\n"
    )
    typer.echo(f"written to {output}", err=True)


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    name = "./ops/bench"
    if sys.argv[1:2] and sys.argv[1] in LARGE:
        name += f" {sys.argv[1]}"
        program.command()(LARGE[sys.argv.pop(1)])
    else:
        program.command()(main)
    program(prog_name=name)
