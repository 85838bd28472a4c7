"""The program `trackarr`: each module of this package is one command."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence

import typer

from ops.failures import OperatorError


def main() -> None:
    """Run the command line of this process and end it with the command's exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; a failure the operator can put right is one sentence on standard error."""
    try:
        code = build_program(arguments)(args=list(arguments), prog_name="trackarr")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 1
    except OperatorError as failure:
        print(f"trackarr: {failure.sentence}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


def command_names() -> list[str]:
    """Every command, by the modules of this package.

    `import_` is the command `import`, `setup_code` the command `setup-code`.
    """
    return sorted(
        module.name.rstrip("_").replace("_", "-")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    )


def build_program(arguments: Sequence[str]) -> typer.Typer:
    """The program with the command that was asked for, or with all of them for the help.

    Only that command's module is imported: `trackarr settings` need not load the web server.
    A module offers `command`, a function, or `app`, a Typer of subcommands.
    """
    program = typer.Typer(
        help="A private BitTorrent tracker and community backend.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    program.callback()(_program)
    names = command_names()
    wanted = [name for name in arguments[:1] if name in names] or names
    for name in wanted:
        bare = name.replace("-", "_") if name != "import" else "import_"
        module = importlib.import_module(f"{__name__}.{bare}")
        if hasattr(module, "app"):
            program.add_typer(module.app, name=name)
        else:
            program.command(name)(module.command)
    return program


def _program() -> None:
    """A private BitTorrent tracker and community backend."""
