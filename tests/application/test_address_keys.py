"""Month keys on the real vault: one for all processes, gone for good when destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from application.address_keys import KIND, DestroyAddressKeys, MonthKeys
from application.bus import Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain.address_keys import ADDRESS_KEYS, AddressKeysDestroyed
from ops.system import SystemEntropy


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry())
    yield opened
    opened.close()


@pytest.fixture
def bus(log: EventLog) -> Bus:
    return Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)


def destroy(bus: Bus, at: datetime) -> tuple[str, ...]:
    context = Context(at=at, command=uuid4(), correlation=uuid4())
    months: tuple[str, ...] = bus.dispatch(DestroyAddressKeys(), context).result
    return months


def test_every_process_gets_the_same_key_of_a_month(log: EventLog) -> None:
    one, other = (MonthKeys(log.vault_create, SystemEntropy()) for _ in range(2))
    assert one("2026-11") == other("2026-11") == one("2026-11")
    assert one("2026-12") != one("2026-11")
    assert len(one("2026-11")) == 32


def test_old_keys_are_destroyed_and_the_fact_stays(log: EventLog, bus: Bus) -> None:
    keys = MonthKeys(log.vault_create, SystemEntropy())
    old = {month: keys(month) for month in ("2026-07", "2026-08", "2026-11")}
    assert destroy(bus, datetime(2026, 11, 25, tzinfo=UTC)) == ("2026-07", "2026-08")
    assert set(log.vault_list(KIND, ADDRESS_KEYS)) == {"2026-11"}
    recorded, _ = log.read(0, 10)
    assert [r.envelope.fact for r in recorded] == [
        AddressKeysDestroyed(months=("2026-07", "2026-08"), link_days=60)
    ]
    assert MonthKeys(log.vault_create, SystemEntropy())("2026-08") != old["2026-08"]


def test_destroying_twice_records_once(log: EventLog, bus: Bus) -> None:
    MonthKeys(log.vault_create, SystemEntropy())("2026-01")
    at = datetime(2026, 11, 25, tzinfo=UTC)
    assert destroy(bus, at) == ("2026-01",)
    assert destroy(bus, at) == ()
    assert log.head() == 1
