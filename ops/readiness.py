"""Telling the supervisor that a process is ready to serve."""

from __future__ import annotations

import os

READY_FD = "TRACKARR_READY_FD"
READY_LINE = b"ready\n"
PREPARED_LINE = b"prepared\n"


def announce_prepared() -> None:
    """Tell `trackarr up` that all is loaded and only the process before us is in the way."""
    descriptor = os.environ.get(READY_FD)
    if descriptor is not None:
        _write(int(descriptor), PREPARED_LINE)


def announce_ready() -> None:
    """Tell `trackarr up` that this process serves; call once, harmless where nobody listens."""
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is not None:
        _write(int(descriptor), READY_LINE)
        os.close(int(descriptor))


def _write(descriptor: int, line: bytes) -> None:
    try:
        os.write(descriptor, line)
    except OSError:
        # The supervisor is gone; its end reaches us by another way.
        return
