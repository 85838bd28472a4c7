"""How much memory this machine, or the container around us, has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of control groups, version 2 and 1."""


def memory_bytes() -> int:
    """Bytes of memory that may be used: the machine's, or less where a container is limited."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *_limits()])


def _limits() -> list[int]:
    found: list[int] = []
    for path in _LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        # "max" where there is none.
        if text.isdigit():
            found.append(int(text))
    return found
