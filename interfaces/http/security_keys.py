"""Security keys, which the reference calls passkeys: registered, and as either factor."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from msgspec.structs import replace
from pydantic import AliasChoices, Field, model_validator

from application.access import AnnounceAddresses
from application.second_factor import (
    NewDevice,
    count_attempt,
    find_half_session,
    finish_half_session,
)
from application.security_key_proofs import SecurityKeyProofs
from application.security_keys import (
    KeyProof,
    PassBySecurityKey,
    RegisterSecurityKey,
    RemoveSecurityKey,
)
from application.sessions import TOKEN_SIZE, OpenSession, token_hash
from application.users import RotateAnnounceKey
from domain import users
from domain.errors import Conflict, Forbidden, NotFound, TooMany, Unauthenticated
from domain.factors import SecurityKeyRefused
from interfaces.http.auth import LogInReply, user_reply
from interfaces.http.client_address import known_address
from interfaces.http.deps import (
    AnonymousCommands,
    Call,
    Commands,
    MaybeSignedIn,
    ReadAccess,
    Reads,
    Services,
    SignedIn,
)
from interfaces.http.errors import refusals
from interfaces.http.half_sessions import HalfCookie, half_token, new_device
from interfaces.http.models import Body, Line, Reply
from interfaces.http.services import HttpServices
from interfaces.http.two_factor import FRESH
from interfaces.http.two_factor_sign_in import HalfSessionBody, give_cookies
from projections.access import find_passkey_state
from projections.member_figures import find_transfer
from projections.site import read_site

router = APIRouter(tags=["Two-factor enrolment (logged in)"])
sign_in_router = APIRouter(tags=["Two-factor (during sign-in)"])

_FIRST = "first factor"
Credential = Annotated[
    dict[str, Any], Field(description="What the browser's `navigator.credentials` call gave.")
]


class RegisterSecurityKeyBody(Body):
    """The key's answer to the options of `register-challenge`."""

    name: Annotated[Line, Field(min_length=1, max_length=64)]
    response: Credential


class RegisterSecurityKeyReply(Reply):
    id: UUID
    name: str
    credential_id: str


class RemoveSecurityKeyReply(Reply):
    deleted: UUID


class AssertionBody(HalfSessionBody):
    """The key's answer; `trust_device` as for a code."""

    response: Credential
    trust_device: bool | None = Field(
        default=None, validation_alias=AliasChoices("trust_device", "trustDevice")
    )


class PasskeyBody(Body):
    """Either the key's answer to the options of `GET /api/auth/passkey`, or `confirm`."""

    response: Credential | None = None
    confirm: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> PasskeyBody:
        if (self.response is None) == (self.confirm is None):
            raise ValueError("give either response or confirm")
        return self


class AnnounceKeyReply(Reply):
    """A member's announce key, and the addresses his client announces to."""

    passkey: str
    announce_url: str
    announce_urls: list[str]


def _proofs(services: HttpServices) -> SecurityKeyProofs:
    return SecurityKeyProofs(
        services.log,
        services.challenges,
        services.entropy,
        rp_id=services.settings.rp_id,
        origin=services.settings.rp_origin,
    )


@router.post("/api/me/2fa/passkey/register-challenge", dependencies=[FRESH])
def issue_security_key_challenge(
    caller: SignedIn, services: Services, reads: Reads
) -> dict[str, Any]:
    """Give the options for registering a key; they count once, for five minutes."""
    with reads.connection() as connection:
        title = str(read_site(connection).settings["siteTitle"])
    bound = f"{caller.account} {caller.session}"
    return _proofs(services).registration_options(
        caller.account, caller.username, bound=bound, title=title
    )


@router.post(
    "/api/me/2fa/passkey/register-verify", responses=refusals(Conflict), dependencies=[FRESH]
)
def register_security_key(
    body: RegisterSecurityKeyBody, caller: SignedIn, services: Services, call: Commands
) -> RegisterSecurityKeyReply:
    """Keep a new key; sign-in asks for a second factor from now on."""
    bound = f"{caller.account} {caller.session}"
    credential, public_key = _proofs(services).check_registration(body.response, bound=bound)
    key = services.entropy.uuid()
    call.dispatch_next(
        RegisterSecurityKey(key=key, credential=credential, public_key=public_key, name=body.name)
    )
    services.sessions.forget_account(caller.account)
    return RegisterSecurityKeyReply(id=key, name=body.name, credential_id=credential)


@router.delete(
    "/api/me/2fa/passkey/{id}", responses=refusals(NotFound, Conflict), dependencies=[FRESH]
)
def remove_security_key(
    key: Annotated[UUID, Path(alias="id", description="The key's id.")],
    caller: SignedIn,
    services: Services,
    call: Commands,
) -> RemoveSecurityKeyReply:
    """Remove a key; it proves nothing any more."""
    call.dispatch(RemoveSecurityKey(key=key))
    services.sessions.forget_account(caller.account)
    return RemoveSecurityKeyReply(deleted=key)


@sign_in_router.post("/api/auth/2fa/passkey-options", responses=refusals(Unauthenticated))
def issue_second_factor_challenge(
    body: HalfSessionBody, services: Services, request: Request, _half: HalfCookie
) -> dict[str, Any]:
    """Give the options for proving a key as second factor."""
    hashed = token_hash(half_token(request, services, body.challenge_token))
    half = find_half_session(services.half_sessions, hashed)
    return _proofs(services).assertion_options(half.account, bound=hashed)


@sign_in_router.post(
    "/api/auth/2fa/passkey-verify",
    responses=refusals(Unauthenticated, Forbidden, NotFound, TooMany),
)
def verify_security_key(
    body: AssertionBody,
    services: Services,
    call: AnonymousCommands,
    request: Request,
    response: Response,
    _half: HalfCookie,
) -> LogInReply:
    """Open the session by a key as second factor."""
    hashed = token_hash(half_token(request, services, body.challenge_token))
    half = count_attempt(services.half_sessions, hashed)
    proof = _proofs(services).check_assertion(body.response, account=half.account, bound=hashed)
    device = new_device(request, services, half.account, wanted=body.trust_device)
    opening = OpenSession(
        account=half.account,
        session=services.entropy.uuid(),
        token_hash="",
        method="password and security key",
        address=known_address(request),
        password_changes=half.password_changes,
    )
    reply = _open(call, response, proof, opening=opening, device=device)
    finish_half_session(services.half_sessions, hashed, half.account)
    return reply


@sign_in_router.get("/api/auth/passkey")
def show_passkey(caller: MaybeSignedIn, services: Services, reads: Reads) -> dict[str, Any]:
    """Give the options for signing in by a key alone; a member gets his announce key too."""
    options = _proofs(services).assertion_options(None, bound=_FIRST)
    if caller is None:
        return options
    return {**options, **_announce_key(services, reads, caller.account).model_dump(by_alias=True)}


@sign_in_router.post(
    "/api/auth/passkey", responses=refusals(Unauthenticated, Forbidden, NotFound, Conflict)
)
def log_in_by_security_key(
    body: PasskeyBody,
    caller: MaybeSignedIn,
    services: Services,
    reads: Reads,
    *,
    signing_in: AnonymousCommands,
    call: Commands,
    request: Request,
    response: Response,
) -> LogInReply | AnnounceKeyReply:
    """Open a session by a key that verified its user; no password and no code is asked.

    With `confirm` and a session it replaces the member's announce key instead: the one before,
    and the keys in all files he downloaded, are refused from now on.
    """
    if body.response is None:
        if caller is None:
            raise Unauthenticated()
        return _rotated_announce_key(services, reads, call, caller.account)
    proof = _proofs(services).check_assertion(body.response, account=None, bound=_FIRST)
    account = services.log.load(proof.account, users.evolve)
    if account is None:
        raise SecurityKeyRefused()
    opening = OpenSession(
        account=proof.account,
        session=services.entropy.uuid(),
        token_hash="",
        method="security key",
        address=known_address(request),
        password_changes=account.password_changes,
    )
    return _open(signing_in, response, proof, opening=opening, device=None)


def _rotated_announce_key(
    services: HttpServices, reads: ReadAccess, call: Call, account: UUID
) -> AnnounceKeyReply:
    """Replace the key that is in force now; requests at once do so one time."""
    state = services.log.load(account, users.evolve)
    if state is None:
        raise users.AccountNotFound()
    epoch: int = call.dispatch(RotateAnnounceKey(seen=state.announce_epoch))
    return _announce_key(services, reads, account, epoch=epoch)


def _announce_key(
    services: HttpServices, reads: ReadAccess, account: UUID, *, epoch: int | None = None
) -> AnnounceKeyReply:
    """His key of this epoch, else of the one in force. Raises `AccountNotFound`."""
    with reads.connection() as connection:
        state = find_passkey_state(connection, account)
    if state is None:
        raise users.AccountNotFound()
    passkey = services.passkeys.announce_passkey(
        state.number, kid=state.kid, epoch=epoch or state.epoch_announce
    )
    settings = services.settings
    tiers = AnnounceAddresses(settings.announce_url, settings.udp_announce_url).tiers(passkey)
    urls = [url for tier in tiers for url in tier]
    return AnnounceKeyReply(passkey=passkey, announce_url=urls[0], announce_urls=urls)


def _open(
    call: Call,
    response: Response,
    proof: KeyProof,
    *,
    opening: OpenSession,
    device: tuple[NewDevice, bytes] | None,
) -> LogInReply:
    """Open the session; refused, and the key suspected, when its counter did not rise."""
    services = call.services
    with ReadAccess(services).connection() as connection:
        transfer = find_transfer(connection, proof.account)
    token = services.entropy.token(TOKEN_SIZE)
    opened: users.Account | None = call.dispatch(
        PassBySecurityKey(
            opening=replace(opening, token_hash=token_hash(token)),
            proof=proof,
            device=device[0] if device else None,
        )
    )
    if opened is None:
        raise SecurityKeyRefused()
    services.presence.arrived(proof.account, opening.address)
    give_cookies(services, response, token, device)
    return LogInReply(user=user_reply(proof.account, opened.username, opened.roles, transfer))
