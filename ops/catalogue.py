"""The generated pages of `docs/`: written from the code, and compared with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from application.handlers import HANDLERS
from application.store.topics import registry
from interfaces.http.app import api_document
from ops.commands_text import commands_page
from ops.events_text import event_faults, events_page
from ops.failures import OperatorError
from ops.settings_text import reference
from ops.version import VERSION
from projections.registry import ALL

DOCS = Path(__file__).resolve().parent.parent / "docs"


class CatalogueIncomplete(OperatorError):
    """A fact lacks its sentence or its reader."""


class CatalogueStale(OperatorError):
    """Pages are not what the code gives."""


def events() -> str:
    """`docs/events.md`. Raises CatalogueIncomplete naming every fact that lacks something."""
    facts = registry().types
    faults = list(event_faults(facts, ALL))
    if faults:
        raise CatalogueIncomplete(f"The catalogue of events has gaps: {'; '.join(faults)}.")
    return events_page(facts, HANDLERS, ALL)


def openapi() -> str:
    """`docs/openapi.json`, the same bytes for the same code."""
    return json.dumps(api_document(VERSION), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "events.md": events,
    "settings.md": reference,
    "commands.md": commands_page,
    "openapi.json": openapi,
}


def write_pages(folder: Path = DOCS) -> list[str]:
    """Write every page that differs; gives their names."""
    stale = stale_pages(folder)
    for name in stale:
        (folder / name).write_text(PAGES[name](), encoding="utf-8")
    return stale


def stale_pages(folder: Path = DOCS) -> list[str]:
    """Names of the pages that are missing or not what the code gives."""
    return [name for name, page in PAGES.items() if _content(folder / name) != page()]


def require_current(folder: Path = DOCS) -> None:
    """Raises CatalogueStale naming the files."""
    stale = stale_pages(folder)
    if stale:
        names = ", ".join(f"docs/{name}" for name in stale)
        raise CatalogueStale(f"Not as the code gives it: {names}; run: trackarr catalogue")


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
