"""Telling the supervisor that a process is ready to serve."""

from __future__ import annotations

import os

READY_FD = "TRACKARR_READY_FD"
READY_LINE = b"ready\n"


def announce_ready() -> None:
    """Tell `trackarr up` that this process serves; call once, harmless where nobody listens."""
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is None:
        return
    try:
        os.write(int(descriptor), READY_LINE)
        os.close(int(descriptor))
    except OSError:
        # The supervisor is gone; its end reaches us by another way.
        return
