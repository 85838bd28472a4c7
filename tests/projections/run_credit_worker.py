"""A credit worker in a process of its own, to be killed.

Arguments: database URL, Redis URL, records a batch, records a snapshot, and the piece of a
snapshot before which it kills itself (0: it does not).
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from datetime import UTC, datetime

from application.store.keyring import Key, Keyring
from application.store.sealing import Sealer
from domain.credit import CreditPolicy
from interfaces.workers.credit import CreditWorker
from interfaces.workers.layouts import RedisLayouts
from interfaces.workers.peer_stream import connect_stream
from projections.address_hashes import AddressHasher
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from tests.projections.peer_sets import hostile_windows
from tracker import wire

STREAM = wire.stream_name(1, 0)
POLICY = CreditPolicy(windows=hostile_windows())
RING = Keyring([Key(id=1, purpose="events", material=bytes(range(32)))])
SEALER = Sealer(RING, "events", lambda _key, amount: amount)


def month_key(month: str) -> bytes:
    return hashlib.sha256(month.encode()).digest()


class DeadlySealer(Sealer):
    """Kills the process before it seals so many pieces."""

    def __init__(self, pieces: int) -> None:
        super().__init__(RING, "events", lambda _key, amount: amount)
        self._pieces = pieces

    def seal(self, plain: bytes, place: bytes) -> bytes:
        self._pieces -= 1
        if self._pieces == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().seal(plain, place)


def main() -> None:
    app_url, redis_url, batch_records, snapshot_records, pieces = sys.argv[1:]
    worker = CreditWorker(
        conninfo=app_url,
        layouts=RedisLayouts(connect_stream(redis_url)),
        head=lambda: 3,
        policies=StandingPolicy(POLICY),
        sealer=DeadlySealer(int(pieces)),
        addresses=AddressHasher(month_key, seed=3),
        new_fold=lambda: CreditFold(seed=7),
        clock=lambda: datetime.now(UTC),
        batch_records=int(batch_records),
        snapshot_records=int(snapshot_records),
    )
    worker.run(threading.Event())


if __name__ == "__main__":
    main()
