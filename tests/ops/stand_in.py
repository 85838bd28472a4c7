"""A process that only gets ready and stops, in place of api, tracker, scheduler or worker."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from ops.inherited import inherited
from ops.readiness import announce_prepared, announce_ready

HELD: list[socket.socket] = []


def main() -> None:
    """Say what happens in lines the tests can read."""
    name, *flags = sys.argv[1:]
    if "fails" in flags:
        print(f"{name} cannot start", flush=True)
        sys.exit(3)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    print(f"{name} begins", flush=True)
    if "listens" in flags:
        (http,), udp = inherited("http") or [], inherited("udp") or []
        port = http.getsockname()[1]
        print(f"http at {port}, udp {len(udp)}, shard {inherited('shard')}", flush=True)
    if "waits" in flags:
        wait_for_the_one_before(name)
    if "silent" not in flags:
        announce_ready()
    received = signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if "stubborn" in flags:
        signal.sigwait({signal.SIGINT})
    print(f"{name} ends by {signal.Signals(received).name}", flush=True)


def wait_for_the_one_before(name: str) -> None:
    """Serve only once nobody of the same name does, as a tracker waits for its lease."""
    held = socket.socket(socket.AF_UNIX)
    announce_prepared()
    while True:
        try:
            # An abstract address, which is free again when its holder ends.
            held.bind(f"\0trackarr-stand-in-{os.getppid()}")
            break
        except OSError:
            time.sleep(0.01)
    HELD.append(held)
    print(f"{name} serves", flush=True)


if __name__ == "__main__":
    main()
