"""A tracker process for tests: REDIS_URL FOLDER SECONDS; its port and log go to standard output."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path

from tests.tracker.running_tracker import CONNECTION_KEY, KID, PASSKEY_KEY, bind_both
from tracker.service import TrackerConfig, TrackerService
from tracker.snapshot import SnapshotKeys
from tracker.snapshot_folder import SnapshotPlace

SNAPSHOT_KEYS = SnapshotKeys(5, {5: bytes(range(64, 96))})


def say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def main(redis_url: str, folder: str, seconds: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    sockets = bind_both()
    config = TrackerConfig(
        redis_url=redis_url,
        passkey_keys={KID: PASSKEY_KEY},
        connection_id_keys={1: CONNECTION_KEY},
        snapshots=SnapshotPlace(Path(folder), SNAPSHOT_KEYS, float(seconds)),
    )
    service = TrackerService(config, sockets, [], log=say)
    service.run(stop, lambda: say("ready", port=sockets[0].getsockname()[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
