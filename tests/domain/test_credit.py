"""Rules of credit, one behaviour a test, on the reference model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credit import (
    MAX_TOTAL,
    MICROSECONDS,
    CreditModel,
    CreditPolicy,
    CreditRules,
    PeerEvent,
    PeerRecord,
    Session,
    Side,
    Sums,
    Window,
)

T0 = 1_790_000_000
ACCOUNT, TORRENT = 7, 9
UNKNOWN_LEFT = 2**64 - 1
MEBIBYTE = 2**20


def at(seconds: int, up: int = 0, down: int = 0, **changes: Any) -> PeerRecord:
    """A record `seconds` after the start with these totals; a seeder's unless told otherwise."""
    fields: dict[str, Any] = {
        "at": (T0 + seconds) * MICROSECONDS,
        "torrent": TORRENT,
        "account": ACCOUNT,
        "peer": b"-XX0001-abcdefghijkl",
        "uploaded": up,
        "downloaded": down,
        "left": 0,
    }
    return PeerRecord(**fields | changes)


def folded(*records: PeerRecord, policy: CreditPolicy | None = None) -> CreditModel:
    model = CreditModel()
    model.fold(records, policy or CreditPolicy(), batch=1)
    return model


def credited(*records: PeerRecord, policy: CreditPolicy | None = None) -> Sums:
    return folded(*records, policy=policy).members.get(ACCOUNT, Sums())


def moved(*records: PeerRecord, policy: CreditPolicy | None = None) -> tuple[int, int]:
    sums = credited(*records, policy=policy)
    return sums.uploaded, sums.downloaded


def test_first_sight_credits_nothing() -> None:
    assert moved(at(0, up=5_000_000, down=7_000_000)) == (0, 0)


def test_growth_is_credited_stopped_included() -> None:
    stopped = at(900, up=700, down=60, event=PeerEvent.STOPPED)
    assert moved(at(0, up=100, down=10), at(600, up=400, down=20), stopped) == (600, 50)


def test_equal_totals_of_a_second_family_credit_nothing() -> None:
    records = [at(0, event=PeerEvent.STARTED)] * 2 + [at(600, up=1_000_000)] * 2
    model = folded(*records)
    assert model.members[ACCOUNT].uploaded == 1_000_000
    assert model.live() == {TORRENT: (1, 0)}


def test_a_fall_is_a_new_base_line_for_that_total_alone() -> None:
    # libtorrent 2724: the total after `completed` is lower than before.
    totals = (0, 5_000_000, 4_930_000, 5_100_000)
    records = [at(n * 600, up=n * 10, down=total, left=1) for n, total in enumerate(totals)]
    assert moved(*records) == (30, 5_170_000)
    assert not folded(*records).withheld


def test_other_peer_id_account_or_torrent_is_another_session() -> None:
    others: list[dict[str, Any]] = [
        {"peer": b"-XX0001-zzzzzzzzzzzz"},
        {"account": 8},
        {"torrent": 8},
    ]
    for other in others:
        model = folded(at(0), at(600, up=500, **other))
        assert all(sums.uploaded == 0 for sums in model.members.values())


def test_late_records_are_passed_over() -> None:
    late = at(605, up=200, late=True)
    assert moved(at(0), at(600, up=1_000), late, at(1_200, up=1_500)) == (1_500, 0)
    assert not folded(late).holdings


def test_expired_credits_nothing_and_moves_no_base_line() -> None:
    expired = at(4_000, up=900, event=PeerEvent.EXPIRED)
    model = folded(at(0), expired, at(5_000, up=1_000))
    assert model.members[ACCOUNT].uploaded == 1_000
    assert not folded(expired).holdings


def test_silence_over_six_hours_is_a_base_line() -> None:
    limit = 6 * 3600
    assert moved(at(0), at(limit, up=500)) == (500, 0)
    assert moved(at(0), at(limit + 1, up=500)) == (0, 0)


def test_bytes_above_the_allowance_are_withheld_with_evidence() -> None:
    over = 2**30 * 600 + 12_345
    model = folded(at(0), at(600, up=over, down=2**64 - 1))
    assert moved(at(0), at(600, up=over)) == (2**30 * 600, 0)
    (flag,) = model.withheld
    assert (flag.batch, flag.ordinal, flag.account, flag.torrent) == (1, 1, ACCOUNT, TORRENT)
    assert (flag.uploaded, flag.downloaded) == (12_345, MAX_TOTAL - 2**30 * 600)


def test_a_short_gap_is_allowed_a_minute() -> None:
    assert moved(at(0), at(1, up=2**30 * 60)) == (2**30 * 60, 0)
    assert moved(at(0), at(1, up=2**30 * 60 + 1)) == (2**30 * 60, 0)


def window(**changes: Any) -> Window:
    fields = {"starts_at": (T0 + 100) * MICROSECONDS, "ends_at": (T0 + 200) * MICROSECONDS}
    return Window(**{"torrent": None, **fields, **changes})


def test_percent_applies_to_each_record_inside_the_window() -> None:
    policy = CreditPolicy(windows=(window(up_percent=150, down_percent=33),))
    records = [at(s, up=s, down=s, left=1) for s in (0, 99, 100, 199, 200)]
    sums = credited(*records, policy=policy)
    assert (sums.raw_uploaded, sums.raw_downloaded) == (200, 200)
    assert sums.uploaded == 99 + 1 * 150 // 100 + 99 * 150 // 100 + 1
    assert sums.downloaded == 99 + 0 + 99 * 33 // 100 + 1


def test_of_overlapping_windows_the_best_for_the_member_holds() -> None:
    windows = (window(up_percent=200), window(torrent=TORRENT, down_percent=0))
    other = window(torrent=8, up_percent=500)
    policy = CreditPolicy(windows=(*windows, other))
    assert moved(at(0), at(150, up=10, down=10), policy=policy) == (20, 0)
    neutral = CreditPolicy(windows=(window(up_percent=0, down_percent=0),))
    assert moved(at(0), at(150, up=10, down=10), policy=neutral) == (0, 0)


def test_seed_time_is_at_most_the_promised_interval_and_a_minute() -> None:
    assert credited(at(0), at(1_800)).seed_time == 1_800 * MICROSECONDS
    assert credited(at(0), at(7_200)).seed_time == 1_860 * MICROSECONDS
    assert credited(at(0, interval=3_600), at(7_200)).seed_time == 3_660 * MICROSECONDS


def test_seed_time_of_several_clients_counts_once() -> None:
    second: dict[str, Any] = {"peer": b"-XX0001-zzzzzzzzzzzz"}
    model = folded(at(0), at(900, **second), at(1_800), at(2_700, **second), at(2_700))
    assert model.members[ACCOUNT].seed_time == 2_700 * MICROSECONDS


def test_leeching_is_no_seeding_and_stopped_ends_it_whatever_it_says() -> None:
    assert credited(at(0, left=1), at(600)).seed_time == 0
    assert credited(at(0), at(600, left=1)).seed_time == 0
    # webtorrent: `stopped` with totals 0 and left 16384 or 2^64 - 1.
    for left in (16_384, UNKNOWN_LEFT):
        stopped = at(600, left=left, event=PeerEvent.STOPPED)
        model = folded(at(0, up=50), stopped, at(900))
        assert model.members[ACCOUNT] == Sums(seed_time=600 * MICROSECONDS)
        assert model.holdings[ACCOUNT, TORRENT].left == 0


def test_nothing_is_concluded_across_six_hours_of_silence() -> None:
    back = at(6 * 3600 + 1)
    assert credited(at(0), back).seed_time == 0
    assert credited(at(0, left=5), back).snatches == 0


def test_completion_counts_once() -> None:
    done = at(600, down=100, event=PeerEvent.COMPLETED)
    again = at(9_000, left=5)
    model = folded(at(0, left=100), *[done] * 4, again, at(9_600))
    assert model.members[ACCOUNT].snatches == 1
    assert model.torrents[TORRENT].snatches == 1
    assert model.holdings[ACCOUNT, TORRENT].completed_at == done.at


def test_a_seeder_that_starts_never_completes() -> None:
    # webtorrent: `started` with left 0, and at once `completed`.
    records = [at(0, down=500, event=PeerEvent.STARTED), at(0, down=500, event=PeerEvent.COMPLETED)]
    assert credited(*records) == Sums()


def test_neither_stopped_nor_a_session_before_it_completes() -> None:
    assert credited(at(0, left=9), at(600, event=PeerEvent.STOPPED)).snatches == 0
    stopped = at(600, left=9, event=PeerEvent.STOPPED)
    assert credited(at(0, left=9), stopped, at(900)).snatches == 0
    assert credited(at(0, left=9), at(600, left=3, event=PeerEvent.COMPLETED)).snatches == 0


def test_live_counts_follow_the_sides() -> None:
    other: dict[str, Any] = {"account": 8}
    records = [at(0, left=UNKNOWN_LEFT), at(0, left=5, **other)]
    assert folded(*records).live() == {TORRENT: (0, 2)}
    records.append(at(600))
    assert folded(*records).live() == {TORRENT: (1, 1)}
    records.append(at(700, event=PeerEvent.STOPPED))
    records.append(at(800, left=5, event=PeerEvent.EXPIRED, **other))
    assert folded(*records).live() == {TORRENT: (0, 0)}


def test_the_sweep_closes_what_a_lost_tracker_never_will() -> None:
    model = folded(at(0), at(10, account=8))
    model.sweep((T0 + 10) * MICROSECONDS)
    assert model.live() == {TORRENT: (1, 0)}


def test_a_late_stop_ends_the_session_and_credits_nothing() -> None:
    model = folded(at(0), at(600, up=9), at(601, up=50, late=True, event=PeerEvent.STOPPED))
    assert model.live() == {TORRENT: (0, 0)}
    assert model.members[ACCOUNT].uploaded == 9


def test_sums_end_at_the_largest_total() -> None:
    assert Sums(uploaded=MAX_TOTAL - 1).plus(Sums(uploaded=5)).uploaded == MAX_TOTAL


@given(
    st.lists(
        st.tuples(st.integers(0, 4_000), st.integers(0, 2**64 - 1), st.sampled_from(PeerEvent)),
        max_size=30,
    )
)
def test_credit_is_never_negative_nor_above_what_was_claimed(
    steps: list[tuple[int, int, PeerEvent]],
) -> None:
    now, largest, records = 0, 0, []
    for gap, total, event in steps:
        now += gap
        largest += min(total, MAX_TOTAL)
        records.append(at(now, up=total, down=total, left=total % 3, event=event))
    sums = credited(*records)
    assert all(value >= 0 for value in msgspec.structs.astuple(sums))
    assert sums.uploaded <= largest
    assert sums.seed_time <= now * MICROSECONDS


@pytest.mark.parametrize(
    "changes",
    [
        {"max_bytes_per_second": -1},
        {"seed_grace": -1},
        {"shortest_gap": 7 * 3600},
        {"longest_gap": 86_401},
        {"max_bytes_per_second": 2**50},
    ],
)
def test_rules_that_could_overflow_or_make_no_sense_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"rules|gap"):
        CreditRules(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_at": (T0 + 100) * MICROSECONDS},
        {"ends_at": 2**63},
        {"starts_at": -1},
        {"up_percent": -1},
        {"down_percent": 501},
    ],
)
def test_windows_that_make_no_sense_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"window|percent"):
        window(**changes)


def test_a_session_is_the_previous_record() -> None:
    (session,) = folded(at(0, up=2**64 - 1, down=3, left=4, interval=1_700)).sessions.values()
    assert session == Session(
        at=T0 * MICROSECONDS,
        uploaded=MAX_TOTAL,
        downloaded=3,
        left=4,
        interval=1_700,
        side=Side.LEECHER,
    )
