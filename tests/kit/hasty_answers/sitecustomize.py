"""Put first on a Python path, it takes durable answers from a tracker: they leave at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracker import event_stream
from tracker.outlets import Outlet


class HastyOutlet(Outlet[Any]):
    """Sends an answer when it is held, before anybody was told of its record."""

    def __init__(
        self, deliver: Callable[[list[Any]], None], refuse: Callable[[list[Any]], None]
    ) -> None:
        super().__init__(deliver, refuse)
        self.hold = lambda answer: deliver([answer])


vars(event_stream)["Outlet"] = HastyOutlet
