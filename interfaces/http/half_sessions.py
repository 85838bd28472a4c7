"""Half sessions at the edge: how a caller shows one, and what he is given at its end."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Depends, Request, Response, Security
from fastapi.security import APIKeyCookie

from application.factors import load_factors
from application.password_proofs import Proven
from application.second_factor import HalfSession, NewDevice, trusted_device
from application.sessions import TOKEN_SIZE, token_hash
from application.trusted_devices import note_device_use
from domain.errors import Unauthenticated
from domain.factors import HalfSessionInvalid
from interfaces.http.cookies import COOKIE, HALF_COOKIE
from interfaces.http.deps import CurrentSignIn, Services
from interfaces.http.services import HttpServices

_LABEL_LENGTH = 120
_HALF = APIKeyCookie(name=HALF_COOKIE, scheme_name="halfSession", auto_error=False)
_FULL = APIKeyCookie(name=COOKIE, scheme_name="session", auto_error=False)


def half_token(request: Request, services: HttpServices, challenge_token: str | None) -> bytes:
    """The token of the caller's half session: from its cookie, or as the login answered it.

    Raises `HalfSessionInvalid`.
    """
    if challenge_token is not None:
        try:
            return urlsafe_b64decode(challenge_token + "=" * (-len(challenge_token) % 4))
        except ValueError:
            raise HalfSessionInvalid() from None
    value = request.cookies.get(HALF_COOKIE)
    token = services.half_cookie.open(value) if value else None
    if token is None:
        raise Unauthenticated()
    return token


async def half_cookie_of(cookie: Annotated[str | None, Security(_HALF)]) -> str | None:
    """The cookie of the half session, as it came."""
    return cookie


HalfCookie = Annotated[str | None, Depends(half_cookie_of)]


async def half_or_signed_in(
    sign_in: CurrentSignIn,
    half: HalfCookie,
    services: Services,
    _cookie: Annotated[str | None, Security(_FULL)],
) -> bytes | None:
    """The token of a half session, if that is what he has. Raises `Unauthenticated`."""
    token = services.half_cookie.open(half) if half else None
    if sign_in is None and token is None:
        raise Unauthenticated()
    return token


HalfOrSignedIn = Annotated[bytes | None, Depends(half_or_signed_in)]


def open_half_session(services: HttpServices, response: Response, proven: Proven) -> str:
    """Keep the first factor as proven for five minutes; the token as text."""
    token = services.entropy.token(TOKEN_SIZE)
    half = HalfSession(account=proven.account, password_changes=proven.password_changes)
    services.half_sessions.open(token_hash(token), msgspec.json.encode(half))
    services.half_cookie.give(response, token)
    return urlsafe_b64encode(token).rstrip(b"=").decode()


def use_trusted_device(request: Request, services: HttpServices, account: UUID) -> bool:
    """Whether this browser stands in for the account's second factor; noted if it does."""
    value = request.cookies.get(services.device_cookie.name)
    token = services.device_cookie.open(value) if value else None
    if token is None:
        return False
    state = load_factors(services.log, account)
    now, hashed = services.clock(), token_hash(token)
    device = trusted_device(services.log, state, hashed)
    if device is None or not state.trusts(device, now):
        return False
    note_device_use(services.log, account, hashed, now)
    return True


def new_device(
    request: Request, services: HttpServices, account: UUID, *, wanted: bool | None
) -> tuple[NewDevice, bytes] | None:
    """A browser to trust and its token, if the member wants this one trusted."""
    if not (load_factors(services.log, account).trusts_devices if wanted is None else wanted):
        return None
    token = services.entropy.token(TOKEN_SIZE)
    label = request.headers.get("user-agent", "")
    plain = "".join(letter for letter in label if letter.isprintable())[:_LABEL_LENGTH]
    device = NewDevice(device=services.entropy.uuid(), token_hash=token_hash(token), label=plain)
    return device, token
