"""Changing one's password."""

from __future__ import annotations

from fastapi import APIRouter, Response

from application.passwords import ChangePassword
from application.sessions import TOKEN_SIZE, token_hash
from domain.errors import NotFound
from domain.sessions import CredentialsInvalid
from domain.users import CurrentPasswordWrong
from interfaces.http.auth import Base64, Hex64
from interfaces.http.deps import Commands, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Reply

router = APIRouter(tags=["Authentication"])


class ChangePasswordBody(Body):
    """A proof of the present password as for a login, and what belongs to the new one."""

    challenge: Hex64
    current_proof: Hex64
    new_salt: Base64
    new_verifier: Base64


class ChangePasswordReply(Reply):
    success: bool = True


@router.put("/api/auth/password", responses=refusals(NotFound))
def change_password(
    body: ChangePasswordBody,
    caller: SignedIn,
    services: Services,
    call: Commands,
    response: Response,
) -> ChangePasswordReply:
    """Change the password at once and whole. Every session ends; this browser gets a new one."""
    if services.limiter is not None:
        services.limiter.admit_attempt(caller.username)
    try:
        proven = services.proofs.check(caller.username, body.challenge, body.current_proof.lower())
    except CredentialsInvalid:
        raise CurrentPasswordWrong() from None
    token = services.entropy.token(TOKEN_SIZE)
    command = ChangePassword(
        salt=body.new_salt,
        verifier=body.new_verifier,
        proven=proven.password_changes,
        session=services.entropy.uuid(),
        token_hash=token_hash(token),
    )
    call.dispatch(command, opens=command.session)
    services.sessions.forget_account(caller.account)
    services.cookie.give(response, token)
    return ChangePasswordReply()
