"""A process that only gets ready and stops, in place of api, tracker, scheduler or worker."""

from __future__ import annotations

import signal
import sys

from ops.readiness import announce_ready


def main() -> None:
    """Say what happens in lines the tests can read."""
    name, *flags = sys.argv[1:]
    if "fails" in flags:
        print(f"{name} cannot start", flush=True)
        sys.exit(3)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    print(f"{name} begins", flush=True)
    if "silent" not in flags:
        announce_ready()
    received = signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if "stubborn" in flags:
        signal.sigwait({signal.SIGINT})
    print(f"{name} ends by {signal.Signals(received).name}", flush=True)


if __name__ == "__main__":
    main()
