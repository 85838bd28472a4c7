"""How much processor time something takes, where this process has other work as well."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 3


def least_seconds(call: Callable[[], object], enough: float) -> float:
    """Processor seconds of `call`, of this process alone, as other programs share the machine.

    It counts what earlier tests left behind too, such as garbage that is swept meanwhile: so the
    least of up to three tries, which end with the first below `enough`.
    """
    least = float("inf")
    for _ in range(TRIES):
        begun = time.process_time()
        call()
        least = min(least, time.process_time() - begun)
        if least < enough:
            break
    return least
