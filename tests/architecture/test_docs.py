"""Generated pages are those their sources give."""

from __future__ import annotations

from pathlib import Path

from ops.settings_text import reference

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_settings_page_is_not_stale() -> None:
    assert (DOCS / "settings.md").read_text() == reference()
