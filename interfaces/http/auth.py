"""Sign-in: proof of work, registration, password-blind login, logout, status."""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AliasChoices, Field, model_validator

from application.factors import SCOPE_SETTING, load_factors
from application.password_proofs import Verifier
from application.second_factor import require_admitted
from application.sessions import TOKEN_SIZE, CloseSession, OpenSession, token_hash
from application.users import RegisterAccount, Registered
from domain.errors import Conflict, Forbidden, Invalid, Unauthenticated
from domain.permissions import ADMINISTRATOR, MODERATOR
from domain.users import Account
from interfaces.http.client_address import known_address
from interfaces.http.cookies import COOKIE
from interfaces.http.deps import (
    AnonymousCommands,
    Commands,
    CurrentSignIn,
    MaybeSignedIn,
    ReadAccess,
    Reads,
    Services,
)
from interfaces.http.errors import refusals
from interfaces.http.half_sessions import HalfOrSignedIn, open_half_session, use_trusted_device
from interfaces.http.models import Body, Line, Reply
from projections.member_figures import Transfer, find_transfer
from projections.profiles import find_profile
from projections.site import read_site
from projections.users import find_account

router = APIRouter(tags=["Authentication"])

Base64 = Annotated[str, Field(min_length=40, max_length=128, pattern=r"^[A-Za-z0-9+/_=-]+$")]
Hex64 = Annotated[str, Field(min_length=64, max_length=64, pattern=r"^[0-9A-Fa-f]+$")]
Nonce = Annotated[Line, Field(min_length=1, max_length=128)]
NonceNumber = Annotated[int, Field(ge=0, lt=2**63)]


class UsernameRequired(Invalid):
    """No name was given."""

    code = "username_required"
    message = "Username is required"


class WorkReply(Reply):
    """Work for the registration form: `difficulty` is leading zero hex digits."""

    challenge: str
    difficulty: int
    iterations: int


class ChallengeReply(Reply):
    """What a client needs to prove it knows a password."""

    salt: str
    challenge: str
    iterations: int


class ProofOfWork(Body):
    """A solved proof of work: `hash` is hex of SHA-256 over `challenge:nonce`."""

    challenge: Hex64
    nonce: Annotated[Nonce | NonceNumber, Field(union_mode="left_to_right")]
    hash: Hex64


class RegisterAccountBody(Body):
    """A new account. The older spelling (`authSalt`, `powNonce` and the like) is read too."""

    username: Line
    salt: Base64 = Field(validation_alias=AliasChoices("salt", "authSalt"))
    verifier: Base64 = Field(validation_alias=AliasChoices("verifier", "authVerifier"))
    invite: str | None = Field(
        default=None, max_length=64, validation_alias=AliasChoices("invite", "inviteCode")
    )
    pow: ProofOfWork
    panic_password: str | None = Field(default=None, min_length=12, max_length=128)
    setup_code: str | None = Field(default=None, max_length=200)

    @model_validator(mode="before")
    @classmethod
    def _gather_older_spelling(cls, sent: Any) -> Any:
        older = {"challenge": "powChallenge", "nonce": "powNonce", "hash": "powHash"}
        if not isinstance(sent, dict) or "pow" in sent:
            return sent
        found = {new: sent[old] for new, old in older.items() if old in sent}
        return {**sent, "pow": found} if found else sent


class LogInBody(Body):
    """`proof` is hex of SHA-256 over verifier and challenge."""

    username: str = Field(min_length=1, max_length=100)
    challenge: str = Field(min_length=64, max_length=64)
    proof: str = Field(min_length=64, max_length=64)


class SignedInUser(Reply):
    """The member, as sign-in answers show him. Sizes are bytes."""

    id: UUID
    username: str
    is_admin: bool
    is_moderator: bool
    uploaded: int
    downloaded: int


class RegisterAccountReply(Reply):
    success: bool = True
    is_first_user: bool
    user: SignedInUser


class LogInReply(Reply):
    """`requires2FA` is false: the session is open."""

    success: bool = True
    requires_2fa: Literal[False] = Field(default=False, serialization_alias="requires2FA")
    user: SignedInUser


class SecondFactorDueReply(Reply):
    """The password was right, and one of `methods` is due at `/api/auth/2fa/…` within 5 minutes."""

    requires_2fa: Literal[True] = Field(default=True, serialization_alias="requires2FA")
    challenge_token: str
    methods: list[str]


class LogOutReply(Reply):
    success: bool = True


class StatusUser(SignedInUser):
    """The member, with what a page needs to begin."""

    display_name: str | None
    theme: str
    language: str
    requires_2fa_setup: bool = Field(default=False, serialization_alias="requires2FASetup")


class AuthStatusReply(Reply):
    """Who is signed in, and whether newcomers may register."""

    needs_setup: bool
    registration_open: bool
    invite_enabled: bool
    user: StatusUser | None
    locale: str | None
    theme: str | None
    require_2fa_scope: str = Field(serialization_alias="require2FAScope")


@router.get("/api/auth/pow")
def issue_proof_of_work(services: Services) -> WorkReply:
    """Issue a proof of work for the registration form; it can be spent once in 5 minutes."""
    work = services.proofs.issue_work()
    return WorkReply(
        challenge=work.challenge, difficulty=work.difficulty, iterations=work.iterations
    )


@router.post("/api/auth/register", responses=refusals(Forbidden, Conflict))
def register_account(
    body: RegisterAccountBody,
    services: Services,
    call: AnonymousCommands,
    request: Request,
    response: Response,
) -> RegisterAccountReply:
    """Make an account and sign it in. The first account administers the site."""
    services.proofs.redeem_work(body.pow.challenge, str(body.pow.nonce), body.pow.hash.lower())
    code = services.settings.setup_code
    given = (body.setup_code or "").encode()
    token = services.entropy.token(TOKEN_SIZE)
    command = RegisterAccount(
        account=services.entropy.uuid(),
        username=body.username,
        kid=services.passkeys.newest,
        verifier=Verifier(salt=body.salt, verifier=body.verifier),
        invite=(body.invite or "").strip().upper() or None,
        may_found=code is None or hmac.compare_digest(given, code.encode()),
        session=services.entropy.uuid(),
        token_hash=token_hash(token),
        address=known_address(request),
    )
    made: Registered = call.dispatch(command, opens=command.session)
    services.presence.arrived(made.account, command.address)
    if made.is_first and body.panic_password:
        services.kek.wrap(body.panic_password)
    services.cookie.give(response, token)
    user = user_reply(made.account, made.username, made.roles, Transfer(made.starter_upload, 0))
    return RegisterAccountReply(is_first_user=made.is_first, user=user)


@router.get("/api/auth/challenge")
def issue_login_challenge(
    services: Services, username: Annotated[str, Query(max_length=100)] = ""
) -> ChallengeReply:
    """Give the salt and a challenge for a name; an unknown name gets a steady salt too."""
    name = username.strip()
    if not name:
        raise UsernameRequired()
    issued = services.proofs.issue_challenge(name)
    return ChallengeReply(
        salt=issued.salt, challenge=issued.challenge, iterations=issued.iterations
    )


@router.post("/api/auth/login", responses=refusals(Unauthenticated, Forbidden))
def log_in(
    body: LogInBody,
    services: Services,
    call: AnonymousCommands,
    request: Request,
    response: Response,
) -> LogInReply | SecondFactorDueReply:
    """Open a session by a proof that the password is known; a half one where a second is due."""
    if services.limiter is not None:
        services.limiter.admit_attempt(body.username.strip())
    proven = services.proofs.check(body.username.strip(), body.challenge, body.proof.lower())
    factors = load_factors(services.log, proven.account)
    is_trusted = factors.any and use_trusted_device(request, services, proven.account)
    if factors.any and not is_trusted:
        require_admitted(services.log, proven, services.clock())
        token_text = open_half_session(services, response, proven)
        return SecondFactorDueReply(challenge_token=token_text, methods=[*factors.methods])
    # Read before the session is opened: after that nothing may be missing for the answer.
    with ReadAccess(services).connection() as connection:
        transfer = find_transfer(connection, proven.account)
    token = services.entropy.token(TOKEN_SIZE)
    opened: Account = call.dispatch(
        OpenSession(
            account=proven.account,
            session=services.entropy.uuid(),
            token_hash=token_hash(token),
            method="password on a trusted device" if is_trusted else "password",
            address=known_address(request),
            password_changes=proven.password_changes,
        )
    )
    services.presence.arrived(proven.account, known_address(request))
    services.cookie.give(response, token)
    return LogInReply(user=user_reply(proven.account, opened.username, opened.roles, transfer))


@router.post("/api/auth/logout")
def log_out(
    services: Services,
    call: Commands,
    sign_in: CurrentSignIn,
    half: HalfOrSignedIn,
    *,
    response: Response,
    request: Request,
) -> LogOutReply:
    """End the session for good: its cookie opens nothing any more, wherever it was copied to."""
    if half is not None:
        services.half_sessions.close(token_hash(half))
        services.half_cookie.clear(response)
    token = services.cookie.open(request.cookies.get(COOKIE, ""))
    if sign_in is not None and token is not None:
        call.dispatch(
            CloseSession(session=sign_in.session, token_hash=token_hash(token), reason="logout")
        )
        services.sessions.forget(token)
    services.cookie.clear(response)
    return LogOutReply()


@router.get("/api/auth/status")
def show_auth_status(
    caller: MaybeSignedIn, sign_in: CurrentSignIn, reads: Reads
) -> AuthStatusReply:
    """Say who is signed in, null for nobody, and whether newcomers may register."""
    with reads.connection() as connection:
        site = read_site(connection)
        account = find_account(connection, caller.account) if caller else None
        transfer = find_transfer(connection, account.id) if account else Transfer(0, 0)
        profile = find_profile(connection, account.id) if account else None
    user = None
    if account is not None and profile is not None:
        user = StatusUser(
            id=account.id,
            username=account.username,
            is_admin=account.is_admin,
            is_moderator=account.is_moderator,
            uploaded=transfer.uploaded,
            downloaded=transfer.downloaded,
            display_name=profile.display_name,
            theme=profile.theme,
            language=profile.language,
            requires_2fa_setup=sign_in is not None and sign_in.lacks_factor,
        )
    return AuthStatusReply(
        needs_setup=site.founder is None,
        registration_open=site.registration_open,
        invite_enabled=site.invite_enabled,
        user=user,
        locale=user.language if user else None,
        theme=user.theme if user else None,
        require_2fa_scope=str(site.settings[SCOPE_SETTING]),
    )


def user_reply(
    account: UUID, username: str, roles: frozenset[str], transfer: Transfer
) -> SignedInUser:
    return SignedInUser(
        id=account,
        username=username,
        is_admin=ADMINISTRATOR in roles,
        is_moderator=MODERATOR in roles,
        uploaded=transfer.uploaded,
        downloaded=transfer.downloaded,
    )
