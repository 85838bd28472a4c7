"""One supervised child process: its pipes, its readiness, its end."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ops.inherited import LISTEN_FDS, Sockets, descriptors, listen_fds
from ops.readiness import PREPARED_LINE, READY_FD, READY_LINE
from ops.server_process import PR_SET_PDEATHSIG

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
# A child that lived this long has started well, so its next crash begins with the short pause.
SETTLED_SECONDS = 60.0
READ_BYTES = 65536
LINE_BYTES = 16384

PrintLine = Callable[[str, str], None]
"""Takes a process name and one line of its output."""


@dataclass(frozen=True)
class ChildSpec:
    """What to run, and how long it may take to get ready and to stop, in seconds.

    `sockets` are handed to the process by their kinds. `beside`: at a rolling restart the new
    process starts while the old one still serves, which stops once the new one is prepared.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 60.0
    stop_seconds: float = 20.0
    sockets: Sockets = field(default_factory=dict)
    beside: bool = False


class Child:
    """Starts a spec again and again; the supervisor's loop reads its pipes."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ready = False
        self.prepared = False
        self.process: subprocess.Popen[bytes] | None = None
        self.output: int | None = None
        self.ready_pipe: int | None = None
        self.start_at = 0.0
        self._started = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._partial = b""
        self._told = b""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def overdue(self) -> bool:
        """Whether it runs longer than it may without being ready."""
        waited = time.monotonic() - self._started
        return self.running and not self.ready and waited > self.spec.ready_seconds

    def start(self) -> None:
        """Start in a session of its own, so that Ctrl-C reaches only the supervisor.

        Raises OSError where the system has no room for it.
        """
        output, output_end = os.pipe()
        ready_pipe, ready_end = os.pipe()
        sockets = self.spec.sockets
        handed = {LISTEN_FDS: listen_fds(sockets)} if sockets else {}
        try:
            self.process = subprocess.Popen(
                self.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                env={**os.environ, **self.spec.environment, **handed, READY_FD: str(ready_end)},
                pass_fds=(ready_end, *descriptors(sockets)),
                start_new_session=True,
                preexec_fn=_end_with_supervisor,  # noqa: PLW1509  the supervisor has no threads
            )
        except OSError:
            os.close(output)
            os.close(ready_pipe)
            raise
        finally:
            os.close(output_end)
            os.close(ready_end)
        for pipe in (output, ready_pipe):
            os.set_blocking(pipe, False)
        self.output, self.ready_pipe = output, ready_pipe
        self.ready = self.prepared = False
        self._told = b""
        self._started = time.monotonic()

    def read_ready(self) -> bool:
        """Take what came on the ready pipe; True when the pipe is done with."""
        if self.ready_pipe is None:
            return True
        try:
            received = os.read(self.ready_pipe, 64)
        except BlockingIOError:
            return False
        self._told += received
        self.ready = READY_LINE in self._told
        self.prepared = self.ready or PREPARED_LINE in self._told
        if received and not self.ready:
            return False
        os.close(self.ready_pipe)
        self.ready_pipe = None
        return True

    def read_output(self, print_line: PrintLine) -> bool:
        """Print whole lines; True when the pipe is at its end."""
        if self.output is None:
            return True
        try:
            received = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + received).split(b"\n")
        if not received or len(self._partial) > LINE_BYTES:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            if line.strip():
                print_line(self.spec.name, line.decode(errors="replace").rstrip())
        if received:
            return False
        os.close(self.output)
        self.output = None
        return True

    def close_pipes(self, print_line: PrintLine) -> None:
        """Print what is left without waiting for more, as a grandchild may hold the pipe open."""
        self.read_ready()
        if self.ready_pipe is not None:
            os.close(self.ready_pipe)
            self.ready_pipe = None
        while self.output is not None and select.select([self.output], [], [], 0)[0]:
            self.read_output(print_line)
        if self.output is not None:
            os.close(self.output)
            self.output = None
        if self._partial.strip():
            print_line(self.spec.name, self._partial.decode(errors="replace").rstrip())
        self._partial = b""

    def schedule_restart(self) -> float:
        """Set when to start again, pausing twice as long each time; gives the pause in seconds."""
        if time.monotonic() - self._started > SETTLED_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        pause = self._pause
        self._pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self.start_at = time.monotonic() + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        if self.running and self.process:
            self.process.send_signal(number)

    def end_group(self) -> None:
        """Kill whatever the child left behind in its session: it may hold a port."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return


def _end_with_supervisor() -> None:
    """A child must not outlive a killed supervisor, or the next start finds its port taken."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
