"""The credit worker: archives the shards' peer records in the ledger and folds what it archived."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import psycopg
import redis
import structlog

from application.store.sealing import KeyWornOut, Sealer
from domain.credit import FOLD_RECORDS, MICROSECONDS
from domain.errors import Unavailable
from interfaces.workers.credit_clocks import SNAPSHOT_RECORDS, FlushClocks, SnapshotClock
from interfaces.workers.layouts import StreamLayouts
from interfaces.workers.peer_stream import FIRST_ID, Drained, PeerStream, Tail
from projections.accounting import WHOLE, Parts, Position, install
from projections.accounting_replay import START
from projections.accounting_rows import count_holdings, flush, settle
from projections.accounting_snapshots import take_snapshot
from projections.accounting_start import start_fold
from projections.address_hashes import AddressHasher
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource
from projections.engine import Connection
from projections.ledger_reader import read_batches
from projections.peer_ledger import (
    archive,
    list_recent_batches,
    newest_batch,
    try_lease,
)
from projections.peer_records import Records, as_kept, unpack
from projections.torrent_listing import fill_counts

TAIL_SECONDS: Final = 2 * 1800 + 300
"""Peer life of the tracker: it restarts from this much of the stream."""
REST_SECONDS: Final = 0.5
STANDBY_SECONDS: Final = 1.0
LONGEST_PAUSE: Final = 5.0
STOP_ROWS: Final = 100_000
"""So many holdings are still written at a stop, in about a second; snapshots remember the rest."""
TRANSIENT: Final = (psycopg.Error, redis.RedisError, OSError, Unavailable)
LEASE: Final = "accounting"
"""One lease for all shards: the fold is the only writer of the accounting tables."""

_logger = structlog.get_logger("credit")


class CreditWorker:
    """Archiver and fold of all shards' streams; it starts from a snapshot and the ledger behind.

    `head` gives the event log's last position, `new_fold` an empty fold, `clock` the time in
    UTC, `monotonic` seconds; `sealer` seals snapshots and opens the ledger's closed days. Of
    several workers the one that holds the lease works, the others stand by. Besides its time,
    a snapshot is due after `snapshot_records`. `connected` is shown each connection that holds
    the lease.
    """

    def __init__(
        self,
        *,
        conninfo: str,
        layouts: StreamLayouts,
        head: Callable[[], int],
        policies: PolicySource,
        sealer: Sealer,
        addresses: AddressHasher,
        new_fold: Callable[[], CreditFold],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        batch_records: int = FOLD_RECORDS,
        snapshot_records: int = SNAPSHOT_RECORDS,
        tail_seconds: int = TAIL_SECONDS,
        connected: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._conninfo = conninfo
        self._connected = connected
        self._layouts = layouts
        self._head = head
        self._policies = policies
        self._addresses = addresses
        self._new_fold = new_fold
        self._clock = clock
        self._monotonic = monotonic
        self._sealer = sealer
        self._batch_records = batch_records
        self._tail_seconds = tail_seconds
        self._tails: defaultdict[str, Tail] = defaultdict(lambda: Tail(tail_seconds))
        self._conn: Connection | None = None
        self._fold: CreditFold | None = None
        self._position = START
        self._clocks: FlushClocks | None = None
        self._snapshot_records = snapshot_records
        self._snapshots = SnapshotClock(0)
        self._last_ids: dict[str, str] = {}
        self._newest_at: dict[str, int] = {}

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
            self._leave()
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
        fold = self._fold or self._start(conn)
        groups = self._layouts.groups()
        for streams in groups:
            # A torrent may have moved to another stream: what it left in the old one comes first.
            moved = sum(self._advance(conn, fold, stream) for stream in streams)
            if moved:
                break
        else:
            moved = 0
            self._write_rest(conn, fold)
            self._retire(groups[:-1])
        if self._snapshots.due(len(fold.sessions)):
            self._take_snapshot(conn, fold)
        return moved

    def _retire(self, groups: Sequence[Sequence[PeerStream]]) -> None:
        """Forget layouts of which nothing is left that a tracker could still start from."""
        for streams in groups:
            if not any(len(self._tails[stream.name]) for stream in streams):
                _logger.info("credit.layout_retired", layout=streams[0].layout)
                self._layouts.retire(streams)

    def _advance(self, conn: Connection, fold: CreditFold, stream: PeerStream) -> int:
        """Archive the stream's next batch, and trim what is neither new nor needed."""
        if stream.name not in self._last_ids:
            self._find_end(conn, stream.name)
        last_id = self._last_ids[stream.name]
        if renumbered := stream.rejoin(last_id, self._newest_at.get(stream.name, 0)):
            _logger.warning("credit.stream_renumbered", stream=stream.name, entries=renumbered)
        drained = stream.drain(last_id, self._batch_records)
        if drained is None:
            stream.raise_epoch(last_id)
        else:
            self._archive(conn, fold, stream.name, drained)
        now = int(self._clock().timestamp()) * MICROSECONDS
        passed = self._tails[stream.name].pass_over(now)
        stream.trim(passed, archived=self._last_ids[stream.name])
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
        self._connected(conn)
        self._conn = conn
        return conn

    def _start(self, conn: Connection) -> CreditFold:
        """The fold at the ledger's end; what the tables lack is marked as changed."""
        install(conn)
        fold = self._new_fold()
        began = time.monotonic()
        started = start_fold(conn, fold, self._policies, sealer=self._sealer)
        self._last_ids.clear()
        self._fill_tails(conn)
        self._clocks = FlushClocks(started.standing, self._monotonic)
        self._snapshots = SnapshotClock(started.records, self._snapshot_records, self._monotonic)
        # While no worker ran, the catalogue may have been made anew.
        fill_counts(conn)
        self._position, self._fold = started.position, fold
        _logger.info(
            "credit.started",
            batch=started.position.ledger_seq,
            snapshot=started.snapshot.ledger_seq,
            records=started.records,
            seconds=round(time.monotonic() - began, 3),
        )
        return fold

    def _fill_tails(self, conn: Connection) -> None:
        """What a tracker may still need; records are never younger than their archiving."""
        self._tails.clear()
        since = self._clock() - timedelta(seconds=self._tail_seconds)
        for batch, archived_at in list_recent_batches(conn, since):
            moment = int(archived_at.timestamp()) * MICROSECONDS
            self._tails[batch.stream].add(moment, batch.last_id)

    def _find_end(self, conn: Connection, stream: str) -> None:
        """Where the ledger ends with this stream, and the time of its newest record there."""
        newest = newest_batch(conn, stream)
        self._last_ids[stream] = newest.last_id if newest else FIRST_ID
        self._newest_at[stream] = 0
        if newest is not None:
            # The times of a shard never fall, so its last batch has the newest.
            ends = read_batches(conn, newest.seq - 1, upto_seq=newest.seq, sealer=self._sealer)
            for _, records in ends:
                self._note_newest(stream, records)
            if not self._tails[stream]:
                self._tails[stream].add(self._newest_at[stream], newest.last_id)

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
            parts = self._write_due(conn, fold, position)
        self._fold, self._position = fold, position
        self._written(fold, parts)
        self._snapshots.behind += len(records)
        self._last_ids[stream] = drained.last_id
        self._tails[stream].add(int(records["at"].max()), drained.last_id)
        self._note_newest(stream, records)

    def _write_due(
        self, conn: Connection, fold: CreditFold, position: Position, *, idle: bool = False
    ) -> Parts:
        """Write the parts that are due, in the caller's transaction; gives them."""
        if self._clocks is None:
            raise RuntimeError("a fold was not started")
        parts = self._clocks.due(fold, position.ledger_seq, idle=idle)
        if parts:
            flush(conn, fold, position, parts=parts)
        return parts

    def _write_rest(self, conn: Connection, fold: CreditFold) -> None:
        """Nothing more to archive: write what still waits, as far as it is due."""
        with conn.transaction():
            parts = self._write_due(conn, fold, self._position, idle=True)
        self._written(fold, parts)

    def _written(self, fold: CreditFold, parts: Parts) -> None:
        """What was written is committed."""
        settle(fold, parts)
        if self._clocks is not None:
            self._clocks.written(parts, self._position.ledger_seq)

    def _take_snapshot(self, conn: Connection, fold: CreditFold) -> None:
        """Store the state, with the totals first: a snapshot holds no flags."""
        began = time.monotonic()
        self._snapshots.taken()
        parts = Parts(totals=True)
        with conn.transaction():
            flush(conn, fold, self._position, parts=parts)
        self._written(fold, parts)
        try:
            size = take_snapshot(
                conn,
                fold,
                self._position,
                self._policies.upto(self._position.log_position),
                sealer=self._sealer,
                taken_at=self._clock(),
            )
        except KeyWornOut as error:
            # The ledger is what counts: without a snapshot the next start only takes longer.
            _logger.warning("credit.snapshot_failed", reason=str(error))
            return
        _logger.info(
            "credit.snapshot_taken",
            batch=self._position.ledger_seq,
            bytes=size,
            seconds=round(time.monotonic() - began, 3),
        )

    def _leave(self) -> None:
        """A clean stop: write what waits, and a snapshot to start from."""
        conn, fold = self._conn, self._fold
        if conn is None or fold is None or conn.closed:
            return
        parts = WHOLE if count_holdings(fold).sum() <= STOP_ROWS else Parts(totals=True, live=True)
        try:
            with conn.transaction():
                flush(conn, fold, self._position, parts=parts)
            self._written(fold, parts)
            if self._snapshots.behind:
                self._take_snapshot(conn, fold)
        except TRANSIENT as error:
            _logger.warning("credit.interrupted", error=type(error).__name__)
