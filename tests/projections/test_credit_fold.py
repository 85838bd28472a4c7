"""The numpy fold equals the reference model, and batch size never matters."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from domain.credit import (
    MICROSECONDS,
    SILENT_SECONDS,
    CreditModel,
    CreditPolicy,
    CreditRules,
    PeerEvent,
    Sums,
)
from projections.credit_fold import ENDED, SUMS, CreditFold
from projections.credit_slots import SlotTable
from projections.peer_records import Records, as_kept
from tests.projections.peer_sets import (
    hostile_records,
    hostile_windows,
    many_windows,
    model_records,
    steady_records,
)
from tracker import wire

HOSTILE = CreditPolicy(windows=hostile_windows())
ZERO_SUMS = Sums()


def fold_all(records: Records, policy: CreditPolicy, size: int) -> CreditFold:
    fold = CreditFold(seed=size)
    kept = as_kept(records)
    for first in range(0, len(kept), size):
        fold.fold(kept[first : first + size], policy, batch=first // size + 1)
    fold.sweep()
    return fold


def model_all(records: Records, policy: CreditPolicy, size: int) -> CreditModel:
    model = CreditModel()
    listed = list(model_records(records))
    for first in range(0, len(listed), size):
        model.fold(listed[first : first + size], policy, batch=first // size + 1)
    latest = max(record.at for record in listed if record.counts)
    model.sweep(latest - SILENT_SECONDS * MICROSECONDS)
    return model


def read_table(table: SlotTable) -> dict[tuple[int, ...], dict[str, int]]:
    """Every row of a table by its key words."""
    words = zip(*(table.keys(word).tolist() for word in range(table.width)), strict=True)
    columns = {name: table[name][: len(table)].tolist() for name in table.columns}
    return {
        key: {name: values[slot] for name, values in columns.items()}
        for slot, key in enumerate(words)
    }


def peer_words(account: int, torrent: int, peer: bytes) -> tuple[int, ...]:
    words = (peer[:8], peer[8:16], peer[16:])
    return (account << 32 | torrent, *(int.from_bytes(word, "little") for word in words))


def read_sums(row: dict[str, int]) -> Sums:
    return Sums(**{name: row[name] for name in SUMS})


def assert_equal(fold: CreditFold, model: CreditModel) -> None:
    sessions = {
        peer_words(*key): {
            "at": s.at,
            "up": s.uploaded,
            "down": s.downloaded,
            "left": ENDED if s.left is None else s.left,
            "interval": s.interval,
            "side": int(s.side),
        }
        for key, s in model.sessions.items()
    }
    assert read_table(fold.sessions) == sessions
    members = {key[0]: read_sums(row) for key, row in read_table(fold.members).items()}
    torrents = {key[0]: read_sums(row) for key, row in read_table(fold.torrents).items()}
    assert members == model.members
    assert torrents == model.torrents
    holdings = read_table(fold.holdings)
    assert {(a << 32 | t,) for a, t in model.holdings} == set(holdings)
    for (account, torrent), holding in model.holdings.items():
        row = holdings[(account << 32 | torrent,)]
        assert read_sums(row) == holding.sums
        for name in ("first_at", "last_at", "left", "seeded_until", "completed_at"):
            assert row[name] == getattr(holding, name), name
    live = {key[0]: (r["seeders"], r["leechers"]) for key, r in read_table(fold.live).items()}
    assert live == model.live()
    assert fold.withheld == model.withheld


@pytest.mark.parametrize("size", [1, 7, 500, 20_000])
def test_fold_equals_the_model_on_hostile_records(size: int) -> None:
    count = 4_000 if size == 1 else 25_000
    records = hostile_records(count, seed=11)
    fold = fold_all(records, HOSTILE, size)
    model = model_all(records, HOSTILE, size)
    assert_equal(fold, model)
    # The set is worth nothing unless every rule was met.
    total = ZERO_SUMS
    for sums in model.members.values():
        total = total.plus(sums)
    assert all(msgspec.structs.astuple(total))
    assert model.withheld
    assert total.raw_uploaded != total.uploaded


def test_batch_size_does_not_matter_on_hostile_records() -> None:
    records = hostile_records(12_000, seed=12)
    digests = {fold_all(records, HOSTILE, size).digest() for size in (7, 500, 12_000)}
    assert len(digests) == 1


def test_batch_size_does_not_matter_on_a_large_set_with_many_windows() -> None:
    records = steady_records(60_000, 6, seed=13)
    policy = CreditPolicy(windows=many_windows(1_500))
    digests = {fold_all(records, policy, size).digest() for size in (3_000, 20_000, 90_000)}
    assert len(digests) == 1


def test_large_set_equals_the_model() -> None:
    records = steady_records(5_000, 5, seed=14)
    policy = CreditPolicy(windows=many_windows(1_500))
    assert_equal(fold_all(records, policy, 10_000), model_all(records, policy, 10_000))


def test_sums_are_cut_off_and_never_wrap() -> None:
    rules = CreditRules(max_bytes_per_second=2**44, longest_gap=3600)
    assert rules.records_per_sum < 100
    records = np.zeros(300, as_kept(hostile_records(1, seed=1)).dtype)
    records["at"] = 1_790_000_000_000_000 + np.arange(300) * 3600 * MICROSECONDS
    records["account"] = records["torrent"] = 7
    records["up"] = np.arange(300, dtype=np.uint64) * np.uint64(2**53)
    policy = CreditPolicy(rules=rules, windows=many_windows(1))
    fold = fold_all(records, policy, 300)
    model = model_all(records, policy, 300)
    assert_equal(fold, model)
    steep = np.zeros(40_000, records.dtype)
    steep["at"] = 1_790_000_000_000_000 + np.arange(40_000) * MICROSECONDS
    steep["account"] = steep["torrent"] = 7
    steep["up"] = np.where(np.arange(40_000) % 2, np.uint64(2**62), np.uint64(0))
    assert fold_all(steep, policy, 40_000).members["uploaded"][0] == 2**62


def test_pruned_sessions_change_nothing() -> None:
    earlier, later = hostile_records(6_000, seed=15), hostile_records(6_000, seed=16)
    later["at"] += earlier["at"].max() - later["at"].min() + 25 * 3600 * MICROSECONDS
    # Half of the clients come back under their old peer ids, a day later; half are new.
    later["peer"][::2] = np.void(b"-YY0002-" + b"z" * 12)
    kept = as_kept(np.concatenate([earlier, later]))
    plain, pruned = CreditFold(seed=1), CreditFold(seed=2)
    forgotten = 0
    for first in range(0, len(kept), 1000):
        for fold in (plain, pruned):
            fold.fold(kept[first : first + 1000], HOSTILE, batch=1)
        pruned._prune()
        forgotten = max(forgotten, len(plain.sessions) - len(pruned.sessions))
    assert forgotten
    assert pruned.digest() == plain.digest()


def test_a_fold_forgets_by_itself_when_it_grew() -> None:
    records, later = (as_kept(steady_records(51_000, 1, seed=seed)) for seed in (17, 18))
    later["at"] += 3 * 86_400 * MICROSECONDS
    fold = CreditFold(seed=1)
    fold.fold(records, CreditPolicy(), batch=1)
    assert len(fold.sessions) == 51_000
    fold.fold(later, CreditPolicy(), batch=2)
    assert len(fold.sessions) == 51_000
    live = fold.live["seeders"].sum() + fold.live["leechers"].sum()
    assert live == 51_000


def test_event_numbers_are_those_of_the_wire() -> None:
    numbers = {name: int(PeerEvent[name]) for name in PeerEvent.__members__}
    assert numbers == {
        "NONE": wire.EVENT_NONE,
        "COMPLETED": wire.EVENT_COMPLETED,
        "STARTED": wire.EVENT_STARTED,
        "STOPPED": wire.EVENT_STOPPED,
        "EXPIRED": wire.EVENT_EXPIRED,
    }
