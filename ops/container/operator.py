"""The operator's own commands, dispatched without a web server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from application.bus import Bus, Context
from ops.container.api import application_bus, read_your_writes
from ops.container.foundation import Foundation, foundation
from ops.settings import Settings
from ops.system import system_clock


@dataclass(frozen=True)
class Operator:
    """Dispatches commands as the system: facts name no actor."""

    base: Foundation
    bus: Bus

    def dispatch(self, command: Any) -> Any:
        """Run `command`; its result. Raises `DomainError` when it is refused."""
        entropy = self.base.entropy
        context = Context(at=system_clock(), command=entropy.uuid(), correlation=entropy.uuid())
        return self.bus.dispatch(command, context).result


@contextmanager
def operator(settings: Settings) -> Iterator[Operator]:
    """Build on `settings` with the servers filled in."""
    with foundation(settings, name="operator", connections=2) as base:
        yield Operator(base, application_bus(base, read_your_writes(base)))
