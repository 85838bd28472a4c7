"""Upload rules as an administrator sends them."""

from __future__ import annotations

from typing import Any, Final

NO_RULES: Final[dict[str, Any]] = {
    "nfoRequired": False,
    "descriptionRequired": False,
    "descriptionMinLength": 0,
    "titlePatternEnforced": False,
    "titleBlocklist": None,
    "tmdbIdRequired": False,
    "maxTorrentSize": None,
    "staffBypass": True,
    "categoryPatterns": {},
}
"""Every field that must be sent, asking for nothing."""
