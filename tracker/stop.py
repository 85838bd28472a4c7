"""How a tracker is told from outside to stop."""

from __future__ import annotations

from typing import Protocol


class StopFlag(Protocol):
    """Set when the tracker should stop (threading.Event fits)."""

    def is_set(self) -> bool: ...
