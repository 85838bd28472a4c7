"""The checks of the peer ledger and of the credit folded from it, and where they begin."""

from __future__ import annotations

from typing import Final, Literal

from psycopg import sql

from application.store import verify as store
from application.store.log import EventLog
from projections import accounting
from projections.accounting import Position
from projections.accounting_replay import START, Progress, refold, replay
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource
from projections.credit_state import FOLD
from projections.engine import Connection
from projections.ledger_checkpoints import Checkpoints, check_checkpoints, list_checkpoints
from projections.ledger_days import check_closings
from projections.ledger_reader import LedgerRetired, LedgerState, verify_batches
from projections.ledger_retention import retired_to
from projections.peer_ledger import LedgerDamaged

Start = Literal["start", "checkpoint"]
"""Where a check begins: at the first record, or behind the newest signed checkpoint."""
NOTHING: Final = ""


class LedgerVerifier:
    """Reads the whole ledger, or what lies behind its newest checkpoint, and folds it anew.

    Where the operator let old days go, everything begins at the oldest checkpoint behind them.
    """

    def __init__(self, log: EventLog, policies: PolicySource, *, seed: int, start: Start) -> None:
        self._log = log
        self._policies = policies
        self._seed = seed
        self._start = start
        self._checkpoints = Checkpoints(log.event_sealer, log.keyring, policies, seed=seed)

    def check_batches(self, conn: Connection, progress: Progress) -> LedgerState:
        """Check every batch, closing and checkpoint; raises `LedgerDamaged`."""
        after = retired_to(conn)
        if self._start == "checkpoint":
            sound = [
                stored.checkpoint.ledger_seq
                for stored in list_checkpoints(conn)
                if self._checkpoints.fault(conn, stored) is None
            ]
            after = max([after, *sound])
        if after and (fault := store.verify_batches(self._log)) is not None:
            # Records before the start are not read, but the chain of their batches is.
            raise LedgerDamaged(int(fault.place.removeprefix("batch ")), fault.what)
        state = verify_batches(
            conn,
            after,
            sealer=self._log.event_sealer,
            progress=lambda records: progress(records, 0.0),
        )
        check_closings(conn)
        check_checkpoints(conn, self._checkpoints)
        return state

    def replay_accounting(
        self, conn: Connection, shadow: str, standing: accounting.Standing, progress: Progress
    ) -> str:
        """Build the accounting tables in `shadow` as they should stand; a finding, or nothing.

        Raises what `replay` raises, and `LedgerRetired` where no checkpoint can be begun at.
        """
        retired, first = retired_to(conn), standing.stops[0]
        fold, after, finding = CreditFold(seed=self._seed), START, NOTHING
        if retired or self._start == "checkpoint":
            base = self._checkpoints.newest(
                conn, behind=retired, upto=first, oldest_first=self._start == "start"
            )
            if base is None and retired:
                raise LedgerRetired(retired)
            fold, after = base or (fold, after)
        else:
            after, finding = self._prove_checkpoint(conn, fold, first, progress)
        replay(
            conn,
            shadow,
            fold,
            self._policies,
            after=after,
            like=standing,
            sealer=self._log.event_sealer,
            progress=progress,
        )
        if retired or self._start == "checkpoint":
            _take_flags(conn, shadow, after)
        return finding

    def _prove_checkpoint(
        self, conn: Connection, fold: CreditFold, first: int, progress: Progress
    ) -> tuple[Position, str]:
        """Fold to the newest checkpoint up to batch `first`: it must have signed just that."""
        known = [
            stored
            for stored in list_checkpoints(conn)
            if stored.checkpoint.fold == FOLD and stored.checkpoint.ledger_seq <= first
        ]
        if not known:
            return START, NOTHING
        end = known[-1].checkpoint
        position = refold(
            conn,
            fold,
            self._policies,
            after=START,
            upto_seq=end.ledger_seq,
            sealer=self._log.event_sealer,
            progress=progress,
        )
        if fold.digest() == end.state_digest:
            return position, NOTHING
        return position, f"the checkpoint behind {known[-1].day} signs another state"


def _take_flags(conn: Connection, shadow: str, after: Position) -> None:
    """Flags from before the start can't be made anew: they are taken as they are."""
    statement = sql.SQL("INSERT INTO {}.flags SELECT * FROM {}.flags WHERE batch <= {}")
    conn.execute(
        statement.format(
            sql.Identifier(shadow), sql.Identifier(accounting.SCHEMA), after.ledger_seq
        )
    )
