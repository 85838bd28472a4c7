"""Second factors: what they may do is decided here, whoever asks."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from domain import factor_rules as rules
from domain import factors
from domain.factors import (
    MOST_DEVICES,
    MOST_KEYS,
    RECOVERY_CODES,
    TRUST_LIFE,
    DeviceDistrusted,
    DeviceNotFound,
    DeviceTrusted,
    DeviceTrustSwitched,
    Factors,
    LastFactor,
    RecoveryCodeInvalid,
    RecoveryCodesReplaced,
    RecoveryCodeUsed,
    SecurityKeyKnown,
    SecurityKeyNotFound,
    SecurityKeyRefused,
    SecurityKeyRegistered,
    SecurityKeyRemoved,
    SecurityKeySuspected,
    SecurityKeyUsed,
    TooManySecurityKeys,
    TotpAlreadyEnabled,
    TotpCodeAccepted,
    TotpCodeInvalid,
    TotpDisabled,
    TotpEnabled,
    TotpNotEnabled,
    TotpNotPrepared,
    TotpPrepared,
)
from domain.kernel import Fact
from tests.kit.domain import A_TIME, AN_ID, Given, folded, given, refuses_foreign_facts

STEP = 1000
KEY, OTHER_KEY = UUID(int=70), UUID(int=71)
DEVICE = UUID(int=80)
PREPARED = TotpPrepared(account=AN_ID)
ENABLED = TotpEnabled(account=AN_ID, step=STEP, recovery_codes=RECOVERY_CODES)
REGISTERED = SecurityKeyRegistered(account=AN_ID, key=KEY, fingerprint="f")
REMOVED = SecurityKeyRemoved(account=AN_ID, key=KEY, fingerprint="f")
TRUSTED = DeviceTrusted(account=AN_ID, device=DEVICE, until=A_TIME + TRUST_LIFE)


def distrusted(device: UUID, reason: str) -> DeviceDistrusted:
    return DeviceDistrusted(account=AN_ID, device=device, reason=reason)


CHANGED = distrusted(DEVICE, "factors changed")


def member(*facts: Fact) -> Given[Factors]:
    """A member with this history, also with none."""
    return Given(given(factors.evolve, *facts).state or Factors(account=AN_ID))


def test_factors_refuse_foreign_facts() -> None:
    refuses_foreign_facts(factors.evolve, PREPARED)


# Authenticator


def test_prepare_totp_gives_a_secret_again_until_it_is_enabled() -> None:
    member().when(rules.prepare_totp).then(PREPARED)
    member(PREPARED).when(rules.prepare_totp).then(PREPARED)
    member(PREPARED, ENABLED).when(rules.prepare_totp).then_refused(TotpAlreadyEnabled)


def test_enable_totp_wants_a_secret_and_a_right_code() -> None:
    member(PREPARED).when(rules.enable_totp, STEP).then(ENABLED)
    member(PREPARED).when(rules.enable_totp, None).then_refused(TotpCodeInvalid)
    member().when(rules.enable_totp, STEP).then_refused(TotpNotPrepared)
    member(PREPARED, ENABLED).when(rules.enable_totp, STEP + 1).then_refused(TotpAlreadyEnabled)


def test_a_secret_of_before_is_not_prepared_once_the_authenticator_is_given_up() -> None:
    gone = member(PREPARED, ENABLED, TotpDisabled(account=AN_ID))
    gone.when(rules.enable_totp, STEP + 1).then_refused(TotpNotPrepared)


@pytest.mark.parametrize("step", [None, 0, STEP - 1, STEP])
def test_accept_totp_code_takes_no_code_twice_and_none_from_before(step: int | None) -> None:
    asked = member(PREPARED, ENABLED).when(rules.accept_totp_code, step)
    asked.then_refused(TotpCodeInvalid)


def test_accept_totp_code_takes_each_later_code_once() -> None:
    accepted = TotpCodeAccepted(account=AN_ID, step=STEP + 2)
    member(PREPARED, ENABLED).when(rules.accept_totp_code, STEP + 2).then(accepted)
    later = member(PREPARED, ENABLED, accepted)
    for step in (STEP + 1, STEP + 2):
        later.when(rules.accept_totp_code, step).then_refused(TotpCodeInvalid)
    later.when(rules.accept_totp_code, STEP + 3).then(
        TotpCodeAccepted(account=AN_ID, step=STEP + 3)
    )


def test_no_code_counts_without_an_authenticator() -> None:
    for history in ((), (PREPARED,), (PREPARED, ENABLED, TotpDisabled(account=AN_ID))):
        member(*history).when(rules.accept_totp_code, STEP + 9).then_refused(TotpNotEnabled)
        asked = member(*history).when(rules.use_recovery_code, is_known=True)
        asked.then_refused(TotpNotEnabled)
        member(*history).when(rules.replace_recovery_codes).then_refused(TotpNotEnabled)
        member(*history).when(rules.disable_totp, is_required=False).then_refused(TotpNotEnabled)


def test_use_recovery_code_uses_up_so_many_and_no_more() -> None:
    used = RecoveryCodeUsed(account=AN_ID)
    whole = (PREPARED, ENABLED)
    member(*whole).when(rules.use_recovery_code, is_known=True).then(used)
    wrong = member(*whole).when(rules.use_recovery_code, is_known=False)
    wrong.then_refused(RecoveryCodeInvalid)
    spent = member(*whole, *[used] * RECOVERY_CODES)
    spent.when(rules.use_recovery_code, is_known=True).then_refused(RecoveryCodeInvalid)
    replaced = RecoveryCodesReplaced(account=AN_ID, amount=RECOVERY_CODES)
    spent.when(rules.replace_recovery_codes).then(replaced)
    fresh = member(*whole, *[used] * RECOVERY_CODES, replaced)
    fresh.when(rules.use_recovery_code, is_known=True).then(used)


def test_disable_totp_keeps_the_only_factor_where_one_is_required() -> None:
    only = member(PREPARED, ENABLED)
    only.when(rules.disable_totp, is_required=True).then_refused(LastFactor)
    only.when(rules.disable_totp, is_required=False).then(TotpDisabled(account=AN_ID))
    both = member(PREPARED, ENABLED, REGISTERED)
    both.when(rules.disable_totp, is_required=True).then(TotpDisabled(account=AN_ID))


# Security keys


def test_register_security_key_takes_each_once_and_ten_in_all() -> None:
    member().when(rules.register_security_key, KEY, "f").then(REGISTERED)
    known = member(REGISTERED).when(rules.register_security_key, OTHER_KEY, "f")
    known.then_refused(SecurityKeyKnown)
    many = [
        SecurityKeyRegistered(account=AN_ID, key=UUID(int=at), fingerprint=str(at))
        for at in range(MOST_KEYS)
    ]
    member(*many[:-1]).when(rules.register_security_key, KEY, "f").then(REGISTERED)
    full = member(*many).when(rules.register_security_key, KEY, "f")
    full.then_refused(TooManySecurityKeys)


def test_remove_security_key_keeps_the_only_factor_where_one_is_required() -> None:
    only = member(REGISTERED)
    only.when(rules.remove_security_key, KEY, is_required=True).then_refused(LastFactor)
    only.when(rules.remove_security_key, KEY, is_required=False).then(REMOVED)
    two = SecurityKeyRegistered(account=AN_ID, key=OTHER_KEY, fingerprint="g")
    for rest in ((two,), (PREPARED, ENABLED)):
        asked = member(REGISTERED, *rest).when(rules.remove_security_key, KEY, is_required=True)
        asked.then(REMOVED)
    gone = member(REGISTERED, REMOVED).when(rules.remove_security_key, KEY, is_required=False)
    gone.then_refused(SecurityKeyNotFound)


@pytest.mark.parametrize(
    ("before", "shown", "rises"),
    [(0, 0, True), (0, 1, True), (7, 8, True), (7, 7, False), (7, 3, False), (7, 0, False)],
)
def test_use_security_key_believes_a_counter_that_rises_or_was_never_there(
    before: int, shown: int, rises: bool
) -> None:
    assert rules.counter_rises(before, shown) is rises
    used = SecurityKeyUsed(account=AN_ID, key=KEY, counter=before)
    answer = SecurityKeyUsed if rises else SecurityKeySuspected
    asked = member(REGISTERED, used).when(rules.use_security_key, KEY, shown)
    asked.then(answer(account=AN_ID, key=KEY, counter=shown))


def test_a_suspected_key_counts_again_above_the_highest_counter_it_ever_showed() -> None:
    used = SecurityKeyUsed(account=AN_ID, key=KEY, counter=7)
    suspected = SecurityKeySuspected(account=AN_ID, key=KEY, counter=3)
    doubted = member(REGISTERED, used, suspected)
    assert doubted.state is not None
    assert doubted.state.keys[KEY].suspected is True
    again = SecurityKeySuspected(account=AN_ID, key=KEY, counter=5)
    doubted.when(rules.use_security_key, KEY, 5).then(again)
    risen = SecurityKeyUsed(account=AN_ID, key=KEY, counter=8)
    doubted.when(rules.use_security_key, KEY, 8).then(risen)
    cleared = folded(factors.evolve, REGISTERED, used, suspected, risen)
    assert cleared is not None
    assert cleared.keys[KEY].suspected is False


def test_an_unknown_or_removed_key_proves_nothing() -> None:
    for history in ((), (REGISTERED, REMOVED)):
        asked = member(*history).when(rules.use_security_key, KEY, 1)
        asked.then_refused(SecurityKeyRefused)


# Devices


def test_trust_device_lasts_thirty_days_to_the_instant() -> None:
    member().when(rules.trust_device, DEVICE, A_TIME).then(TRUSTED)
    state = folded(factors.evolve, TRUSTED)
    assert state is not None
    assert state.trusts(DEVICE, A_TIME + TRUST_LIFE - timedelta(microseconds=1))
    assert not state.trusts(DEVICE, A_TIME + TRUST_LIFE)
    assert not state.trusts(UUID(int=81), A_TIME)


def test_trust_device_lets_the_oldest_go_where_there_are_too_many() -> None:
    many = [
        DeviceTrusted(account=AN_ID, device=UUID(int=at), until=A_TIME + timedelta(hours=at))
        for at in range(1, MOST_DEVICES + 1)
    ]
    # Not in the order they came: the oldest is the one that ends first.
    asked = member(*reversed(many)).when(rules.trust_device, DEVICE, A_TIME)
    asked.then(distrusted(UUID(int=1), "replaced"), TRUSTED)
    member(*many[1:]).when(rules.trust_device, DEVICE, A_TIME).then(TRUSTED)


def test_distrust_device_ends_it_once() -> None:
    revoked = distrusted(DEVICE, "revoked")
    member(TRUSTED).when(rules.distrust_device, DEVICE).then(revoked)
    member(TRUSTED, revoked).when(rules.distrust_device, DEVICE).then_refused(DeviceNotFound)
    member().when(rules.distrust_device, DEVICE).then_refused(DeviceNotFound)


def test_every_change_of_factors_ends_the_trust_in_devices() -> None:
    history = (TRUSTED, PREPARED)
    member(*history).when(rules.enable_totp, STEP).then(ENABLED, CHANGED)
    member(*history, ENABLED).when(rules.disable_totp, is_required=False).then(
        TotpDisabled(account=AN_ID), CHANGED
    )
    member(*history).when(rules.register_security_key, KEY, "f").then(REGISTERED, CHANGED)
    asked = member(*history, REGISTERED).when(rules.remove_security_key, KEY, is_required=False)
    asked.then(REMOVED, CHANGED)
    asked = member(*history).when(rules.distrust_devices, reason="password changed")
    asked.then(distrusted(DEVICE, "password changed"))


def test_switch_device_trust_records_a_change_only_and_off_ends_all_trust() -> None:
    on = DeviceTrustSwitched(account=AN_ID, enabled=True)
    off = DeviceTrustSwitched(account=AN_ID, enabled=False)
    ended = distrusted(DEVICE, "switched off")
    member().when(rules.switch_device_trust, enabled=True).then(on)
    member(on).when(rules.switch_device_trust, enabled=True).then()
    member(on, TRUSTED).when(rules.switch_device_trust, enabled=False).then(off, ended)
    # Trust that was asked for at a sign-in ends too, though it was never switched on.
    member(TRUSTED).when(rules.switch_device_trust, enabled=False).then(ended)


def test_methods_are_what_sign_in_may_ask_for() -> None:
    for history, methods in (
        ((), ()),
        ((PREPARED,), ()),
        ((PREPARED, ENABLED), ("totp", "recovery")),
        ((REGISTERED,), ("passkey",)),
        ((PREPARED, ENABLED, REGISTERED), ("totp", "recovery", "passkey")),
        ((PREPARED, ENABLED, REGISTERED, REMOVED), ("totp", "recovery")),
    ):
        state = member(*history).state
        assert state is not None
        assert state.methods == methods
        assert state.any is bool(methods)
