"""Between the first factor and the second: half sessions, and what turns one into a session."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.factors import DEVICE_KIND, KeptDevice, load_factors, record_factors
from application.password_proofs import Proven
from application.ports import EventLogPort
from application.sessions import OpenSession, handle_open_session
from application.totp import record_recovery_code, record_totp_code
from domain import factor_rules, users
from domain.account_bans import AccountRefused
from domain.errors import TooMany
from domain.factors import Factors, HalfSessionInvalid
from domain.sessions import CredentialsInvalid

HALF_LIFE = 300
"""Seconds a half session lasts (behaviour of the reference)."""
ATTEMPTS = 5
"""Codes that may be tried in one half session."""
ACCOUNT_ATTEMPTS, ACCOUNT_SECONDS = 10, 900
"""Codes that may be tried for one account in these seconds, over all its half sessions."""


class TooManyCodes(TooMany):
    """Second factors of this account were tried too often."""

    code = "too_many_codes"
    message = "Too many attempts at the second factor; try again later."


class HalfSession(msgspec.Struct, frozen=True, kw_only=True):
    """Who proved his password, and how often that had been changed before."""

    account: UUID
    password_changes: int


class HalfSessions(Protocol):
    """Half sessions by the hash of their token; every method raises `Unavailable` when the
    store of them is away.
    """

    def open(self, token_hash: str, value: bytes) -> None: ...

    def find(self, token_hash: str) -> bytes | None: ...

    def close(self, token_hash: str) -> None: ...

    def count(self, name: str, seconds: int) -> int:
        """Count one more under this name; how many they are since `seconds`."""
        ...

    def clear(self, name: str) -> None: ...


class NewDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A browser to trust; `label` is what it calls itself."""

    device: UUID
    token_hash: str
    label: str


class PassSecondFactor(msgspec.Struct, frozen=True, kw_only=True):
    """Open the session of a half session by an authenticator code or a recovery code.

    `device` is trusted from now on; None where none is to be.
    """

    opening: OpenSession
    code: str | None = None
    recovery_code: str | None = None
    device: NewDevice | None = None


def require_admitted(log: EventLogPort, proven: Proven, at: datetime) -> None:
    """Let a member on to his second factor, unless he is banned. Raises `AccountRefused`,
    and `CredentialsInvalid` when the password was changed since it was proven.
    """
    account = log.load(proven.account, users.evolve)
    if account is None or account.password_changes != proven.password_changes:
        raise CredentialsInvalid()
    if account.is_banned(at):
        raise AccountRefused()


def count_attempt(halves: HalfSessions, token_hash: str) -> HalfSession:
    """The half session, one attempt poorer. Raises `HalfSessionInvalid`, and `TooMany` when the
    account was tried too often.
    """
    half = find_half_session(halves, token_hash)
    if halves.count(f"half:{token_hash}", HALF_LIFE) > ATTEMPTS:
        halves.close(token_hash)
        raise HalfSessionInvalid()
    count_member_attempt(halves, half.account)
    return half


def count_member_attempt(halves: HalfSessions, account: UUID) -> None:
    """Count a code tried for the account. Raises `TooManyCodes`."""
    if halves.count(_account_name(account), ACCOUNT_SECONDS) > ACCOUNT_ATTEMPTS:
        raise TooManyCodes(retry_after=ACCOUNT_SECONDS)


def find_half_session(halves: HalfSessions, token_hash: str) -> HalfSession:
    """Raises `HalfSessionInvalid`."""
    value = halves.find(token_hash)
    if value is None:
        raise HalfSessionInvalid()
    return msgspec.json.decode(value, type=HalfSession)


def finish_half_session(halves: HalfSessions, token_hash: str, account: UUID) -> None:
    """It has become a session: nothing of it is left."""
    halves.close(token_hash)
    halves.clear(_account_name(account))


def _account_name(account: UUID) -> str:
    return f"account:{account}"


def trusted_device(log: EventLogPort, state: Factors, token_hash: str) -> UUID | None:
    """The device of this token if the member had it trusted once; None otherwise."""
    value = log.vault_get(DEVICE_KIND, state.account, token_hash)
    return msgspec.json.decode(value, type=KeptDevice).device if value else None


def record_trust(unit: Unit, state: Factors, new: NewDevice) -> None:
    """Trust a browser from now on."""
    record_factors(unit, state, factor_rules.trust_device(state, new.device, unit.at))
    kept = KeptDevice(device=new.device, label=new.label, created_at=unit.at)
    unit.put(DEVICE_KIND, state.account, new.token_hash, msgspec.json.encode(kept))


def handle_pass_second_factor(unit: Unit, command: PassSecondFactor) -> users.Account:
    """Open the session; whose it is. Raises `TotpNotEnabled`, `TotpCodeInvalid`,
    `RecoveryCodeInvalid`, and what opening a session raises.
    """
    account = handle_open_session(unit, command.opening)
    state = load_factors(unit, account.id)
    if command.recovery_code is not None:
        state = record_recovery_code(unit, state, command.recovery_code)
    else:
        state = record_totp_code(unit, state, command.code or "")
    if command.device is not None:
        record_trust(unit, state, command.device)
    return account


HANDLERS: dict[type, Handler] = {PassSecondFactor: handle_pass_second_factor}
