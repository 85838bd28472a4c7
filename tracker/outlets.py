"""Ways out for answers that wait for the event stream: told of a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

_Held = TypeVar("_Held")


class Leaving(NamedTuple):
    """Answers of one outlet that share a fate."""

    size: int
    deliver: Callable[[], None]
    """Their records are acknowledged: send."""
    refuse: Callable[[], None]
    """They are not, and may never be: tell the clients to come again."""


class Outlet(Generic[_Held]):
    """Where answers of one kind gather.

    Two calls for each answer would cost as much as the rest of its way.
    """

    def __init__(
        self, deliver: Callable[[list[_Held]], None], refuse: Callable[[list[_Held]], None]
    ) -> None:
        self._gathered: list[_Held] = []
        self._deliver = deliver
        self._refuse = refuse
        self.hold: Callable[[_Held], None] = self._gathered.append
        """Send this answer when all records taken so far are acknowledged."""

    def __len__(self) -> int:
        return len(self._gathered)

    def take(self) -> Leaving:
        """What has gathered since the last call."""
        answers = self._gathered.copy()
        # The list stays, as `hold` is bound to it.
        self._gathered.clear()
        return Leaving(len(answers), lambda: self._deliver(answers), lambda: self._refuse(answers))
