"""Decisions about second factors: what may follow, as facts, or a refusal."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from domain import factors
from domain.factors import Factors
from domain.kernel import Fact


def prepare_totp(state: Factors) -> list[Fact]:
    """Give a secret to confirm. Raises `TotpAlreadyEnabled`."""
    if state.totp:
        raise factors.TotpAlreadyEnabled()
    return [factors.TotpPrepared(account=state.account)]


def require_prepared(state: Factors) -> None:
    """Raises `TotpAlreadyEnabled`, `TotpNotPrepared`."""
    if state.totp:
        raise factors.TotpAlreadyEnabled()
    if not state.prepared:
        raise factors.TotpNotPrepared()


def enable_totp(state: Factors, step: int | None) -> list[Fact]:
    """Use the authenticator from now on; `step` is that of the code shown, None for a wrong one.

    Raises `TotpAlreadyEnabled`, `TotpNotPrepared`, `TotpCodeInvalid`.
    """
    require_prepared(state)
    if step is None:
        raise factors.TotpCodeInvalid()
    return [
        factors.TotpEnabled(
            account=state.account,
            step=step,
            recovery_codes=factors.RECOVERY_CODES,
        ),
        *distrust_devices(state, reason="factors changed"),
    ]


def accept_totp_code(state: Factors, step: int | None) -> list[Fact]:
    """Take a code, once. Raises `TotpNotEnabled`, `TotpCodeInvalid`."""
    if not state.totp:
        raise factors.TotpNotEnabled()
    return [factors.TotpCodeAccepted(account=state.account, step=_unused(state, step))]


def _unused(state: Factors, step: int | None) -> int:
    # RFC 6238, section 5.2: a code must not be accepted a second time.
    if step is None or step <= state.step:
        raise factors.TotpCodeInvalid()
    return step


def use_recovery_code(state: Factors, *, is_known: bool) -> list[Fact]:
    """Use up a recovery code. Raises `TotpNotEnabled`, `RecoveryCodeInvalid`."""
    if not state.totp:
        raise factors.TotpNotEnabled()
    if not is_known or state.recovery_codes <= 0:
        raise factors.RecoveryCodeInvalid()
    return [factors.RecoveryCodeUsed(account=state.account)]


def disable_totp(state: Factors, *, is_required: bool) -> list[Fact]:
    """Give up the authenticator. Raises `TotpNotEnabled`, `LastFactor` where one `is_required`."""
    if not state.totp:
        raise factors.TotpNotEnabled()
    if is_required and not state.keys:
        raise factors.LastFactor()
    return [
        factors.TotpDisabled(account=state.account),
        *distrust_devices(state, reason="factors changed"),
    ]


def replace_recovery_codes(state: Factors) -> list[Fact]:
    """Give new ones. Raises `TotpNotEnabled`."""
    if not state.totp:
        raise factors.TotpNotEnabled()
    return [factors.RecoveryCodesReplaced(account=state.account, amount=factors.RECOVERY_CODES)]


def register_security_key(state: Factors, key: UUID, fingerprint: str) -> list[Fact]:
    """Add a key. Raises `SecurityKeyKnown`, `TooManySecurityKeys`."""
    if any(kept.fingerprint == fingerprint for kept in state.keys.values()):
        raise factors.SecurityKeyKnown()
    if len(state.keys) >= factors.MOST_KEYS:
        raise factors.TooManySecurityKeys()
    return [
        factors.SecurityKeyRegistered(account=state.account, key=key, fingerprint=fingerprint),
        *distrust_devices(state, reason="factors changed"),
    ]


def remove_security_key(state: Factors, key: UUID, *, is_required: bool) -> list[Fact]:
    """Remove a key. Raises `SecurityKeyNotFound`, `LastFactor` where one `is_required`."""
    kept = state.keys.get(key)
    if kept is None:
        raise factors.SecurityKeyNotFound()
    if is_required and not state.totp and len(state.keys) == 1:
        raise factors.LastFactor()
    return [
        factors.SecurityKeyRemoved(account=state.account, key=key, fingerprint=kept.fingerprint),
        *distrust_devices(state, reason="factors changed"),
    ]


def reset_factors(state: Factors, *, reason: str) -> list[Fact]:
    """Take every factor from a member who lost them; nothing when he has none.

    No factor is demanded of it: the operator answers for who it is.
    """
    if not state.any:
        return []
    account = state.account
    totp: list[Fact] = [factors.TotpDisabled(account=account)] if state.totp else []
    return [
        factors.FactorsReset(account=account, reason=reason),
        *totp,
        *(
            factors.SecurityKeyRemoved(account=account, key=key, fingerprint=kept.fingerprint)
            for key, kept in state.keys.items()
        ),
        *distrust_devices(state, reason="factors reset"),
    ]


def counter_rises(before: int, shown: int) -> bool:
    """Whether a signature counter may be believed (WebAuthn, section 6.1.1): it rises, or the
    key has none and says 0 always."""
    return shown > before or (shown == 0 and before == 0)


def use_security_key(state: Factors, key: UUID, counter: int) -> list[Fact]:
    """Take a key's proof, or suspect the key. Raises `SecurityKeyRefused` for an unknown one."""
    kept = state.keys.get(key)
    if kept is None:
        raise factors.SecurityKeyRefused()
    if not counter_rises(kept.counter, counter):
        return [factors.SecurityKeySuspected(account=state.account, key=key, counter=counter)]
    return [factors.SecurityKeyUsed(account=state.account, key=key, counter=counter)]


def trust_device(state: Factors, device: UUID, at: datetime) -> list[Fact]:
    """Trust a browser for 30 days; the oldest goes where there are too many."""
    oldest = sorted(state.devices, key=lambda device: state.devices[device])
    surplus = oldest[: max(0, len(oldest) - factors.MOST_DEVICES + 1)]
    return [
        *(_distrusted(state, old, "replaced") for old in surplus),
        factors.DeviceTrusted(account=state.account, device=device, until=at + factors.TRUST_LIFE),
    ]


def distrust_device(state: Factors, device: UUID) -> list[Fact]:
    """Trust it no more. Raises `DeviceNotFound`."""
    if device not in state.devices:
        raise factors.DeviceNotFound()
    return [_distrusted(state, device, "revoked")]


def distrust_devices(state: Factors, *, reason: str) -> list[Fact]:
    """Trust none any more."""
    return [_distrusted(state, device, reason) for device in state.devices]


def switch_device_trust(state: Factors, *, enabled: bool) -> list[Fact]:
    """Choose whether browsers become trusted by themselves; off ends the trust there is."""
    ended = [] if enabled else distrust_devices(state, reason="switched off")
    if state.trusts_devices == enabled:
        return ended
    return [factors.DeviceTrustSwitched(account=state.account, enabled=enabled), *ended]


def _distrusted(state: Factors, device: UUID, reason: str) -> Fact:
    return factors.DeviceDistrusted(account=state.account, device=device, reason=reason)
