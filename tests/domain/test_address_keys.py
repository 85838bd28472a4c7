"""Which months' address keys are destroyed, and when."""

from __future__ import annotations

from datetime import date

import pytest

from domain.address_keys import AddressKeysDestroyed, destroy_address_keys

MONTHS = ("2026-08", "2026-09", "2026-10", "2026-11", "2025-12")


@pytest.mark.parametrize(
    ("today", "gone"),
    [
        # 60 days after its last day a month may still be linked, one day later no more.
        (date(2026, 10, 30), ("2025-12",)),
        (date(2026, 10, 31), ("2025-12", "2026-08")),
        (date(2026, 11, 29), ("2025-12", "2026-08")),
        (date(2026, 11, 30), ("2025-12", "2026-08", "2026-09")),
    ],
)
def test_a_month_is_destroyed_when_its_days_are_over(today: date, gone: tuple[str, ...]) -> None:
    facts = destroy_address_keys(MONTHS, today, link_days=60)
    assert facts == [AddressKeysDestroyed(months=gone, link_days=60)]


def test_nothing_is_recorded_when_all_are_young() -> None:
    assert destroy_address_keys(("2026-10", "2026-11"), date(2026, 11, 25), link_days=60) == []


def test_the_present_month_is_never_destroyed() -> None:
    assert destroy_address_keys(("2026-11",), date(2026, 11, 30), link_days=1) == []
