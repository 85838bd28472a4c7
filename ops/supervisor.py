"""Runs the children of `trackarr up`: start and ready, restart with a pause, stop in order."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType

import psycopg

from ops.child import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Child, ChildSpec, PrintLine
from ops.failures import OperatorError, ProcessDidNotStart
from ops.rolling import OWN_NAME, RollingRestart

TICK_SECONDS = 0.1


class Supervisor:
    """Starts `specs` in their order and stops them in the same order.

    `revive` starts dead embedded servers again and names them; `on_change` is told whenever a
    process id changed. One thread, one selector: every line of every child passes here.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        print_line: PrintLine,
        revive: Callable[[], Sequence[str]] = tuple,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._children = [Child(spec) for spec in specs]
        self._print = print_line
        self._revive = revive
        self._on_change = on_change
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._revive_at = 0.0
        self._revive_pause = FIRST_PAUSE_SECONDS
        self.stopping = False
        self._stopped = False
        self._restart_wanted = False
        self._rolling = RollingRestart(
            self._children,
            start=self._try_start,
            drain=self._drain,
            replaced=self._changed,
            print_line=print_line,
        )

    @property
    def pids(self) -> dict[str, int]:
        return {c.spec.name: c.process.pid for c in self._children if c.process and c.running}

    def install_signals(self, signals: Sequence[signal.Signals]) -> None:
        """Let these ask for a stop instead of interrupting what runs."""
        for number in signals:
            signal.signal(number, self.request_stop)

    def request_stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        self.stopping = True
        try:
            os.write(self._wake_write, b"!")
        except BlockingIOError:
            return

    def request_restart(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Ask for a rolling restart, once all have started; also as a signal's handler."""
        self._restart_wanted = True

    def start(self) -> None:
        """Start all and return when each is ready; raises ProcessDidNotStart.

        Returns early, not ready, when a stop was asked for.
        """
        for child in self._children:
            self._start(child)
        while not self.stopping and not all(child.ready for child in self._children):
            self._pump(TICK_SECONDS)
            for child in self._children:
                if not child.running:
                    self._drain(child)
                    raise ProcessDidNotStart(
                        f"The {child.spec.name} process ended while starting; its lines are above."
                    )
                if child.overdue:
                    raise ProcessDidNotStart(
                        f"The {child.spec.name} process was not ready within "
                        f"{child.spec.ready_seconds:.0f} s."
                    )

    def run(self) -> None:
        """Follow the children until a stop is asked for."""
        while not self.stopping:
            self._pump(TICK_SECONDS)
            self._revive_servers()
            if self._restart_wanted:
                self._restart_wanted = False
                self._rolling.begin()
            self._rolling.step()
            for child in self._children:
                if not self._rolling.handles(child):
                    self._keep_running(child)

    def run_once(self, spec: ChildSpec) -> int:
        """Run a child to its end while following the others; its exit code, -1 when stopped."""
        child = Child(spec)
        self._start(child)
        while child.running and not self.stopping:
            self._pump(TICK_SECONDS)
        child.signal(signal.SIGTERM)
        code = child.process.wait() if child.process else -1
        self._drain(child)
        return code

    def stop(self) -> None:
        """Stop one after the other, each within its limit; no process is left."""
        if self._stopped:
            return
        self._stopped = True
        for child in (*self._children, *self._rolling.successors()):
            if child.running:
                self._print(OWN_NAME, f"stopping {child.spec.name}")
            child.signal(signal.SIGTERM)
            deadline = time.monotonic() + child.spec.stop_seconds
            while child.running and time.monotonic() < deadline:
                self._pump(0.02)
            if child.running:
                self._print(OWN_NAME, f"{child.spec.name} does not stop and is killed")
            child.end_group()
            if child.process:
                child.process.wait()
            self._drain(child)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _start(self, child: Child) -> None:
        child.start()
        for pipe in (child.output, child.ready_pipe):
            if pipe is not None:
                self._selector.register(pipe, selectors.EVENT_READ, child)
        self._changed()

    def _try_start(self, child: Child) -> None:
        """Start, or plan to try again: what still runs must not end for a lack of memory."""
        try:
            self._start(child)
        except OSError as error:
            pause = child.schedule_restart()
            reason = (error.strerror or "unknown error").lower()
            self._print(
                OWN_NAME,
                f"{child.spec.name} cannot be started: {reason}; next attempt in {pause:.1f} s",
            )

    def _keep_running(self, child: Child) -> None:
        if child.running:
            if child.overdue:
                self._print(OWN_NAME, f"{child.spec.name} does not get ready and is started anew")
                child.end_group()
            return
        if child.start_at:
            if time.monotonic() >= child.start_at:
                child.start_at = 0.0
                self._try_start(child)
            return
        code = child.process.returncode if child.process else None
        child.end_group()
        self._drain(child)
        pause = child.schedule_restart()
        self._print(
            OWN_NAME, f"{child.spec.name} ended ({_ending(code)}), starts again in {pause:.1f} s"
        )

    def _revive_servers(self) -> None:
        if time.monotonic() < self._revive_at:
            return
        try:
            revived = self._revive()
        except OperatorError as error:
            self._put_off_reviving(error.sentence)
            return
        except (OSError, psycopg.Error) as error:
            # A full disk, for one: what still runs must not end for it. Its text may hold names.
            self._put_off_reviving(f"A server cannot be started ({type(error).__name__}).")
            return
        self._revive_pause = FIRST_PAUSE_SECONDS
        for name in revived:
            self._print(OWN_NAME, f"{name} had ended and was started again")
            self._changed()

    def _put_off_reviving(self, why: str) -> None:
        """Say why, and pause twice as long each time."""
        pause = self._revive_pause
        self._print(OWN_NAME, f"{why} Next attempt in {pause:.1f} s.")
        self._revive_at = time.monotonic() + pause
        self._revive_pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _changed(self) -> None:
        try:
            self._on_change()
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            self._print(OWN_NAME, f"the process ids cannot be written down: {reason}")

    def _pump(self, seconds: float) -> None:
        """Handle what the children wrote, waiting at most `seconds` for it."""
        for key, _ in self._selector.select(seconds):
            child = key.data
            if child is None:
                os.read(self._wake_read, 64)
                continue
            pipe = key.fd
            if pipe == child.ready_pipe:
                if child.read_ready():
                    self._selector.unregister(pipe)
            elif child.read_output(self._print):
                self._selector.unregister(pipe)

    def _drain(self, child: Child) -> None:
        """Print the last lines of an ended child and close its pipes."""
        for pipe in (child.output, child.ready_pipe):
            if pipe is not None:
                self._selector.unregister(pipe)
        child.close_pipes(self._print)


def _ending(code: int | None) -> str:
    if code is None:
        return "unknown"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
