"""The fold's state as bytes: the same fold comes back, or none does."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credit import CreditPolicy
from projections.credit_fold import CreditFold
from projections.credit_state import StateUnreadable, dump_state, load_state
from projections.peer_records import as_kept
from tests.projections.peer_sets import hostile_records, hostile_windows, steady_records

POLICY = CreditPolicy(windows=hostile_windows())


def folded(count: int = 4_000) -> CreditFold:
    fold = CreditFold(seed=3)
    fold.fold(as_kept(hostile_records(count, seed=51)), POLICY, batch=1)
    return fold


STATE = b"".join(dump_state(folded(400)))


def test_a_state_read_back_goes_on_as_if_nothing_had_happened() -> None:
    records = as_kept(hostile_records(8_000, seed=51))
    whole, first = CreditFold(seed=1), CreditFold(seed=2)
    whole.fold(records, POLICY, batch=1)
    first.fold(records[:4_000], POLICY, batch=1)
    second = load_state(b"".join(dump_state(first)), seed=9)
    for fold in (first, second):
        fold.fold(records[4_000:], POLICY, batch=2)
    assert whole.digest() == first.digest() == second.digest()


def test_an_empty_state_and_a_large_one_come_back() -> None:
    assert load_state(b"".join(dump_state(CreditFold(seed=1))), seed=2).digest() == (
        CreditFold(seed=3).digest()
    )
    large = CreditFold(seed=1)
    large.fold(as_kept(steady_records(60_000, 3, seed=52)), POLICY, batch=1)
    state = b"".join(dump_state(large))
    again = load_state(state, seed=2)
    assert again.latest_at == large.latest_at
    assert again.digest() == large.digest()
    # Peer ids and totals are random here: 20 and 16 bytes that nothing makes smaller.
    assert len(state) < 110 * len(large.sessions)


def test_marks_of_what_changed_come_back() -> None:
    fold = folded()
    for table in fold.tables().values():
        table.clean()
    fold.holdings.mark(np.array([1, 2]))
    again = load_state(b"".join(dump_state(fold)), seed=2)
    assert again.holdings.changed().tolist() == [1, 2]
    assert not len(again.members.changed())


@given(st.integers(0, len(STATE) - 1))
def test_a_state_cut_short_is_refused(end: int) -> None:
    with pytest.raises(StateUnreadable):
        load_state(STATE[:end], seed=1)


@given(st.integers(0, len(STATE) - 1), st.integers(1, 255))
def test_damage_is_refused_in_one_way(place: int, change: int) -> None:
    damaged = bytearray(STATE)
    damaged[place] ^= change
    # Damage to a header's numbers can still read; the seal around a state is what guards it.
    with suppress(StateUnreadable):
        load_state(bytes(damaged), seed=1)


def test_a_state_of_another_fold_is_refused() -> None:
    other = msgspec.json.encode({"fold": "credit-0", "latest_at": 0, "rows": {}})
    with pytest.raises(StateUnreadable, match="credit-0"):
        load_state(len(other).to_bytes(4, "little") + bytes(4) + other, seed=1)
