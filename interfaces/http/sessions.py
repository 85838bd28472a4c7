"""The signed-in member's own sessions."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from application.sessions import RevokeOtherSessions, RevokeSession
from domain.errors import NotFound, Unauthenticated
from interfaces.http.deps import Commands, CurrentSignIn, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply

router = APIRouter(tags=["Profile"])


class SessionReply(Reply):
    """An open session; `current` is the one that asks, `lastSeen` is exact to an hour."""

    id: UUID
    opened_at: Instant
    last_seen: Instant
    current: bool


class SessionsReply(Reply):
    """All open sessions, the newest first."""

    sessions: list[SessionReply]


class RevokeSessionReply(Reply):
    """The session that was ended."""

    revoked: UUID


class RevokeOtherSessionsReply(Reply):
    """How many sessions were ended."""

    revoked: int


@router.get("/api/me/sessions")
def list_sessions(caller: SignedIn, sign_in: CurrentSignIn, services: Services) -> SessionsReply:
    """List the browsers that are signed in to the caller's account."""
    current = sign_in.session if sign_in else None
    live = services.sessions.list_live(caller.account, services.clock())
    return SessionsReply(
        sessions=[
            SessionReply(
                id=each.session,
                opened_at=each.opened_at,
                last_seen=each.seen_at,
                current=each.session == current,
            )
            for each in live
        ]
    )


@router.delete("/api/me/sessions")
def revoke_other_sessions(
    caller: SignedIn, sign_in: CurrentSignIn, services: Services, call: Commands
) -> RevokeOtherSessionsReply:
    """End every session of the caller but the one that asks."""
    if sign_in is None:
        raise Unauthenticated()
    revoked: int = call.dispatch(RevokeOtherSessions(keep=sign_in.session))
    services.sessions.forget_account(caller.account)
    return RevokeOtherSessionsReply(revoked=revoked)


@router.delete("/api/me/sessions/{id}", responses=refusals(NotFound))
def revoke_session(
    session: Annotated[UUID, Path(alias="id", description="The session's id.")],
    caller: SignedIn,
    sign_in: CurrentSignIn,
    services: Services,
    *,
    call: Commands,
    response: Response,
) -> RevokeSessionReply:
    """End one session of the caller; ending the one that asks signs him out."""
    call.dispatch(RevokeSession(session=session))
    services.sessions.forget_account(caller.account)
    if sign_in is not None and sign_in.session == session:
        services.cookie.clear(response)
    return RevokeSessionReply(revoked=session)
