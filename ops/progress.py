"""Progress of long work, on standard error: a living line on a terminal, else one now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

TERMINAL_SECONDS = 0.1
LOG_SECONDS = 5.0


class ProgressLine:
    """Shows the newest text, not more often than a reader can follow; `done` ends the line."""

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._living = self._stream.isatty()
        self._next = clock() + (0 if self._living else LOG_SECONDS)
        self._width = 0

    def show(self, text: str) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (TERMINAL_SECONDS if self._living else LOG_SECONDS)
        if self._living:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def done(self) -> None:
        """Take the living line away."""
        if self._living and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0
