"""A rolling restart: children replaced one after another, listeners by a successor beside them."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable

from ops.child import Child, PrintLine

OWN_NAME = "up"


class RollingRestart:
    """Steps through the children it is given; the supervisor calls `step` again and again.

    A child that listens gets a successor, which shares its sockets and takes over what the old
    one gives up at its stop: nobody is refused. A successor that fails ends the whole restart,
    and the old process goes on.
    """

    def __init__(
        self,
        children: list[Child],
        *,
        start: Callable[[Child], None],
        drain: Callable[[Child], None],
        replaced: Callable[[], None],
        print_line: PrintLine,
    ) -> None:
        """`children` is the supervisor's own list: a replaced child takes the place of its old."""
        self._children = children
        self._start = start
        self._drain = drain
        self._replaced = replaced
        self._print = print_line
        self._queue: deque[Child] = deque()
        self._old: Child | None = None
        self._new: Child | None = None
        self._kill_at = 0.0

    @property
    def busy(self) -> bool:
        return self._old is not None or bool(self._queue)

    def begin(self) -> None:
        """Replace every child that runs now, from those that work to those that are asked."""
        if self.busy:
            self._print(OWN_NAME, "a rolling restart is under way already")
            return
        self._queue.extend(reversed(self._children))

    def handles(self, child: Child) -> bool:
        """Whether this child's end is expected here, so it must not be restarted for it."""
        return child is self._old

    def successors(self) -> list[Child]:
        """A successor that is not in the supervisor's list yet."""
        return [self._new] if self._new is not None and self._new not in self._children else []

    def step(self) -> None:
        """Do what can be done now, without waiting."""
        if self._old is None:
            self._next()
        elif self._new is not None:
            self._follow(self._old, self._new)

    def _next(self) -> None:
        if not self._queue:
            return
        old = self._queue.popleft()
        if not old.running:
            # Between two starts: it will come back with what is installed now.
            return
        self._print(OWN_NAME, f"replacing {old.spec.name}")
        self._old, self._new, self._kill_at = old, Child(old.spec), 0.0
        if old.spec.beside:
            self._start(self._new)
            if not self._new.process:
                self._give_up(self._new)
        else:
            self._stop_old(old)

    def _stop_old(self, old: Child) -> None:
        self._kill_at = time.monotonic() + old.spec.stop_seconds
        old.signal(signal.SIGTERM)

    def _follow(self, old: Child, new: Child) -> None:
        if new in self._children:
            self._settle(new)
        elif not old.running:
            old.end_group()
            self._drain(old)
            self._children[self._children.index(old)] = new
            if new.process:
                self._replaced()
            else:
                self._start(new)
        elif new.process and (not new.running or new.overdue):
            self._give_up(new)
        elif not self._kill_at:
            if new.prepared:
                self._stop_old(old)
        elif time.monotonic() >= self._kill_at:
            self._print(OWN_NAME, f"{old.spec.name} does not stop and is killed")
            old.end_group()

    def _settle(self, new: Child) -> None:
        """The old one is gone; go on with the next child once this one is ready."""
        if new.ready:
            self._old = self._new = None
            if not self._queue:
                self._print(OWN_NAME, "all processes are replaced")
        elif not new.running:
            self._print(OWN_NAME, "the rolling restart ends here")
            self._old = self._new = None
            self._queue.clear()

    def _give_up(self, new: Child) -> None:
        new.end_group()
        self._drain(new)
        name = new.spec.name
        self._print(OWN_NAME, f"the new {name} does not start; the old one and the rest go on")
        self._old = self._new = None
        self._queue.clear()
