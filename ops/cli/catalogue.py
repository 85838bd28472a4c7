"""`trackarr catalogue`."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.catalogue import PAGES, require_current, write_pages


def command(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 names what is stale.")
    ] = False,
) -> None:
    """Write the generated pages of docs/: events, settings, commands, OpenAPI."""
    if check:
        require_current()
        print(f"{len(PAGES)} pages are as the code gives them.")
        return
    written = write_pages()
    for name in written:
        print(f"wrote docs/{name}")
    print(f"{len(PAGES) - len(written)} of {len(PAGES)} pages were current.")
