"""Sessions: opening, finding and closing them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec

from application.bus import Actor, Handler, Unit
from application.factors import SCOPE_SETTING, is_demanded, load_factors
from application.ports import EventLogPort, VaultErasure, VaultPut
from application.presence import PRESENCE_ID, PRESENCE_KIND, Seen, kept_presence
from domain import sessions, users
from domain.account_bans import AccountRefused
from domain.roles import ROLES, RoleBook, permissions_of
from domain.roles import evolve as evolve_roles
from domain.site import SITE, UNFOUNDED
from domain.site import evolve as evolve_site

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
    password_changes: int = 0


class LiveSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that still counts; `seen_at` is its last noted use."""

    session: UUID
    opened_at: datetime
    seen_at: datetime


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A live session: who, and since when.

    `lacks_factor` when the site wants a second factor of him, and he has none.
    """

    actor: Actor
    session: UUID
    opened_at: datetime
    seen_at: datetime
    lacks_factor: bool = False


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """Open a session for an account that has proven itself by `method`.

    `password_changes` is how often the password had been changed when that was proven: a
    session is void under any other count, so that none outlives its password by a race.
    `address` is where he signs in from, None where nobody knows.
    """

    account: UUID
    session: UUID
    token_hash: str
    method: str
    password_changes: int = 0
    address: str | None = None


class CloseSession(msgspec.Struct, frozen=True, kw_only=True):
    """End a session of the caller for good."""

    session: UUID
    token_hash: str
    reason: str


class RevokeSession(msgspec.Struct, frozen=True, kw_only=True):
    """End one of the caller's sessions for good."""

    session: UUID


class RevokeOtherSessions(msgspec.Struct, frozen=True, kw_only=True):
    """End all of the caller's sessions but `keep`."""

    keep: UUID


def token_hash(token: bytes) -> str:
    """The name under which a session is kept; a database dump opens no session."""
    return sha256(token).hexdigest()


def record_open_session(unit: Unit, command: OpenSession) -> None:
    """Add the opening of a session to what `unit` saves."""
    facts = sessions.open_session(command.account, method=command.method)
    unit.record(command.session, 0, facts, actor=command.account)
    kept = KeptSession(
        session=command.session, opened_at=unit.at, password_changes=command.password_changes
    )
    unit.put(SESSION_KIND, command.account, command.token_hash, msgspec.json.encode(kept))
    if command.address:
        seen = Seen(at=unit.at, address=command.address)
        unit.put(PRESENCE_KIND, command.account, PRESENCE_ID, msgspec.json.encode(seen))


def last_address_of(log: EventLogPort, account: UUID) -> str | None:
    """Where a member was last seen, None when that is not known."""
    kept = kept_presence(log, {account}).get(account)
    return kept.address if kept else None


def record_close_sessions(
    unit: Unit, account: UUID, *, reason: str, keep: UUID | None = None, only: UUID | None = None
) -> int:
    """Add the end of the account's sessions to what `unit` saves; how many they are.

    Without `keep`, the one to spare, and `only`, the one to end, it is all of them.
    """
    closed = 0
    for hashed, value in unit.log.vault_list(SESSION_KIND, account).items():
        session = msgspec.json.decode(value, type=KeptSession).session
        if session == keep or (only is not None and session != only):
            continue
        state = unit.load(session, sessions.evolve)
        facts = sessions.close_session(state, reason=reason)
        unit.record(session, state.version if state else 0, facts)
        unit.erase(SESSION_KIND, account, hashed)
        unit.erase(SEEN_KIND, account, hashed)
        closed += 1
    return closed


def handle_open_session(unit: Unit, command: OpenSession) -> users.Account:
    """Open it; whose it is. Raises `AccountNotFound`, `AccountRefused` for a banned member, and
    `CredentialsInvalid` when the password was changed since it was proven.
    """
    account = unit.load(command.account, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    if account.password_changes != command.password_changes:
        raise sessions.CredentialsInvalid()
    if account.is_banned(unit.at):
        raise AccountRefused()
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


def handle_revoke_session(unit: Unit, command: RevokeSession) -> None:
    """End it. Raises `SessionNotFound`, also for another member's."""
    account = unit.actor.account
    if not record_close_sessions(unit, account, reason="revoked", only=command.session):
        raise sessions.SessionNotFound()


def handle_revoke_other_sessions(unit: Unit, command: RevokeOtherSessions) -> int:
    """End them; how many they were."""
    return record_close_sessions(unit, unit.actor.account, reason="revoked", keep=command.keep)


HANDLERS: dict[type, Handler] = {
    OpenSession: handle_open_session,
    CloseSession: handle_close_session,
    RevokeSession: handle_revoke_session,
    RevokeOtherSessions: handle_revoke_other_sessions,
}


def actor_of(account: users.Account, session: UUID, book: RoleBook) -> Actor:
    """The account as the one who asks, with what its roles permit now."""
    return Actor(
        account=account.id,
        number=account.number,
        username=account.username,
        permissions=permissions_of(account.roles, book),
        session=str(session),
    )


class Sessions:
    """Finds the session of a token; what it found is believed for one second.

    A role given or taken, and a session closed elsewhere, act within that second, or at once
    where `forget_all` is called for them.
    """

    def __init__(self, log: EventLogPort, *, monotonic: Callable[[], float]) -> None:
        self._log = log
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, SignIn]] = {}
        self._revocations = 0

    def recall(self, token: bytes) -> SignIn | None:
        """What was found within the last second; never asks the database."""
        cached = self._cache.get(token_hash(token))
        return cached[1] if cached and cached[0] > self._monotonic() else None

    def find(self, token: bytes, now: datetime) -> SignIn | None:
        """The live session of `token`, or None."""
        hashed = token_hash(token)
        revocations = self._revocations
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
        if account is None or account.password_changes != kept.password_changes:
            return None
        if account.is_banned(now):
            return None
        actor = actor_of(account, kept.session, self._log.load(ROLES, evolve_roles) or RoleBook())
        sign_in = SignIn(
            actor=actor,
            session=kept.session,
            opened_at=kept.opened_at,
            seen_at=seen_at,
            lacks_factor=self._lacks_factor(actor),
        )
        # What was read before a revocation may be what it ended: not to be believed later.
        if revocations == self._revocations:
            self._keep(hashed, sign_in)
        return sign_in

    def list_live(self, account: UUID, now: datetime) -> list[LiveSession]:
        """The account's live sessions, newest first."""
        owner = self._log.load(account, users.evolve)
        seen = self._log.vault_list(SEEN_KIND, account)
        live = []
        for hashed, value in self._log.vault_list(SESSION_KIND, account).items():
            kept = msgspec.json.decode(value, type=KeptSession)
            noted = seen.get(hashed)
            seen_at = datetime.fromisoformat(noted.decode()) if noted else kept.opened_at
            counts = owner is not None and owner.password_changes == kept.password_changes
            if counts and sessions.is_live(opened_at=kept.opened_at, seen_at=seen_at, now=now):
                live.append(
                    LiveSession(session=kept.session, opened_at=kept.opened_at, seen_at=seen_at)
                )
        return sorted(live, key=lambda each: each.opened_at, reverse=True)

    def forget(self, token: bytes) -> None:
        """Ask the database again next time."""
        self._revocations += 1
        self._cache.pop(token_hash(token), None)

    def forget_account(self, account: UUID) -> None:
        """Ask the database again for every session of the account."""
        self._revocations += 1
        for hashed, (_until, sign_in) in list(self._cache.items()):
            if sign_in.actor.account == account:
                self._cache.pop(hashed, None)

    def _lacks_factor(self, actor: Actor) -> bool:
        scope = (self._log.load(SITE, evolve_site) or UNFOUNDED).setting(SCOPE_SETTING)
        return (
            is_demanded(scope, actor.permissions) and not load_factors(self._log, actor.account).any
        )

    def forget_all(self) -> None:
        """Ask the database again for everybody: what roles or the site permit has changed."""
        self._revocations += 1
        self._cache.clear()

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
