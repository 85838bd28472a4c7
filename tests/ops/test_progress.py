"""Progress of long work is told at a pace a reader can follow."""

from __future__ import annotations

import io

from ops.progress import ProgressLine


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Times:
    """A clock a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_gets_a_line_now_and_then() -> None:
    stream, times = io.StringIO(), Times()
    line = ProgressLine(stream, clock=times)
    for second in range(12):
        times.now = second
        line.show(f"step {second}")
    line.done()
    assert stream.getvalue() == "step 5\nstep 10\n"


def test_a_terminal_gets_one_living_line_that_is_taken_away() -> None:
    stream, times = Terminal(), Times()
    line = ProgressLine(stream, clock=times)
    line.show("step 10")
    times.now = 0.05
    line.show("too soon")
    times.now = 0.2
    line.show("step 9")
    line.done()
    line.done()
    assert stream.getvalue() == "\rstep 10\rstep 9 \r      \r"
