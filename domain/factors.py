"""A member's second factors: authenticator codes, recovery codes, security keys, trusted devices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid5

import msgspec

from domain.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from domain.kernel import Claim, Envelope, Fact

STEP_SECONDS = 30
"""Seconds one code of an authenticator app lasts (RFC 6238)."""
RECOVERY_CODES = 10
MOST_KEYS = 10
"""Security keys one member may have."""
MOST_DEVICES = 20
"""Trusted devices one member may have; a further one takes the place of the oldest."""
TRUST_LIFE = timedelta(days=30)
"""How long a trusted device needs no second factor."""
FRESH_LIFE = timedelta(minutes=10)
"""How long after signing in a member may change his factors (behaviour of the reference)."""
_FACTORS = UUID("0b4b6f2e-3d8f-5c55-8a53-6c3f4b1d7a20")


class TotpPrepared(Fact, frozen=True):
    """A member was given a secret for an authenticator app; it counts once he enables it."""

    TOPIC: ClassVar[str] = "totp.prepared.1"

    account: UUID


class TotpEnabled(Fact, frozen=True):
    """A member proved his authenticator app with the code of `step`; sign-in asks for one now."""

    TOPIC: ClassVar[str] = "totp.enabled.1"

    account: UUID
    step: int
    recovery_codes: int


class TotpDisabled(Fact, frozen=True):
    """A member gave up his authenticator app, and his recovery codes with it."""

    TOPIC: ClassVar[str] = "totp.disabled.1"

    account: UUID


class FactorsReset(Fact, frozen=True):
    """The operator took all second factors from a member who lost them; what ended with that
    stands in facts of its own behind this one.
    """

    TOPIC: ClassVar[str] = "factors.reset.1"

    account: UUID
    reason: str


class TotpCodeAccepted(Fact, frozen=True):
    """An authenticator's code was accepted; no code of `step` or before counts again."""

    TOPIC: ClassVar[str] = "totp.code_accepted.1"

    account: UUID
    step: int


class RecoveryCodesReplaced(Fact, frozen=True):
    """A member was given so many new recovery codes; those before are void."""

    TOPIC: ClassVar[str] = "recovery_codes.replaced.1"

    account: UUID
    amount: int


class RecoveryCodeUsed(Fact, frozen=True):
    """A member used up one of his recovery codes."""

    TOPIC: ClassVar[str] = "recovery_code.used.1"

    account: UUID


class SecurityKeyRegistered(Fact, frozen=True):
    """A member registered a security key; `fingerprint` is the hash of its credential id."""

    TOPIC: ClassVar[str] = "security_key.registered.1"

    account: UUID
    key: UUID
    fingerprint: str

    def claims(self) -> tuple[Claim, ...]:
        return (Claim("security_key.credential", self.fingerprint),)


class SecurityKeyRemoved(Fact, frozen=True):
    """A member removed one of his security keys."""

    TOPIC: ClassVar[str] = "security_key.removed.1"

    account: UUID
    key: UUID
    fingerprint: str

    def releases(self) -> tuple[Claim, ...]:
        return (Claim("security_key.credential", self.fingerprint),)


class SecurityKeyUsed(Fact, frozen=True):
    """A security key proved its member; `counter` is the signature counter it showed."""

    TOPIC: ClassVar[str] = "security_key.used.1"

    account: UUID
    key: UUID
    counter: int


class SecurityKeySuspected(Fact, frozen=True):
    """A proof was refused as the key's counter did not rise: there may be a copy of the key.

    The key counts again when it shows a counter above the highest ever seen.
    """

    TOPIC: ClassVar[str] = "security_key.suspected.1"

    account: UUID
    key: UUID
    counter: int


class DeviceTrusted(Fact, frozen=True):
    """A browser that passed the second factor needs none until `until`."""

    TOPIC: ClassVar[str] = "device.trusted.1"

    account: UUID
    device: UUID
    until: datetime


class DeviceDistrusted(Fact, frozen=True):
    """A trusted browser needs the second factor again; `reason` says why."""

    TOPIC: ClassVar[str] = "device.distrusted.1"

    account: UUID
    device: UUID
    reason: str


class DeviceTrustSwitched(Fact, frozen=True):
    """A member chose whether browsers that pass the second factor become trusted by themselves."""

    TOPIC: ClassVar[str] = "device_trust.switched.1"

    account: UUID
    enabled: bool


FACTS: tuple[type[Fact], ...] = (
    TotpPrepared,
    TotpEnabled,
    TotpDisabled,
    FactorsReset,
    TotpCodeAccepted,
    RecoveryCodesReplaced,
    RecoveryCodeUsed,
    SecurityKeyRegistered,
    SecurityKeyRemoved,
    SecurityKeyUsed,
    SecurityKeySuspected,
    DeviceTrusted,
    DeviceDistrusted,
    DeviceTrustSwitched,
)


class SecondFactorRequired(Forbidden):
    """The site wants a second factor of this member, and he has none."""

    code = "second_factor_required"
    message = "Set up a second factor first; this site requires one."


class FreshAuthenticationRequired(Unauthenticated):
    """The member signed in too long ago for this change."""

    code = "fresh_authentication_required"
    message = "Re-authenticate first: sign in again to change your second factors."


class HalfSessionInvalid(Unauthenticated):
    """No first factor was proven here within the last five minutes, or its attempts are used up."""

    code = "half_session_invalid"
    message = "Invalid or expired challenge"


class TotpCodeInvalid(Unauthenticated):
    """The code is wrong, of another time, or was used before."""

    code = "totp_code_invalid"
    message = "Invalid TOTP code."


class RecoveryCodeInvalid(Unauthenticated):
    """No such recovery code, or it was used before."""

    code = "recovery_code_invalid"
    message = "Invalid or already-used recovery code."


class TotpAlreadyEnabled(Conflict):
    """The authenticator app is in use already."""

    code = "totp_already_enabled"
    message = "TOTP is already enabled"


class TotpNotEnabled(Conflict):
    """No authenticator app is in use."""

    code = "totp_not_enabled"
    message = "TOTP is not enabled"


class TotpNotPrepared(Invalid):
    """There is no secret waiting to be confirmed."""

    code = "totp_not_prepared"
    message = "Start the TOTP set-up first"


class SecurityKeyRefused(Unauthenticated):
    """The key's answer proves nothing: unknown key, wrong site, used challenge, bad signature."""

    code = "security_key_refused"
    message = "The passkey could not be verified"


class SecurityKeyNotFound(NotFound):
    """The member has no such security key."""

    code = "security_key_not_found"
    message = "Passkey not found"


class SecurityKeyKnown(Conflict):
    """That security key is registered already."""

    code = "security_key_known"
    message = "This passkey is already registered"


class TooManySecurityKeys(Conflict):
    """The member has as many security keys as allowed."""

    code = "too_many_security_keys"
    message = f"At most {MOST_KEYS} passkeys are allowed; remove one first"


class LastFactor(Conflict):
    """The site wants a second factor, and this is the only one."""

    code = "last_factor"
    message = "Your only second factor can't be removed while this site requires one"


class DeviceNotFound(NotFound):
    """The member trusts no such device."""

    code = "device_not_found"
    message = "Trusted device not found"


class SecurityKey(msgspec.Struct, frozen=True, kw_only=True):
    """A registered key: the hash of its credential id, and the highest counter it showed."""

    fingerprint: str
    counter: int = 0
    suspected: bool = False


class Factors(msgspec.Struct, frozen=True, kw_only=True):
    """What a member proves himself with beside his password; version 0 before the first fact.

    `step` is the newest authenticator step accepted. `devices` are trusted until these instants.
    """

    account: UUID
    version: int = 0
    prepared: bool = False
    totp: bool = False
    step: int = 0
    recovery_codes: int = 0
    keys: Mapping[UUID, SecurityKey] = {}
    devices: Mapping[UUID, datetime] = {}
    trusts_devices: bool = False

    @property
    def any(self) -> bool:
        """Whether sign-in asks for a second factor."""
        return self.totp or bool(self.keys)

    @property
    def methods(self) -> tuple[str, ...]:
        """Ways to pass the second factor, in the words of the API."""
        by_code = ("totp", "recovery") if self.totp else ()
        return (*by_code, "passkey") if self.keys else by_code

    def trusts(self, device: UUID, at: datetime) -> bool:
        """Whether this device needs no second factor at `at`."""
        until = self.devices.get(device)
        return until is not None and at < until


def factors_id(account: UUID) -> UUID:
    """The aggregate that holds an account's factors."""
    return uuid5(_FACTORS, str(account))


def evolve(state: Factors | None, envelope: Envelope) -> Factors:
    """The factors after one more fact."""
    fact = envelope.fact
    if not isinstance(fact, FACTS):
        raise TypeError(f"not a fact of factors here: {type(fact).__name__}")
    before = state or Factors(account=getattr(fact, "account"))  # noqa: B009 (every one has it)
    return msgspec.structs.replace(
        before, version=envelope.originator_version, **_changes(before, fact)
    )


def _changes(before: Factors, fact: Fact) -> dict[str, object]:
    changed: dict[str, object]
    match fact:
        case TotpPrepared():
            changed = {"prepared": True}
        case TotpEnabled(step=step, recovery_codes=amount):
            changed = {"prepared": False, "totp": True, "step": step, "recovery_codes": amount}
        case TotpDisabled() | FactorsReset():
            changed = {"prepared": False, "totp": False, "recovery_codes": 0}
        case TotpCodeAccepted(step=step):
            changed = {"step": step}
        case RecoveryCodesReplaced(amount=amount):
            changed = {"recovery_codes": amount}
        case RecoveryCodeUsed():
            changed = {"recovery_codes": before.recovery_codes - 1}
        case DeviceTrustSwitched(enabled=enabled):
            changed = {"trusts_devices": enabled}
        case DeviceTrusted(device=device, until=until):
            changed = {"devices": {**before.devices, device: until}}
        case DeviceDistrusted(device=device):
            left = {one: at for one, at in before.devices.items() if one != device}
            changed = {"devices": left}
        case _:
            changed = {"keys": _keys_after(before.keys, fact)}
    return changed


def _keys_after(keys: Mapping[UUID, SecurityKey], fact: Fact) -> dict[UUID, SecurityKey]:
    match fact:
        case SecurityKeyRegistered(key=key, fingerprint=fingerprint):
            return {**keys, key: SecurityKey(fingerprint=fingerprint)}
        case SecurityKeyRemoved(key=key):
            return {one: kept for one, kept in keys.items() if one != key}
        case SecurityKeyUsed(key=key, counter=counter):
            return {
                **keys,
                key: msgspec.structs.replace(keys[key], counter=counter, suspected=False),
            }
        case SecurityKeySuspected(key=key):
            return {**keys, key: msgspec.structs.replace(keys[key], suspected=True)}
        case unknown:
            raise TypeError(f"not a fact of security keys: {type(unknown).__name__}")


def is_fresh(opened_at: datetime, now: datetime) -> bool:
    """Whether a session opened then may change factors now."""
    return now - opened_at < FRESH_LIFE
