"""When the credit worker writes what: each part in its time, and holdings as they are earned."""

from __future__ import annotations

import numpy as np
import pytest

from interfaces.workers.credit_clocks import (
    FEW_ROWS,
    HOLDING_ROWS_A_SECOND,
    MOST_HOLDING_ROWS,
    SNAPSHOT_RECORDS,
    SNAPSHOT_SECONDS,
    TOTALS_SECONDS,
    FlushClocks,
    SnapshotClock,
)
from projections.accounting import BUCKETS, WHOLE, Parts, Standing
from projections.accounting_rows import settle
from projections.credit_fold import CreditFold

NOTHING = Standing(ledger_seq=0, log_position=0, live_seq=0, holdings_seq=(0,) * BUCKETS)


class Clock:
    """Seconds a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def changed(rows: int, *, accounts: int | None = None) -> CreditFold:
    """A fold in which so many members, torrents and holdings wait to be written."""
    fold = CreditFold(seed=1)
    numbers = np.arange(rows, dtype=np.uint64)
    for table in (fold.members, fold.torrents, fold.live):
        table.mark(table.insert([numbers]))
    owners = numbers % np.uint64(accounts or max(1, rows))
    pairs = (owners << np.uint64(32)) | numbers
    fold.holdings.mark(fold.holdings.insert([pairs]))
    return fold


def test_few_changes_are_written_with_every_batch(clock: Clock) -> None:
    clocks = FlushClocks(NOTHING, clock)
    for seq in (1, 2, 3):
        parts = clocks.due(changed(40), seq)
        assert parts == WHOLE
        clocks.written(parts, seq)


def test_nothing_is_written_twice_for_one_batch(clock: Clock) -> None:
    clocks = FlushClocks(NOTHING, clock)
    clocks.written(WHOLE, 1)
    clock.now += 1_000
    assert not clocks.due(changed(40), 1, idle=True)
    assert clocks.due(changed(0), 2, idle=True) == WHOLE


def test_many_changes_wait_for_their_time(clock: Clock) -> None:
    clocks = FlushClocks(NOTHING, clock)
    fold = changed(FEW_ROWS + 1)
    # What a start found unwritten is late already.
    assert clocks.due(fold, 1).totals
    clocks.written(Parts(totals=True, live=True), 1)
    assert not clocks.due(fold, 2).totals
    clock.now += 1.0
    parts = clocks.due(fold, 2)
    assert (parts.totals, parts.live) == (False, True)
    clock.now += TOTALS_SECONDS - 1.0
    assert clocks.due(fold, 2).totals


def test_holdings_are_written_in_turn_as_the_allowance_grows(clock: Clock) -> None:
    """Half a million changed holdings: each bucket once in about four minutes, none left out."""
    rows = 8 * MOST_HOLDING_ROWS
    fold, clocks = changed(rows), FlushClocks(NOTHING, clock)
    written: list[int] = []
    began = clock.now
    while len(written) < BUCKETS:
        parts = clocks.due(fold, 1)
        before = fold.holdings.count_changed()
        settle(fold, Parts(holdings=parts.holdings))
        # One bucket more than was earned at most.
        assert before - fold.holdings.count_changed() <= MOST_HOLDING_ROWS + rows // BUCKETS
        clocks.written(Parts(holdings=parts.holdings), 1)
        written += parts.holdings
        clock.now += 0.5
    assert sorted(written) == list(range(BUCKETS))
    expected = (rows - MOST_HOLDING_ROWS) / HOLDING_ROWS_A_SECOND
    assert expected * 0.9 <= clock.now - began <= expected * 1.2


def test_a_bucket_larger_than_the_allowance_is_written_when_that_is_full(clock: Clock) -> None:
    fold = changed(2 * MOST_HOLDING_ROWS, accounts=1)
    clocks = FlushClocks(NOTHING, clock)
    clock.now += 1.0
    parts = clocks.due(fold, 1)
    assert parts.holdings == (0,)
    clocks.written(parts, 1)
    fold = changed(10)
    clock.now += 1.0
    assert not clocks.due(fold, 2).holdings
    clock.now += MOST_HOLDING_ROWS / HOLDING_ROWS_A_SECOND
    assert len(clocks.due(fold, 2).holdings) == BUCKETS


def test_snapshots_are_due_by_records_or_by_time_where_they_are_worth_it(clock: Clock) -> None:
    snapshots = SnapshotClock(0, monotonic=clock)
    assert not snapshots.due(sessions=0)
    snapshots.behind = SNAPSHOT_RECORDS
    assert snapshots.due(sessions=10**9)
    snapshots.taken()
    snapshots.behind = 1_000
    assert not snapshots.due(sessions=100)
    clock.now += SNAPSHOT_SECONDS
    assert snapshots.due(sessions=3_999)
    assert not snapshots.due(sessions=4_000)
    snapshots.taken()
    clock.now += SNAPSHOT_SECONDS
    assert not snapshots.due(sessions=0)
