"""Folding the peer ledger again: into the worker's arrays, or into a schema beside the live one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from application.store.sealing import Sealer
from projections.accounting import WHOLE, Parts, Position, Standing, install
from projections.accounting_rows import flush, settle
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource
from projections.engine import Connection
from projections.ledger_reader import read_batches
from projections.peer_ledger import Batch
from projections.peer_records import Records

START: Final = Position(ledger_seq=0, log_position=0)
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
    reached: Callable[[Position], None] | None = None,
    progress: Progress | None = None,
) -> Position:
    """Fold the ledger's batches behind `after`, each under the policy known at its log position.

    `sealer` opens the blocks of closed days; `reached` is told each position. Ends swept,
    and gives the last position. Raises `LedgerDamaged` where the ledger is not what was archived.
    """
    began, count, position = time.monotonic(), 0, after
    for batch, records in read_batches(conn, after.ledger_seq, upto_seq=upto_seq, sealer=sealer):
        fold.fold(records, policies.upto(batch.log_position), batch=batch.seq)
        position = Position(ledger_seq=batch.seq, log_position=batch.log_position)
        count += len(records)
        if seen is not None:
            seen(batch, records)
        if reached is not None:
            reached(position)
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
    after: Position = START,
    like: Standing | None = None,
    upto_seq: int | None = None,
    sealer: Sealer | None = None,
    progress: Progress | None = None,
) -> Position:
    """Build the accounting tables in a new `schema` from the ledger; gives their position.

    `fold` is a fresh one, or the state `after` a batch: flags before that are then not made.
    `like` lets each part of the tables stand at a batch of its own, else all stand at
    `upto_seq` or the end. Raises ValueError when the schema exists,
    `LedgerDamaged` where the ledger is not what was archived.
    """
    if not install(conn, schema):
        raise ValueError(f"schema {schema} exists already")

    def write(position: Position, parts: Parts) -> None:
        with conn.transaction():
            flush(conn, fold, position, schema, parts)
        settle(fold, parts)

    def stop(position: Position) -> None:
        if like is not None and (parts := like.parts_at(position.ledger_seq)):
            write(position, parts)

    for table in fold.tables().values():
        table.mark(np.arange(len(table)))
    stop(after)
    last = refold(
        conn,
        fold,
        policies,
        after=after,
        upto_seq=upto_seq if like is None else like.stops[-1],
        sealer=sealer,
        reached=stop,
        progress=progress,
    )
    if like is None:
        write(last, WHOLE)
    return last
