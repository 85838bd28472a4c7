"""Which torrent clients are welcome: lists of how their peer ids begin (BEP 20)."""

from __future__ import annotations

import re
from typing import Final

PREFIX_LIMIT: Final = 20
"""A peer id has 20 bytes."""
_SEPARATORS: Final = re.compile(r"[\s,]+")
# One character would hit unrelated clients: most peer ids begin with the same dash.
_PREFIX: Final = re.compile(rf"[!-+\--~]{{2,{PREFIX_LIMIT}}}")


def client_prefixes(text: str) -> tuple[str, ...]:
    """The prefixes in a list written with commas or blanks, each once, in its order."""
    return tuple(dict.fromkeys(part for part in _SEPARATORS.split(text) if part))


def client_list_fault(text: str) -> str | None:
    """Why `text` is no such list; None when it is, also for an empty one."""
    for prefix in client_prefixes(text):
        if not _PREFIX.fullmatch(prefix):
            return (
                f"must list peer id prefixes of 2 to {PREFIX_LIMIT} visible ASCII characters, "
                "such as -TR3, -qB4 or A2-"
            )
    return None
