"""Sessions: a signed-in browser, opened by a proof and closed for good."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

import msgspec

from domain.errors import NotFound, Unauthenticated
from domain.kernel import Envelope, Fact

ABSOLUTE_LIFE = timedelta(days=7)
"""A session ends this long after it was opened, whatever happens."""
IDLE_LIFE = timedelta(days=3)
"""A session ends when nothing was asked for this long."""


class SessionOpened(Fact, frozen=True):
    """A member signed in; `method` says by what proof ("password", "registration")."""

    TOPIC: ClassVar[str] = "session.opened.1"

    account: UUID
    method: str


class SessionClosed(Fact, frozen=True):
    """A session ended; `reason` says why ("logout", "revoked", "password changed")."""

    TOPIC: ClassVar[str] = "session.closed.1"

    account: UUID
    reason: str


FACTS: tuple[type[Fact], ...] = (SessionOpened, SessionClosed)


class ChallengeInvalid(Unauthenticated):
    """The challenge was never given out, is older than five minutes, or was used."""

    code = "challenge_invalid"
    message = "Invalid or expired challenge"


class CredentialsInvalid(Unauthenticated):
    """Unknown name or wrong proof; nobody is told which."""

    code = "credentials_invalid"
    message = "Invalid credentials"


class SessionNotFound(NotFound):
    """The caller has no such session open."""

    code = "session_not_found"
    message = "Session not found"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session: whose, since when, and whether it still counts."""

    version: int
    account: UUID
    opened_at: datetime
    closed: bool = False


def evolve(state: Session | None, envelope: Envelope) -> Session:
    """The session after one more fact."""
    match envelope.fact, state:
        case SessionOpened(account=account), None:
            return Session(
                version=envelope.originator_version, account=account, opened_at=envelope.meta.at
            )
        case SessionClosed(), Session():
            return msgspec.structs.replace(state, version=envelope.originator_version, closed=True)
        case unknown, _:
            raise TypeError(f"not a fact of a session here: {type(unknown).__name__}")


def is_live(*, opened_at: datetime, seen_at: datetime, now: datetime) -> bool:
    """Whether a session opened and last used at these instants still counts."""
    return now - opened_at < ABSOLUTE_LIFE and now - seen_at < IDLE_LIFE


def open_session(account: UUID, *, method: str) -> list[Fact]:
    """A member proved who he is."""
    return [SessionOpened(account=account, method=method)]


def close_session(session: Session | None, *, reason: str) -> list[Fact]:
    """End it; nothing when it has ended before or never was."""
    if session is None or session.closed:
        return []
    return [SessionClosed(account=session.account, reason=reason)]
