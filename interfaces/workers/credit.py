"""The credit worker: archives the shards' peer records in the ledger and folds what it archived."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Final

import psycopg
import redis
import structlog

from application.store.sealing import Sealer
from domain.credit import FOLD_RECORDS, MICROSECONDS
from domain.errors import Unavailable
from interfaces.workers.layouts import StreamLayouts
from interfaces.workers.peer_stream import FIRST_ID, Drained, PeerStream, Tail
from projections.accounting import (
    Position,
    changed_rows,
    flush,
    install,
    read_position,
    settle,
)
from projections.accounting_replay import refold
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource
from projections.engine import Connection
from projections.peer_ledger import AddressHasher, Batch, archive, newest_batch, try_lease
from projections.peer_records import Records, as_kept, unpack

TAIL_SECONDS: Final = 2 * 1800 + 300
"""Peer life of the tracker: it restarts from this much of the stream."""
REST_SECONDS: Final = 0.5
STANDBY_SECONDS: Final = 1.0
LONGEST_PAUSE: Final = 5.0
FLUSH_SECONDS: Final = 5.0
FLUSH_ROWS: Final = 5_000
"""So many changed rows are written with every batch; more wait for `FLUSH_SECONDS`.

An upserted row costs three times an archived record (measured), so a busy shard gathers.
"""
TRANSIENT: Final = (psycopg.Error, redis.RedisError, OSError, Unavailable)
LEASE: Final = "accounting"
"""One lease for all shards: the fold is the only writer of the accounting tables."""
START: Final = Position(ledger_seq=0, log_position=0)

_logger = structlog.get_logger("credit")


class CreditWorker:
    """Archiver and fold of all shards' streams; arrays are rebuilt from the ledger at each start.

    `head` gives the event log's last position, `address_key` the key of a month ("2026-11"),
    `new_fold` an empty fold, `clock` the time in UTC. Of several workers the one that
    holds the lease works, the others stand by. `sealer` opens the ledger's closed days.
    """

    def __init__(
        self,
        *,
        conninfo: str,
        layouts: StreamLayouts,
        head: Callable[[], int],
        policies: PolicySource,
        address_key: Callable[[str], bytes],
        new_fold: Callable[[], CreditFold],
        clock: Callable[[], datetime],
        sealer: Sealer | None = None,
        batch_records: int = FOLD_RECORDS,
        tail_seconds: int = TAIL_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._layouts = layouts
        self._head = head
        self._policies = policies
        self._addresses = AddressHasher(address_key)
        self._new_fold = new_fold
        self._clock = clock
        self._sealer = sealer
        self._batch_records = batch_records
        self._tails: defaultdict[str, Tail] = defaultdict(lambda: Tail(tail_seconds))
        self._conn: Connection | None = None
        self._fold: CreditFold | None = None
        self._position = START
        self._last_ids: dict[str, str] = {}
        self._newest_at: dict[str, int] = {}
        self._flushed_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; servers that are away are waited for.

        Raises `UnreadableRecords` or `LedgerDamaged`: waiting mends neither.
        """
        pause, failures = 0.0, 0
        try:
            while not stop.wait(pause):
                try:
                    moved = self.step()
                    failures = 0
                except TRANSIENT as error:
                    # The text of such an error may hold names and addresses; its kind does not.
                    _logger.warning("credit.interrupted", error=type(error).__name__)
                    failures += 1
                    pause = min(LONGEST_PAUSE, 0.1 * 2**failures)
                    continue
                pause = REST_SECONDS if self._fold else STANDBY_SECONDS
                if moved >= self._batch_records // 2:
                    pause = 0.0
        finally:
            self.close()

    def step(self) -> int:
        """Archive and fold one batch of each stream; the number of records, 0 when all are idle.

        Raises what the servers raise. What was committed is then found again in the ledger,
        what was not is still in the stream.
        """
        conn = self._lease()
        if conn is None:
            return 0
        fold = self._fold or self._rebuild(conn)
        groups = self._layouts.groups()
        for streams in groups:
            # A torrent may have moved to another stream: what it left in the old one comes first.
            moved = sum(self._advance(conn, fold, stream) for stream in streams)
            if moved:
                return moved
        self._flush_rest(conn, fold)
        for streams in groups[:-1]:
            # Nothing of it is left that a tracker could still start from.
            if not any(len(self._tails[stream.name]) for stream in streams):
                _logger.info("credit.layout_retired", layout=streams[0].layout)
                self._layouts.retire(streams)
        return 0

    def _advance(self, conn: Connection, fold: CreditFold, stream: PeerStream) -> int:
        """Archive the stream's next batch, and trim what is neither new nor needed."""
        if stream.name not in self._last_ids:
            newest = newest_batch(conn, stream.name)
            self._last_ids[stream.name] = newest.last_id if newest else FIRST_ID
        last_id = self._last_ids[stream.name]
        if renumbered := stream.rejoin(last_id, self._newest_at.get(stream.name, 0)):
            _logger.warning("credit.stream_renumbered", stream=stream.name, entries=renumbered)
        drained = stream.drain(last_id, self._batch_records)
        if drained is None:
            stream.raise_epoch(last_id)
        else:
            self._archive(conn, fold, stream.name, drained)
        now = int(self._clock().timestamp()) * MICROSECONDS
        trimmable = self._tails[stream.name].pass_over(now)
        if trimmable is not None:
            stream.trim(trimmable)
        return drained.records if drained else 0

    def close(self) -> None:
        """Give the lease back and forget the arrays."""
        self._fold = None
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _lease(self) -> Connection | None:
        """The connection that holds the lease; None while another worker does.

        Arrays live as long as a lease: another may have archived since a connection was lost.
        """
        if self._conn is not None and not self._conn.closed:
            return self._conn
        self.close()
        conn = psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=10,
            application_name="trackarr credit",
        )
        if not try_lease(conn, LEASE):
            conn.close()
            return None
        self._conn = conn
        return conn

    def _rebuild(self, conn: Connection) -> CreditFold:
        """Fold the whole ledger; what lies behind the tables' position is marked as changed."""
        install(conn)
        fold = self._new_fold()
        self._newest_at.clear()
        for tail in self._tails.values():
            tail.clear()
        began = time.monotonic()
        stored = read_position(conn)
        flushed = refold(
            conn,
            fold,
            self._policies,
            after=START,
            upto_seq=stored.ledger_seq,
            sealer=self._sealer,
            seen=self._note,
        )
        settle(fold)
        position = refold(
            conn, fold, self._policies, after=flushed, sealer=self._sealer, seen=self._note
        )
        self._last_ids.clear()
        self._position, self._fold = position, fold
        _logger.info(
            "credit.rebuilt",
            batch=position.ledger_seq,
            seconds=round(time.monotonic() - began, 3),
        )
        return fold

    def _note(self, batch: Batch, records: Records) -> None:
        self._tails[batch.stream].note(batch, records)
        self._note_newest(batch.stream, records)

    def _note_newest(self, stream: str, records: Records) -> None:
        newest = int(records["at"].max()) if len(records) else 0
        self._newest_at[stream] = max(newest, self._newest_at.get(stream, 0))

    def _archive(self, conn: Connection, fold: CreditFold, stream: str, drained: Drained) -> None:
        """One transaction: the batch, its records and, when due, the tables; then take note.

        The log's head is read first: policy means as known before this batch.
        """
        records = self._addresses.hash_addresses(as_kept(unpack(drained.packed)))
        log_position = self._head()
        policy = self._policies.upto(log_position)
        # The arrays move before the commit: after any error they are worth nothing.
        self._fold = None
        with conn.transaction():
            conn.execute("SET LOCAL synchronous_commit = on")
            seq = archive(
                conn,
                records,
                stream=stream,
                first_id=drained.first_id,
                last_id=drained.last_id,
                log_position=log_position,
                archived_at=self._clock(),
            )
            fold.fold(records, policy, batch=seq)
            position = Position(ledger_seq=seq, log_position=log_position)
            due = self._flush_due(fold)
            if due:
                flush(conn, fold, position)
        if due:
            self._settled(fold)
        self._fold, self._position = fold, position
        self._last_ids[stream] = drained.last_id
        self._tails[stream].add(int(records["at"].max()), drained.last_id)
        self._note_newest(stream, records)

    def _flush_due(self, fold: CreditFold) -> bool:
        waited = time.monotonic() - self._flushed_at
        return waited >= FLUSH_SECONDS or changed_rows(fold) <= FLUSH_ROWS

    def _flush_rest(self, conn: Connection, fold: CreditFold) -> None:
        """Nothing more to archive: write what still waits."""
        fold.sweep()
        if not changed_rows(fold):
            return
        with conn.transaction():
            flush(conn, fold, self._position)
        self._settled(fold)

    def _settled(self, fold: CreditFold) -> None:
        settle(fold)
        self._flushed_at = time.monotonic()
