"""Patterns of titles, searched in time linear in the title whatever somebody wrote (RE2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

_MEMORY = 1 << 20
"""Bytes a compiled pattern may use; one of 500 ordinary characters takes a few thousand."""


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MEMORY
    return re2.compile(pattern, options)


def pattern_fault(pattern: str) -> str | None:
    """Why RE2 does not take the pattern, None when it does.

    Look-arounds and references back are what it has not, as their search may never end.
    """
    try:
        _compiled(pattern)
    except re2.error as fault:
        told = fault.args[0] if fault.args else b""
        words = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        return f"not a pattern of the RE2 syntax: {words}"
    except UnicodeEncodeError:
        return "must not contain half of a surrogate pair"
    return None


def search_title(pattern: str, title: str) -> str | None:
    """The first part of the title the pattern matches, in either case; None when none does."""
    found = _compiled(pattern).search(title.encode("utf-8", "replace").decode())
    return None if found is None else str(found.group())
