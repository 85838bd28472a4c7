"""The page `docs/benchmarks.md`: parts that benchmarks write, each its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, get_args

PAGE: Final = Path("docs/benchmarks.md")
Part = Literal["tracker", "catalogue"]
_HEADING: Final = """\
# Benchmarks

Each part is written by the command it names, from that command's own run; no figure is typed by hand.
"""
_MARK: Final = re.compile(r"^<!-- (\w+) -->$", re.MULTILINE)


def write_part(part: Part, text: str, page: Path = PAGE) -> None:
    """Put `text` in the place of that part of the page; the others stay as they are."""
    parts = _parts(page.read_text()) if page.exists() else {}
    parts[part] = text
    written = [
        f"<!-- {name} -->\n{parts[name].strip()}\n" for name in get_args(Part) if name in parts
    ]
    page.write_text("\n".join([_HEADING, *written]))


def _parts(text: str) -> dict[str, str]:
    _, *found = _MARK.split(text)
    return dict(zip(found[::2], found[1::2], strict=True))
