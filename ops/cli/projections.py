"""`trackarr projections`: the state of the read models, and rebuilding them."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.catching_up import bring_up_to_date
from ops.cli._auditing import auditing
from ops.container.auditor import Auditor
from ops.failures import OperatorError
from ops.progress import ProgressLine
from projections.engine import Projection, Standing, resume, standings
from projections.rebuild import Progress, RebuildRefused, drop_retired, rebuild

app = typer.Typer(help="Look at and rebuild read models.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a read model, as `list` prints it.")]


class NoSuchProjection(OperatorError):
    """No read model has this name."""


class RebuildFailed(OperatorError):
    """The rebuild ended without a swap."""


@app.command("list")
def list_projections() -> None:
    """Print position, lag and state of every read model; exit code 1 when one is stopped."""
    with auditing() as audit, audit.connect() as conn:
        head = audit.log.head()
        seen = standings(conn, head, audit.projections)
    print(f"{'name':<14} {'schema':<18} {'position':>10} {'behind':>8}  state")
    for standing in seen.values():
        print(_row(standing))
    print(f"The log is at position {head}.")
    if any(standing.state == "stopped" for standing in seen.values()):
        raise typer.Exit(1)


@app.command("catch-up")
def catch_up_projections() -> None:
    """Bring every read model to the log's head in large steps, sooner than the workers would.

    Exit code 1 when one could not be brought there: which, and why, is told.
    """
    with auditing() as audit:
        bring_up_to_date(audit.connect, audit.log)
    print("Every read model is at the head.")


@app.command("rebuild")
def rebuild_projection(name: Name) -> None:
    """Build a read model anew beside the live one, then swap the two in one transaction."""
    line = ProgressLine()

    def report(progress: Progress) -> None:
        line.show(f"{name}: {progress.position} of {progress.head}, {progress.rate:,.0f}/s")

    with auditing() as audit, audit.connect() as conn:
        projection = _named(audit, name)
        try:
            position = rebuild(conn, audit.log, projection, report=report)
        except RebuildRefused as refused:
            raise RebuildFailed(f"{name} was not rebuilt: {refused}.") from None
        finally:
            line.done()
    print(f"{name} was rebuilt to position {position}; the tables before it are kept as __old.")


@app.command("resume")
def resume_projection(name: Name) -> None:
    """Let a stopped read model try the fact that stopped it again."""
    with auditing() as audit, audit.connect() as conn:
        resumed = resume(conn, _named(audit, name))
    print(f"{name} is tried again." if resumed else f"{name} was not stopped.")


@app.command("prune")
def prune_projections() -> None:
    """Drop tables kept from rebuilds, and versions older than this program's."""
    with auditing() as audit, audit.connect() as conn:
        dropped = drop_retired(conn, audit.projections)
    for schema in dropped:
        print(f"dropped {schema}")
    print(f"{len(dropped)} schemas dropped.")


def _named(audit: Auditor, name: str) -> Projection:
    for projection in audit.projections:
        if projection.name == name:
            return projection
    known = ", ".join(projection.name for projection in audit.projections)
    raise NoSuchProjection(f"There is no read model {name}; there are {known}.")


def _row(standing: Standing) -> str:
    position = "-" if standing.position is None else str(standing.position)
    state = standing.state
    if standing.poison is not None:
        poison = standing.poison
        state += f" at position {poison.position} ({poison.topic}, {poison.error})"
    return f"{standing.name:<14} {standing.schema:<18} {position:>10} {standing.behind:>8}  {state}"
