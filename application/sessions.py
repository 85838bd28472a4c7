"""Sessions: opening, finding and closing them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec

from application.bus import Actor, Handler, Unit
from application.ports import EventLogPort, VaultErasure, VaultPut
from domain import sessions, users

TOKEN_SIZE = 32
"""Random bytes of a session token; only its hash is kept."""
SESSION_KIND = "session"
SEEN_KIND = "session_seen"
_TOUCH = timedelta(hours=1)
"""A session's last use is noted at most this often."""
_CACHE_SECONDS = 1.0
_CACHE_ENTRIES = 20_000


class KeptSession(msgspec.Struct, frozen=True, kw_only=True):
    """What the vault keeps of a session, under the hash of its token."""

    session: UUID
    opened_at: datetime


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A live session: who, and since when."""

    actor: Actor
    session: UUID
    opened_at: datetime
    seen_at: datetime


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """Open a session for an account that has proven itself by `method`."""

    account: UUID
    session: UUID
    token_hash: str
    method: str


class CloseSession(msgspec.Struct, frozen=True, kw_only=True):
    """End a session of the caller for good."""

    session: UUID
    token_hash: str
    reason: str


def token_hash(token: bytes) -> str:
    """The name under which a session is kept; a database dump opens no session."""
    return sha256(token).hexdigest()


def record_open_session(unit: Unit, command: OpenSession) -> None:
    """Add the opening of a session to what `unit` saves."""
    facts = sessions.open_session(command.account, method=command.method)
    unit.record(command.session, 0, facts, actor=command.account)
    kept = KeptSession(session=command.session, opened_at=unit.at)
    unit.put(SESSION_KIND, command.account, command.token_hash, msgspec.json.encode(kept))


def handle_open_session(unit: Unit, command: OpenSession) -> users.Account:
    """Open it; whose it is. Raises `AccountNotFound`."""
    account = unit.load(command.account, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    _erase_outlived(unit, command.account)
    record_open_session(unit, command)
    return account


def _erase_outlived(unit: Unit, account: UUID) -> None:
    """Erase what was kept of sessions that ended by their age, whose cookie never came back."""
    for hashed, value in unit.log.vault_list(SESSION_KIND, account).items():
        opened_at = msgspec.json.decode(value, type=KeptSession).opened_at
        if not sessions.is_live(opened_at=opened_at, seen_at=unit.at, now=unit.at):
            unit.erase(SESSION_KIND, account, hashed)
            unit.erase(SEEN_KIND, account, hashed)


def handle_close_session(unit: Unit, command: CloseSession) -> None:
    """End it; a session that has ended before stays ended."""
    session = unit.load(command.session, sessions.evolve)
    facts = sessions.close_session(session, reason=command.reason)
    if session is None or not facts:
        return
    unit.record(command.session, session.version, facts)
    unit.erase(SESSION_KIND, session.account, command.token_hash)
    unit.erase(SEEN_KIND, session.account, command.token_hash)


HANDLERS: dict[type, Handler] = {
    OpenSession: handle_open_session,
    CloseSession: handle_close_session,
}


def actor_of(account: users.Account, session: UUID) -> Actor:
    """The account as the one who asks."""
    return Actor(
        account=account.id,
        number=account.number,
        username=account.username,
        permissions=account.permissions,
        session=str(session),
    )


class Sessions:
    """Finds the session of a token; what it found is believed for one second.

    A role given or taken, and a session closed elsewhere, act within that second.
    """

    def __init__(self, log: EventLogPort, *, monotonic: Callable[[], float]) -> None:
        self._log = log
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, SignIn]] = {}

    def recall(self, token: bytes) -> SignIn | None:
        """What was found within the last second; never asks the database."""
        cached = self._cache.get(token_hash(token))
        return cached[1] if cached and cached[0] > self._monotonic() else None

    def find(self, token: bytes, now: datetime) -> SignIn | None:
        """The live session of `token`, or None."""
        hashed = token_hash(token)
        found = self._log.vault_find(SESSION_KIND, hashed)
        if found is None:
            self._cache.pop(hashed, None)
            return None
        owner, value = found
        kept = msgspec.json.decode(value, type=KeptSession)
        seen_at = self._seen(owner, hashed, kept, now)
        if not sessions.is_live(opened_at=kept.opened_at, seen_at=seen_at, now=now):
            self._erase(owner, hashed)
            return None
        account = self._log.load(owner, users.evolve)
        if account is None:
            return None
        sign_in = SignIn(
            actor=actor_of(account, kept.session),
            session=kept.session,
            opened_at=kept.opened_at,
            seen_at=seen_at,
        )
        self._keep(hashed, sign_in)
        return sign_in

    def last_seen(self, account: UUID) -> datetime | None:
        """When a live session of the account was last noted as used; None when none was."""
        noted = self._log.vault_list(SEEN_KIND, account).values()
        return max((datetime.fromisoformat(value.decode()) for value in noted), default=None)

    def forget(self, token: bytes) -> None:
        """Ask the database again next time."""
        self._cache.pop(token_hash(token), None)

    def _seen(self, owner: UUID, hashed: str, kept: KeptSession, now: datetime) -> datetime:
        """When the session was last used; notes this use when that is a while ago."""
        if now - kept.opened_at < _TOUCH:
            return kept.opened_at
        # Kept apart from the session itself: a touch that meets a logout must not revive it.
        value = self._log.vault_get(SEEN_KIND, owner, hashed)
        seen_at = datetime.fromisoformat(value.decode()) if value else kept.opened_at
        if now - seen_at >= _TOUCH and sessions.is_live(
            opened_at=kept.opened_at, seen_at=seen_at, now=now
        ):
            touched = now.isoformat().encode()
            self._log.vault_write(
                puts=[VaultPut(kind=SEEN_KIND, owner=owner, id=hashed, value=touched)]
            )
            return now
        return seen_at

    def _erase(self, owner: UUID, hashed: str) -> None:
        self._cache.pop(hashed, None)
        self._log.vault_write(
            erasures=[
                VaultErasure(kind=kind, owner=owner, id=hashed)
                for kind in (SESSION_KIND, SEEN_KIND)
            ]
        )

    def _keep(self, hashed: str, sign_in: SignIn) -> None:
        if len(self._cache) >= _CACHE_ENTRIES:
            self._cache.clear()
        self._cache[hashed] = (self._monotonic() + _CACHE_SECONDS, sign_in)
