"""The signed-in member's authenticator app and recovery codes."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import model_validator

from application.factors import load_factors
from application.second_factor import count_member_attempt
from application.security_keys import list_keys
from application.totp import (
    DisableTotp,
    EnableTotp,
    KeptTotp,
    RegenerateRecoveryCodes,
    SetUpTotp,
    hash_recovery_code,
    new_recovery_codes,
    new_secret,
    totp_uri,
)
from domain.errors import Conflict, TooMany, Unauthenticated
from domain.factors import FreshAuthenticationRequired, is_fresh
from interfaces.http.deps import Commands, CurrentSignIn, Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Reply
from interfaces.http.two_factor_sign_in import Code, RecoveryCode
from projections.site import read_site

router = APIRouter(tags=["Two-factor enrolment (logged in)"])

_SALT_SIZE = 16


async def fresh_sign_in(caller: SignedIn, sign_in: CurrentSignIn, services: Services) -> None:
    """Raises `FreshAuthenticationRequired` when the caller signed in too long ago."""
    _ = caller
    if sign_in is None or not is_fresh(sign_in.opened_at, services.clock()):
        raise FreshAuthenticationRequired()


FRESH = Depends(fresh_sign_in)
"""On routes that take away or add what protects the account."""


class SecurityKeyReply(Reply):
    """A registered key; `suspected` when a proof showed that there may be a copy of it."""

    id: UUID
    name: str
    created_at: Instant
    last_used_at: Instant | None
    suspected: bool


class TwoFactorStatusReply(Reply):
    """The member's second factors; `freshAuth` tells whether he may change them now."""

    totp_enabled: bool
    trust_devices_enabled: bool
    passkeys: list[SecurityKeyReply]
    recovery_codes_remaining: int
    fresh_auth: bool


class SetUpTotpReply(Reply):
    """Shown once. Secret and recovery codes count from the moment the app is confirmed."""

    secret: str
    uri: str
    recovery_codes: list[str]


class EnableTotpBody(Body):
    """The code the app shows."""

    code: Code


class EnableTotpReply(Reply):
    enabled: bool = True


class DisableTotpBody(Body):
    """A code not used before, or a recovery code in its place."""

    code: Code | None = None
    recovery_code: RecoveryCode | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> DisableTotpBody:
        if (self.code is None) == (self.recovery_code is None):
            raise ValueError("give either code or recoveryCode")
        return self


class DisableTotpReply(Reply):
    enabled: bool = False


class RecoveryCodesReply(Reply):
    """Shown once; those given before are void."""

    recovery_codes: list[str]


@router.get("/api/me/2fa/status")
def show_two_factor_status(
    caller: SignedIn, sign_in: CurrentSignIn, services: Services
) -> TwoFactorStatusReply:
    """Show which second factors the caller has."""
    state = load_factors(services.log, caller.account)
    return TwoFactorStatusReply(
        totp_enabled=state.totp,
        trust_devices_enabled=state.trusts_devices,
        passkeys=[
            SecurityKeyReply(
                id=kept.key,
                name=kept.name,
                created_at=kept.created_at,
                last_used_at=kept.last_used_at,
                suspected=state.keys[kept.key].suspected,
            )
            for kept in sorted(
                list_keys(services.log, caller.account).values(), key=lambda each: each.created_at
            )
            if kept.key in state.keys
        ],
        recovery_codes_remaining=state.recovery_codes,
        fresh_auth=sign_in is not None and is_fresh(sign_in.opened_at, services.clock()),
    )


@router.post("/api/me/2fa/totp/setup", responses=refusals(Conflict))
def set_up_totp(
    caller: SignedIn, services: Services, call: Commands, reads: Reads
) -> SetUpTotpReply:
    """Make a secret for an authenticator app, and recovery codes."""
    with reads.connection() as connection:
        title = str(read_site(connection).settings["siteTitle"])
    secret, codes = new_secret(services.entropy), new_recovery_codes(services.entropy)
    salt = services.entropy.token(_SALT_SIZE)
    hashes = tuple(hash_recovery_code(code, salt) for code in codes)
    # Not repeatable: the answer holds what is kept nowhere in clear.
    call.dispatch_next(SetUpTotp(kept=KeptTotp(secret=secret, salt=salt, codes=hashes)))
    uri = totp_uri(secret, username=caller.username, issuer=title.replace(":", " "))
    return SetUpTotpReply(secret=secret, uri=uri, recovery_codes=codes)


@router.post("/api/me/2fa/totp/enable", responses=refusals(Conflict, TooMany))
def enable_totp(
    body: EnableTotpBody, caller: SignedIn, services: Services, call: Commands
) -> EnableTotpReply:
    """Confirm the app by a code; from now on sign-in asks for one."""
    count_member_attempt(services.half_sessions, caller.account)
    call.dispatch_next(EnableTotp(code=body.code))
    services.sessions.forget_account(caller.account)
    return EnableTotpReply()


@router.post(
    "/api/me/2fa/totp/disable",
    responses=refusals(Conflict, TooMany, Unauthenticated),
    dependencies=[FRESH],
)
def disable_totp(
    body: DisableTotpBody, caller: SignedIn, services: Services, call: Commands
) -> DisableTotpReply:
    """Give up the app and the recovery codes."""
    count_member_attempt(services.half_sessions, caller.account)
    call.dispatch_next(DisableTotp(code=body.code, recovery_code=body.recovery_code))
    services.sessions.forget_account(caller.account)
    return DisableTotpReply()


@router.post(
    "/api/me/2fa/recovery-codes/regenerate",
    responses=refusals(Conflict, TooMany, Unauthenticated),
    dependencies=[FRESH],
)
def regenerate_recovery_codes(
    body: EnableTotpBody, caller: SignedIn, services: Services, call: Commands
) -> RecoveryCodesReply:
    """Replace the recovery codes."""
    count_member_attempt(services.half_sessions, caller.account)
    codes, salt = new_recovery_codes(services.entropy), services.entropy.token(_SALT_SIZE)
    hashes = tuple(hash_recovery_code(code, salt) for code in codes)
    call.dispatch_next(RegenerateRecoveryCodes(code=body.code, salt=salt, codes=hashes))
    return RecoveryCodesReply(recovery_codes=codes)
