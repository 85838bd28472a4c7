"""Bringing a fold to the ledger's end: the newest snapshot that holds, and what lies behind it."""

from __future__ import annotations

import msgspec

from application.store.sealing import Sealer
from projections.accounting import Position, Standing, read_standing
from projections.accounting_replay import START, refold
from projections.accounting_rows import settle
from projections.accounting_snapshots import restore_newest
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource
from projections.engine import Connection
from projections.ledger_checkpoints import restore_checkpoint
from projections.ledger_retention import retired_to
from projections.peer_ledger import Batch
from projections.peer_records import Records


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """Where the fold and the tables stand, which snapshot it began with, records behind that."""

    position: Position
    standing: Standing
    snapshot: Position
    records: int


def start_fold(
    conn: Connection,
    fold: CreditFold,
    policies: PolicySource,
    *,
    sealer: Sealer,
) -> Started:
    """Bring an empty `fold` to the end of the ledger; what the tables lack is marked as changed.

    Raises `LedgerDamaged` where the ledger behind the snapshot is not what was archived, and
    `LedgerRetired` where its first days went and no checkpoint of this fold is left.
    """
    standing = read_standing(conn)
    folded = 0

    def reached(position: Position) -> None:
        # What changed up to here is in the tables of the parts that stand here.
        if parts := standing.parts_at(position.ledger_seq):
            fold.sweep()
            settle(fold, parts)

    def count(_batch: Batch, records: Records) -> None:
        nonlocal folded
        folded += len(records)

    snapshot = restore_newest(conn, fold, policies, sealer=sealer) or _beginning(conn, fold, sealer)
    reached(snapshot)
    position = refold(
        conn, fold, policies, after=snapshot, sealer=sealer, seen=count, reached=reached
    )
    return Started(position=position, standing=standing, snapshot=snapshot, records=folded)


def _beginning(conn: Connection, fold: CreditFold, sealer: Sealer) -> Position:
    """The first record, or a checkpoint where the operator let the first days go."""
    position = restore_checkpoint(conn, fold, sealer) if retired_to(conn) else None
    return position or START
