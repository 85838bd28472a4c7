"""Folding the peer ledger again: into the worker's arrays, or into a schema beside the live one."""

from __future__ import annotations

import time
from collections.abc import Callable

from application.store.sealing import Sealer
from projections.accounting import Position, flush, install, settle
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource
from projections.engine import Connection
from projections.ledger_reader import read_batches
from projections.peer_ledger import Batch
from projections.peer_records import Records

Progress = Callable[[int, float], None]
"""Told the records folded so far and the seconds it took."""
Seen = Callable[[Batch, Records], None]


def refold(
    conn: Connection,
    fold: CreditFold,
    policies: PolicySource,
    *,
    after: Position,
    upto_seq: int | None = None,
    sealer: Sealer | None = None,
    seen: Seen | None = None,
    progress: Progress | None = None,
) -> Position:
    """Fold the ledger's batches behind `after`, each under the policy known at its log position.

    `sealer` opens the blocks of closed days. Ends swept, as the tables are when flushed. Gives the position reached. Raises
    `LedgerDamaged` where the ledger is not what was archived.
    """
    began, count, position = time.monotonic(), 0, after
    for batch, records in read_batches(conn, after.ledger_seq, upto_seq=upto_seq, sealer=sealer):
        fold.fold(records, policies.upto(batch.log_position), batch=batch.seq)
        position = Position(ledger_seq=batch.seq, log_position=batch.log_position)
        count += len(records)
        if seen is not None:
            seen(batch, records)
        if progress is not None:
            progress(count, time.monotonic() - began)
    fold.sweep()
    return position


def replay(
    conn: Connection,
    schema: str,
    fold: CreditFold,
    policies: PolicySource,
    *,
    upto_seq: int | None = None,
    sealer: Sealer | None = None,
    progress: Progress | None = None,
) -> Position:
    """Build the accounting tables in a new `schema` from the whole ledger; gives their position.

    `fold` is a fresh one. Raises ValueError when the schema exists, `LedgerDamaged` where the
    ledger is not what was archived.
    """
    if not install(conn, schema):
        raise ValueError(f"schema {schema} exists already")
    start = Position(ledger_seq=0, log_position=0)
    position = refold(
        conn, fold, policies, after=start, upto_seq=upto_seq, sealer=sealer, progress=progress
    )
    with conn.transaction():
        flush(conn, fold, position, schema)
    settle(fold)
    return position
