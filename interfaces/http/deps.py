"""Typed parameters of the routes: who calls, with which right, and how commands are sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Annotated, Any, cast
from uuid import UUID, uuid5

import msgspec
from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyCookie, SecurityScopes
from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool

from application.bus import Actor, Context, RequestKey
from application.sessions import SignIn
from domain.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from domain.factors import SecondFactorRequired
from domain.permissions import Permission
from interfaces.http.client_address import known_address
from interfaces.http.cookies import COOKIE
from interfaces.http.notes import notes_of
from interfaces.http.services import HttpServices

_COMMANDS = UUID("6d4d9d1e-6f0c-5d0a-9a0e-3b6f5d0c7a11")
"""Name space of command ids derived from an Idempotency-Key."""
_REQUIRED = APIKeyCookie(name=COOKIE, scheme_name="session", auto_error=False)
_OPTIONAL = APIKeyCookie(name=COOKIE, scheme_name="sessionOptional", auto_error=False)
_STAFF = f"{Permission.CAN_MODERATE.value}|{Permission.CAN_ACCESS_ADMIN.value}"
"""Either of them is enough."""
_WITHOUT_FACTOR = frozenset(
    {"/api/auth/status", "/api/auth/logout", "/api/auth/password", "/api/auth/passkey"}
)
"""What a member may ask for, beside the set-up, who lacks the second factor the site wants."""
_DENIED = {
    Permission.CAN_ACCESS_ADMIN.value: "Admin access required",
    Permission.CAN_MODERATE.value: "Moderator access required",
    _STAFF: "Moderator access required",
}
RELATIONS = frozenset({"uploader|moderator", "author|moderator", "thread"})
"""Scopes that no permission answers: the command decides who stands so to the thing asked for."""


class BadIdempotencyKey(Invalid):
    """The key is empty, too long or not plain."""

    code = "bad_idempotency_key"
    message = "Idempotency-Key: must be 1 to 128 visible ASCII characters"


class PositionUnknown(Invalid):
    """A position is asked for that the log does not hold."""

    code = "position_unknown"
    message = "X-After: the log does not reach that position"


class PermissionRequired(Forbidden):
    """Signed in, without the permission this address asks for."""

    code = "permission_required"


def services_in(request: Request) -> HttpServices:
    return cast("HttpServices", request.app.state.services)


async def services_of(request: Request) -> HttpServices:
    return services_in(request)


Services = Annotated[HttpServices, Depends(services_of)]
# What the parameters of nearly all routes share is called by them, and no parameter of theirs:
# FastAPI solves a parameter's own ones anew each time it comes up, which costs more than a read.


async def sign_in_of(request: Request) -> SignIn | None:
    """The live session behind the cookie, looked up once per request."""
    notes = notes_of(request.scope)
    if not notes.looked_up:
        notes.sign_in, notes.looked_up = await _look_up(request), True
    return notes.sign_in


async def _look_up(request: Request) -> SignIn | None:
    services = services_in(request)
    value = request.cookies.get(COOKIE)
    token = services.cookie.open(value) if value else None
    if token is None:
        return None
    known = services.sessions.recall(token)
    if known is None:
        known = await run_in_threadpool(services.sessions.find, token, services.clock())
    if known is not None:
        services.presence.touch(known.actor.account, known_address(request))
    return known


CurrentSignIn = Annotated[SignIn | None, Depends(sign_in_of)]


def _is_shut_out(request: Request, sign_in: SignIn) -> bool:
    """Whether he must set up a second factor before he may ask for this."""
    path = request.scope["path"]
    return sign_in.lacks_factor and not (path in _WITHOUT_FACTOR or path.startswith("/api/me/2fa/"))


async def maybe_signed_in(
    request: Request, _cookie: Annotated[str | None, Security(_OPTIONAL)]
) -> Actor | None:
    sign_in = await sign_in_of(request)
    return sign_in.actor if sign_in and not _is_shut_out(request, sign_in) else None


async def signed_in(
    request: Request,
    scopes: SecurityScopes,
    _cookie: Annotated[str | None, Security(_REQUIRED)],
) -> Actor:
    sign_in = await sign_in_of(request)
    if sign_in is None:
        raise Unauthenticated()
    if _is_shut_out(request, sign_in):
        raise SecondFactorRequired()
    for scope in scopes.scopes:
        if scope not in RELATIONS and sign_in.actor.permissions.isdisjoint(scope.split("|")):
            raise PermissionRequired(_DENIED.get(scope, "That permission is not yours"))
    return sign_in.actor


MaybeSignedIn = Annotated[Actor | None, Security(maybe_signed_in)]
SignedIn = Annotated[Actor, Security(signed_in)]
Moderator = Annotated[Actor, Security(signed_in, scopes=[Permission.CAN_MODERATE.value])]
Staff = Annotated[Actor, Security(signed_in, scopes=[_STAFF])]
Administrator = Annotated[Actor, Security(signed_in, scopes=[Permission.CAN_ACCESS_ADMIN.value])]
UploaderOrModerator = Annotated[Actor, Security(signed_in, scopes=["uploader|moderator"])]
"""Signed in; that he is the uploader or staff, the command asks. So with the two below."""
AuthorOrModerator = Annotated[Actor, Security(signed_in, scopes=["author|moderator"])]
ThreadMember = Annotated[Actor, Security(signed_in, scopes=["thread"])]
"""The uploader of the torrent, or staff."""


async def _request_key(request: Request, actor: Actor, key: str) -> RequestKey:
    if not (1 <= len(key) <= 128 and all(33 <= ord(character) < 127 for character in key)):
        raise BadIdempotencyKey()
    body = await request.body()
    kind = request.headers.get("content-type", "")
    if "boundary=" in kind:
        # A client that sends a form again chooses a new boundary.
        boundary = kind.split("boundary=", 1)[1].split(";")[0].strip('" ')
        body = body.replace(boundary.encode("latin-1"), b"") if boundary else body
    name = f"{actor.account}|{request.method} {request.url.path}|{key}"
    return RequestKey(command=uuid5(_COMMANDS, name), body_hash=sha256(body).digest())


@dataclass(frozen=True)
class Call:
    """Sends commands for this request and notes what they reached."""

    services: HttpServices
    context: Context
    request: Request

    def dispatch(self, command: Any, *, opens: UUID | None = None) -> Any:
        """Run `command`; its result. Raises the command's refusals.

        `opens` is the session the command opens: that one reads this write from now on.
        """
        outcome = self.services.bus.dispatch(command, self.context)
        notes = notes_of(self.request.scope)
        notes.position = outcome.position
        notes.stale = tuple(dict.fromkeys((*notes.stale, *outcome.stale)))
        notes.repeated = outcome.repeated
        session = str(opens) if opens else self._session
        if outcome.stale and session:
            self.services.freshness.remember(session, outcome.position)
        return outcome.result

    def dispatch_next(self, command: Any) -> Any:
        """Run one of several commands of this request: each is a step of its own."""
        context = msgspec.structs.replace(
            self.context, command=self.services.entropy.uuid(), request=None
        )
        return replace(self, context=context).dispatch(command)

    @property
    def _session(self) -> str | None:
        return self.context.actor.session if self.context.actor else None


def _context(
    request: Request, services: HttpServices, actor: Actor | None, key: RequestKey | None
) -> Context:
    return Context(
        at=services.clock(),
        command=services.entropy.uuid(),
        correlation=notes_of(request.scope).correlation,
        actor=actor,
        request=key,
    )


async def call_of(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(description="Makes a repeated request give the first answer again, for 7 days."),
    ] = None,
) -> Call:
    services, sign_in = services_in(request), await sign_in_of(request)
    actor = sign_in.actor if sign_in else None
    key = None
    if idempotency_key is not None and actor is not None:
        key = await _request_key(request, actor, idempotency_key)
    return Call(services, _context(request, services, actor, key), request)


async def anonymous_call_of(request: Request) -> Call:
    services = services_in(request)
    return Call(services, _context(request, services, None, None), request)


Commands = Annotated[Call, Depends(call_of)]
AnonymousCommands = Annotated[Call, Depends(anonymous_call_of)]
"""For commands that prove by themselves who asks. An Idempotency-Key means nothing there, as
the challenge they carry works only once."""


class ReadAccess:
    """Read models, as fresh as this caller may expect: they hold his session's last write."""

    def __init__(self, services: HttpServices, session: str | None = None) -> None:
        self.services = services
        self._unsettled = session

    def connection(self) -> AbstractContextManager[Connection[Any]]:
        """Raises `Unavailable` when the database is away, or gave no connection in time.

        The first one of a request waits a moment for the session's last write. Each statement is
        its own transaction unless one is opened.
        """
        return self._of(self.services.reads)

    def catalogue(self) -> AbstractContextManager[Connection[Any]]:
        """The same for statements made so that one plan serves whatever is asked."""
        return self._of(self.services.catalogue)

    @contextmanager
    def _of(self, pool: ConnectionPool[Connection[Any]]) -> Iterator[Connection[Any]]:
        session, self._unsettled = self._unsettled, None
        if session is not None:
            self.services.freshness.settle(session)
        try:
            with pool.connection() as connection:
                yield connection
        except OperationalError as fault:
            raise Unavailable(
                "The read models are out of reach; try again.", retry_after=1
            ) from fault


async def reads_of(
    request: Request,
    x_after: Annotated[
        int | None,
        Header(ge=0, lt=2**63, description="Answer from read models that hold this log position."),
    ] = None,
) -> ReadAccess:
    services = services_in(request)
    if x_after is not None:
        # Before anything else is done, as it may be refused.
        await run_in_threadpool(_require_position, services, x_after)
        return ReadAccess(services)
    sign_in = await sign_in_of(request)
    return ReadAccess(services, sign_in.actor.session if sign_in else None)


def _require_position(services: HttpServices, position: int) -> None:
    # Nobody waits for, or steps the read models to, what no command has reached.
    if position > services.log.head():
        raise PositionUnknown()
    services.freshness.require(position)


Reads = Annotated[ReadAccess, Depends(reads_of)]
