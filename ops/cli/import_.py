"""`trackarr import`: take a community's members, torrents and words in from a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import psycopg
import typer

from application.access import Passkeys
from application.bus import Bus, Context, Unit
from application.handlers import HANDLERS, TAKEN
from application.import_names import Names
from application.imports import ImportLines, load_import, rehearse_lines
from application.ports import EventLogPort
from application.store.bulk import BulkReads
from domain.errors import DomainError
from domain.imports import Import
from domain.taxonomy import Category
from ops.catching_up import CatchUpFailed, bring_up_to_date
from ops.container.foundation import Foundation, foundation
from ops.importing import Dispatch, Importer, ImportFile, ImportRefused, Progress
from ops.progress import ProgressLine
from ops.run_state import settings_at
from ops.servers import connected
from ops.settings import load_settings
from ops.system import system_clock


def command(
    file: Annotated[Path, typer.Argument(help="JSON lines, as docs/import.md describes them.")],
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where this import stopped.")
    ] = False,
    from_line: Annotated[
        int | None, typer.Option(min=2, help="Pass over the lines before this one.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every line and record nothing.")
    ] = False,
    fold: Annotated[bool, typer.Option(help="Bring the read models up to date afterwards.")] = True,
) -> None:
    """Import members, categories, torrents, comments and favourites, as the operator.

    A file is imported once, whatever happens meanwhile: where it stands is part of the history.
    """
    opened = ImportFile(file)
    line = ProgressLine()
    try:
        settings = load_settings()
        with (
            connected(settings) as urls,
            foundation(settings_at(settings, urls), name="import") as base,
        ):
            state = _standing(base, opened.heading.name)
            if state.ended:
                print(f"{opened.heading.name} is imported already, all {state.line} lines of it.")
                if fold and not dry_run:
                    # It may have been killed when everything was recorded.
                    _fold(urls.app_url, base.log)
                return
            _begin(opened, state, resume=resume, from_line=from_line, dry_run=dry_run)
            importer = _importer(base, opened.heading.name, dry_run=dry_run)
            facts = importer.run(opened, lambda progress: line.show(_words(progress)))
            line.done()
            if dry_run:
                print(f"Every line can be imported; they would be {facts} facts.")
                return
            print(f"{opened.heading.name} is imported: {facts} facts.")
            if fold:
                _fold(urls.app_url, base.log)
    finally:
        line.done()
        opened.close()


def _fold(app_url: str, log: EventLogPort) -> None:
    """Bring the read models up to date. Raises `CatchUpFailed`; the import stands."""
    try:
        bring_up_to_date(partial(psycopg.connect, app_url, autocommit=True), log)
    except CatchUpFailed as failed:
        raise CatchUpFailed(
            f"Everything is recorded, but some read models do not show it yet. {failed.sentence}"
            " The workers go on with them; trackarr projections list tells how far they are."
        ) from None


def _standing(base: Foundation, name: str) -> Import:
    now = Context(at=system_clock(), command=base.entropy.uuid(), correlation=base.entropy.uuid())
    try:
        return load_import(Unit(base.log, now), name)
    except DomainError as refusal:
        raise ImportRefused(f"Line 1: {refusal.text}") from None


def _begin(
    file: ImportFile, state: Import, *, resume: bool, from_line: int | None, dry_run: bool
) -> None:
    """Go to the line to begin with. Raises `ImportRefused`."""
    if state.line and not (resume or from_line is not None or dry_run):
        raise ImportRefused(
            f"{file.heading.name} was imported up to line {state.line}; give --resume to go on."
        )
    file.pass_over(state, from_line)


def _importer(base: Foundation, name: str, *, dry_run: bool) -> Importer:
    names = Names(BulkReads(base.log), name, now=system_clock(), rehearsing=dry_run)
    kid = Passkeys(base.keyring.materials("passkeys")).newest
    dispatch = _rehearsal(base) if dry_run else _dispatch(base)
    return Importer(dispatch, names, kid=kid, clock=system_clock)


def _dispatch(base: Foundation) -> Dispatch:
    # The read models follow afterwards, many facts at a time.
    bus = Bus(base.log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)

    def dispatch(command: ImportLines, context: Context) -> int:
        facts: int = bus.dispatch(command, context).result.facts
        return facts

    return dispatch


def _rehearsal(base: Foundation) -> Dispatch:
    categories: dict[UUID, Category] = {}

    def rehearse(command: ImportLines, context: Context) -> int:
        return rehearse_lines(Unit(base.log, context), command, categories).facts

    return rehearse


def _words(progress: Progress) -> str:
    part = 100 * progress.read // max(1, progress.size)
    return (
        f"line {progress.line:,}, {part} % of the file: {progress.facts:,} facts, "
        f"{progress.rate:,.0f}/s"
    )
