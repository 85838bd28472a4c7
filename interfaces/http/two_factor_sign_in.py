"""The second step of sign-in: a code or a security key turns a half session into a session."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AliasChoices, Field, model_validator

from application.second_factor import (
    NewDevice,
    PassSecondFactor,
    count_attempt,
    finish_half_session,
)
from application.sessions import TOKEN_SIZE, OpenSession, token_hash
from domain.errors import Conflict, Forbidden, NotFound, TooMany, Unauthenticated
from domain.users import Account
from interfaces.http.auth import LogInReply, user_reply
from interfaces.http.client_address import known_address
from interfaces.http.deps import AnonymousCommands, ReadAccess, Services
from interfaces.http.errors import refusals
from interfaces.http.half_sessions import HalfCookie, half_token, new_device
from interfaces.http.models import Body
from interfaces.http.services import HttpServices
from projections.member_figures import find_transfer

router = APIRouter(tags=["Two-factor (during sign-in)"])

Code = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
RecoveryCode = Annotated[str, Field(pattern=r"^[A-Za-z2-9]{4}-?[A-Za-z2-9]{6}$")]
ChallengeToken = Annotated[
    str | None,
    Field(min_length=16, max_length=128, pattern=r"^[A-Za-z0-9_-]+$"),
]


class HalfSessionBody(Body):
    """`challengeToken` is from the login's answer; absent, the cookie it set counts."""

    challenge_token: ChallengeToken = None


class VerifyTotpBody(HalfSessionBody):
    """A 6-digit code, or a recovery code in its place.

    `trust_device` says whether this browser needs no second factor for 30 days; absent, the
    member's own choice decides.
    """

    code: Code | None = None
    recovery_code: RecoveryCode | None = None
    trust_device: bool | None = Field(
        default=None, validation_alias=AliasChoices("trust_device", "trustDevice")
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> VerifyTotpBody:
        if (self.code is None) == (self.recovery_code is None):
            raise ValueError("give either code or recoveryCode")
        return self


@router.post(
    "/api/auth/2fa/verify-totp",
    responses=refusals(Unauthenticated, Forbidden, NotFound, Conflict, TooMany),
)
def verify_totp(
    body: VerifyTotpBody,
    services: Services,
    call: AnonymousCommands,
    request: Request,
    response: Response,
    _half: HalfCookie,
) -> LogInReply:
    """Open the session by a code; each works once, and five may be tried."""
    token = half_token(request, services, body.challenge_token)
    half = count_attempt(services.half_sessions, token_hash(token))
    with ReadAccess(services).connection() as connection:
        transfer = find_transfer(connection, half.account)
    device = new_device(request, services, half.account, wanted=body.trust_device)
    session = services.entropy.token(TOKEN_SIZE)
    by = "recovery code" if body.recovery_code else "authenticator code"
    opened: Account = call.dispatch(
        PassSecondFactor(
            opening=OpenSession(
                account=half.account,
                session=services.entropy.uuid(),
                token_hash=token_hash(session),
                method=f"password and {by}",
                address=known_address(request),
                password_changes=half.password_changes,
            ),
            code=body.code,
            recovery_code=body.recovery_code,
            device=device[0] if device else None,
        )
    )
    services.presence.arrived(half.account, known_address(request))
    finish_half_session(services.half_sessions, token_hash(token), half.account)
    give_cookies(services, response, session, device)
    return LogInReply(user=user_reply(half.account, opened.username, opened.roles, transfer))


def give_cookies(
    services: HttpServices,
    response: Response,
    session: bytes,
    device: tuple[NewDevice, bytes] | None,
) -> None:
    """The new session's cookie in place of the half session's, and the trusted device's."""
    services.half_cookie.clear(response)
    services.cookie.give(response, session)
    if device is not None:
        services.device_cookie.give(response, device[1])
