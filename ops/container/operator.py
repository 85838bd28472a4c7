"""The operator's own commands, dispatched without a web server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from application.bus import Bus
from ops.container.api import application_bus, read_your_writes
from ops.container.foundation import Foundation, dispatch_as_system, foundation
from ops.settings import Settings


@dataclass(frozen=True)
class Operator:
    """Dispatches commands as the system: facts name no actor."""

    base: Foundation
    bus: Bus

    def dispatch(self, command: Any) -> Any:
        """Run `command`; its result. Raises `DomainError` when it is refused."""
        return dispatch_as_system(self.base, self.bus, command)


@contextmanager
def operator(settings: Settings) -> Iterator[Operator]:
    """Build on `settings` with the servers filled in."""
    with foundation(settings, name="operator", connections=2) as base:
        yield Operator(base, application_bus(base, read_your_writes(base)))
