"""`trackarr up` with stand-ins for its four processes: servers, lock, ports and order are real."""

from __future__ import annotations

import sys

from ops.failures import OperatorError
from ops.installation import run_installation
from ops.settings import load_settings


def stand_in(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.ops.stand_in", name)


if __name__ == "__main__":
    try:
        sys.exit(run_installation(load_settings(), command_of=stand_in))
    except OperatorError as failure:
        print(f"trackarr: {failure.sentence}", flush=True)
        sys.exit(failure.exit_code)
