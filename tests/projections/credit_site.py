"""A database, a stream and credit workers for them, and what must hold when all is drained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import psycopg
import redis

from application.store.sealing import Sealer
from domain.credit import MICROSECONDS
from interfaces.workers.credit import CreditWorker
from interfaces.workers.layouts import RedisLayouts, StreamLayouts
from interfaces.workers.peer_stream import PeerStream, connect_stream
from projections import accounting, ledger_reader, peer_ledger
from projections.accounting_replay import replay
from projections.address_hashes import AddressHasher
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource, StandingPolicy
from projections.digest import digest_tables
from projections.peer_records import Records, as_kept
from tests.projections.peer_sets import T0
from tests.projections.run_credit_worker import POLICY, SEALER, STREAM, month_key
from tracker import wire

ENTRY = 40
AT = datetime.fromtimestamp(T0 / MICROSECONDS, UTC)


class OneStream:
    """A layout of one stream, which may misbehave."""

    def __init__(self, stream: PeerStream) -> None:
        self._stream = stream

    def groups(self) -> list[list[PeerStream]]:
        return [[self._stream]]

    def retire(self, streams: Sequence[PeerStream]) -> None:
        raise AssertionError("the only layout is not an older one")


class Site:
    """A database, a stream, and workers made for them."""

    def __init__(self, app_url: str, redis_url: str) -> None:
        self.app_url = app_url
        self.redis_url = redis_url
        self.client = connect_stream(redis_url)
        self.add_layout(1, shards=1)
        self.now = AT
        self.head = 3
        self.workers: list[CreditWorker] = []

    def worker(
        self,
        *,
        layouts: StreamLayouts | None = None,
        new_fold: Callable[[], CreditFold] = lambda: CreditFold(seed=5),
        policies: PolicySource | None = None,
        batch_records: int = 500,
        snapshot_records: int = 10**9,
        sealer: Sealer = SEALER,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> CreditWorker:
        worker = CreditWorker(
            conninfo=self.app_url,
            layouts=layouts or RedisLayouts(self.client),
            head=lambda: self.head,
            policies=policies or StandingPolicy(POLICY),
            sealer=sealer,
            addresses=AddressHasher(month_key, seed=3),
            new_fold=new_fold,
            clock=lambda: self.now,
            monotonic=monotonic,
            batch_records=batch_records,
            snapshot_records=snapshot_records,
        )
        self.workers.append(worker)
        return worker

    def add_layout(self, number: int, *, shards: int) -> None:
        """List a layout, as the tracker that makes it does."""
        self.client.hset(wire.LAYOUTS, str(number), shards)

    def send(
        self, records: Records, *, epoch: int = 1, first: int = 1, stream: str = STREAM
    ) -> int:
        """Add entries of up to `ENTRY` records; gives the next number."""
        number = first
        for start in range(0, len(records), ENTRY):
            add_entry(self.client, records[start : start + ENTRY], f"{epoch}-{number}", stream)
            number += 1
        return number

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.app_url, autocommit=True)

    def archived(self) -> bytes:
        with self.connect() as conn:
            return b"".join(records.tobytes() for _, records in ledger_reader.read_batches(conn))

    def batch_count(self) -> int:
        with self.connect() as conn:
            newest = peer_ledger.newest_batch(conn)
        return newest.seq if newest else 0

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.client.close()


def add_entry(client: redis.Redis, records: Records, entry_id: str, stream: str = STREAM) -> None:
    client.xadd(
        stream,
        {wire.FIELD_VERSION: wire.VERSION, wire.FIELD_RECORDS: records.tobytes()},
        id=entry_id,
    )


def expected_bytes(records: Records) -> bytes:
    """What the ledger must hold of `records`, byte for byte."""
    return AddressHasher(month_key, seed=1).hash_addresses(as_kept(records)).tobytes()


def assert_settled(site: Site, sent: Records) -> None:
    """The ledger holds exactly what was sent, and the tables equal one uninterrupted fold."""
    assert site.archived() == expected_bytes(sent)
    with site.connect() as conn:
        conn.execute("DROP SCHEMA IF EXISTS beside CASCADE")
        position = replay(conn, "beside", CreditFold(seed=9), StandingPolicy(POLICY))
        assert accounting.read_position(conn) == position
        kind = accounting.Accounting()
        assert digest_tables(conn, kind, "accounting_1") == digest_tables(conn, kind, "beside")
        totals = conn.execute(
            "SELECT account, uploaded, downloaded, seed_seconds, snatches"
            " FROM accounting_1.member_totals ORDER BY account"
        ).fetchall()
    whole = CreditFold(seed=1)
    whole.fold(as_kept(sent), POLICY, batch=1)
    columns = [whole.members[name] for name in ("uploaded", "downloaded", "seed_time", "snatches")]
    assert totals == sorted(
        (int(key), int(up), int(down), int(seed) // MICROSECONDS, int(done))
        for key, up, down, seed, done in zip(
            whole.members.keys(0), *(c[: len(whole.members)] for c in columns), strict=True
        )
    )
    assert any(row[1] for row in totals)


def drain_all(worker: CreditWorker) -> int:
    """Step until two steps in a row find nothing; gives the records moved."""
    moved, idle = 0, 0
    while idle < 2:
        step = worker.step()
        moved, idle = moved + step, 0 if step else idle + 1
    return moved


def wait_until(met: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.02)
