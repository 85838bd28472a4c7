"""The policy of credit follows the site's settings, as known at each log position."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain.credit import CreditPolicy, CreditRules
from domain.kernel import Envelope, Fact, Meta
from domain.site import SITE, SiteSettingsChanged
from domain.site_settings import SETTINGS, SettingValue
from projections.credit_rules import FASTEST, SitePolicies

AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    made = EventLog(app_url, Keyring.generate(), registry())
    yield made
    made.close()


def change(log: EventLog, version: int, **changes: SettingValue) -> int:
    """Record it as the site's next fact; gives its position."""
    fact: Fact = SiteSettingsChanged(changes=changes)
    meta = Meta(at=AT, command=uuid4(), correlation=uuid4(), actor=None)
    envelope = Envelope(originator_id=SITE, originator_version=version, fact=fact, meta=meta)
    log.append(Writes(command_id=meta.command, envelopes=(envelope,)))
    return log.head()


def fastest(policy: CreditPolicy) -> int:
    return policy.rules.max_bytes_per_second


def test_a_changed_setting_counts_from_its_position_on(log: EventLog) -> None:
    policies = SitePolicies(log)
    assert policies.upto(0) == CreditPolicy()
    first = change(log, 1, **{FASTEST: 2**20})
    # A fact behind what was asked is not known yet, and found when it is asked for.
    second = change(log, 2, siteTitle="Other", **{FASTEST: 2**21})
    assert fastest(policies.upto(first)) == 2**20
    third = change(log, 3, siteTitle="Third")
    assert fastest(policies.upto(third)) == 2**21
    for asked in (policies, SitePolicies(log)):
        found = [fastest(asked.upto(p)) for p in (third, first, 0, second)]
        assert found == [2**21, 2**20, 2**30, 2**21]


def test_an_untouched_site_has_the_default_rules(log: EventLog) -> None:
    position = change(log, 1, siteTitle="Other")
    assert SitePolicies(log).upto(position) == CreditPolicy()
    assert SETTINGS[FASTEST].default == CreditRules().max_bytes_per_second


def test_every_allowed_value_makes_rules_that_fold_in_large_steps() -> None:
    """A sum of so many records stays within 64 bits; a step of a few would cost a day's replay."""
    setting = SETTINGS[FASTEST]
    for value in (setting.lowest, setting.highest):
        assert CreditRules(max_bytes_per_second=value).records_per_sum >= 2_000
