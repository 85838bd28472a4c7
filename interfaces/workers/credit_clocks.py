"""When the credit worker writes what: live counts, totals, holdings and snapshots, each in its time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from projections.accounting import BUCKETS, Parts, Standing
from projections.accounting_rows import count_holdings, count_live, count_totals
from projections.credit_fold import CreditFold

LIVE_SECONDS: Final = 1.0
TOTALS_SECONDS: Final = 5.0
FEW_ROWS: Final = 5_000
"""So many changed totals or counts are written with every batch; more wait for their time.

An upserted row costs three times an archived record (measured), so a busy worker gathers.
"""
HOLDING_ROWS_A_SECOND: Final = 2_000
"""One announce changes one holding, and its row costs ten times the record: 10 µs against 1.

So holdings have an allowance instead of a time: 2,000 rows a second are 2 % of a core. While
fewer change they are never late; at 10,000 a second half a million are written every 4 minutes.
"""
MOST_HOLDING_ROWS: Final = 20_000
"""The allowance grows no further, so that no step takes longer than a fifth of a second."""
SNAPSHOT_RECORDS: Final = 1_500_000
"""A start folds no more than about so many records behind a snapshot: seconds."""
SNAPSHOT_SECONDS: Final = 100.0
_SESSIONS_A_RECORD: Final = 4

Monotonic = Callable[[], float]


class FlushClocks:
    """Says which parts of the accounting tables are due, from what changed and what they lag."""

    def __init__(self, standing: Standing, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._totals_seq, self._live_seq = standing.ledger_seq, standing.live_seq
        self._holdings_seq = list(standing.holdings_seq)
        # What a start found unwritten is late already.
        self._totals_at = self._live_at = -math.inf
        self._counted_at = monotonic()
        self._allowance = float(MOST_HOLDING_ROWS)
        self._next = 0

    def due(self, fold: CreditFold, seq: int, *, idle: bool = False) -> Parts:
        """Parts to be written now that `fold` stands at batch `seq`; nothing where none is late."""
        now = self._monotonic()
        return Parts(
            totals=seq > self._totals_seq
            and (now - self._totals_at >= TOTALS_SECONDS or count_totals(fold) <= FEW_ROWS),
            live=seq > self._live_seq
            and (now - self._live_at >= LIVE_SECONDS or count_live(fold) <= FEW_ROWS),
            holdings=self._due_holdings(fold, seq, now, idle=idle),
        )

    def written(self, parts: Parts, seq: int) -> None:
        """Take note of parts that stand at `seq` now."""
        now = self._monotonic()
        if parts.totals:
            self._totals_seq, self._totals_at = seq, now
        if parts.live:
            self._live_seq, self._live_at = seq, now
        for bucket in parts.holdings:
            self._holdings_seq[bucket] = seq

    def _due_holdings(
        self, fold: CreditFold, seq: int, now: float, *, idle: bool
    ) -> tuple[int, ...]:
        """The next buckets in turn, as far as the allowance goes."""
        earned = HOLDING_ROWS_A_SECOND * (now - self._counted_at)
        if not idle and earned < FEW_ROWS // 10 and fold.holdings.count_changed() > FEW_ROWS:
            # Sorting so many into buckets takes its time; a few times a second is often enough.
            return ()
        self._counted_at = now
        self._allowance = min(MOST_HOLDING_ROWS, self._allowance + earned)
        rows, chosen = count_holdings(fold), []
        for _ in range(BUCKETS):
            bucket, cost = self._next, int(rows[self._next])
            if cost > self._allowance and self._allowance < MOST_HOLDING_ROWS:
                break
            self._next = (bucket + 1) % BUCKETS
            if seq > self._holdings_seq[bucket]:
                chosen.append(bucket)
                self._allowance -= cost
        return tuple(chosen)


class SnapshotClock:
    """Says when the fold's state should be stored again."""

    def __init__(
        self, behind: int, records: int = SNAPSHOT_RECORDS, monotonic: Monotonic = time.monotonic
    ) -> None:
        self._records = records
        self._monotonic = monotonic
        self._taken_at = monotonic()
        self.behind = behind
        """Records folded since the last one."""

    def due(self, sessions: int) -> bool:
        """By records alone, or by time where the records are worth a state of so many sessions."""
        if self.behind >= self._records:
            return True
        waited = self._monotonic() - self._taken_at
        return waited >= SNAPSHOT_SECONDS and self.behind * _SESSIONS_A_RECORD > sessions

    def taken(self) -> None:
        """Begin to count anew, also after an attempt that failed."""
        self.behind, self._taken_at = 0, self._monotonic()
