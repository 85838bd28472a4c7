"""Sessions on the real log: found by their token, touched, idle, over, closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from application import sessions as app_sessions
from application.bus import Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.password_proofs import Verifier
from application.roles import GrantRole
from application.sessions import CloseSession, OpenSession, Sessions, token_hash
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from application.users import RegisterAccount
from domain.sessions import ABSOLUTE_LIFE, IDLE_LIFE, SessionClosed
from domain.users import AccountNotFound

START = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = b"t" * 32


class Door:
    """A founded site whose one member signs in and out at given instants."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.bus = Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)
        self.seconds = 0.0
        self.sessions = Sessions(log, monotonic=lambda: self.seconds)
        self.account = uuid4()
        self.dispatch(
            RegisterAccount(
                account=self.account,
                username="alice",
                kid=1,
                verifier=Verifier(salt="s" * 44, verifier="v" * 44),
                invite=None,
                may_found=True,
                session=uuid4(),
                token_hash=token_hash(b"first"),
            )
        )

    def dispatch(self, command: Any, at: datetime = START) -> Any:
        context = Context(at=at, command=uuid4(), correlation=uuid4())
        return self.bus.dispatch(command, context).result

    def sign_in(self, token: bytes = TOKEN, at: datetime = START) -> UUID:
        session = uuid4()
        self.dispatch(
            OpenSession(
                account=self.account,
                session=session,
                token_hash=token_hash(token),
                method="password",
            ),
            at,
        )
        return session


@pytest.fixture
def door(app_url: str) -> Iterator[Door]:
    log = EventLog(app_url, Keyring.generate(), registry())
    yield Door(log)
    log.close()


def test_a_session_is_found_by_its_token_and_nothing_else(door: Door) -> None:
    session = door.sign_in()
    found = door.sessions.find(TOKEN, START)
    assert found is not None
    assert (found.session, found.actor.username) == (session, "alice")
    assert found.actor.session == str(session)
    assert "canAccessAdmin" in found.actor.permissions
    assert door.sessions.find(b"u" * 32, START) is None
    assert door.sessions.find(b"", START) is None


def test_a_session_token_is_kept_nowhere(door: Door) -> None:
    door.sign_in()
    kept = door.log.vault_list("session", door.account)
    assert token_hash(TOKEN) in kept
    assert all(TOKEN not in value and TOKEN.hex().encode() not in value for value in kept.values())


def test_what_was_found_is_believed_for_a_second(door: Door) -> None:
    door.sign_in()
    assert door.sessions.recall(TOKEN) is None
    found = door.sessions.find(TOKEN, START)
    door.seconds = 0.9
    assert door.sessions.recall(TOKEN) == found
    door.seconds = 1.1
    assert door.sessions.recall(TOKEN) is None


@pytest.mark.parametrize("what", ["session", "account", "everybody"])
def test_a_look_that_began_before_a_revocation_is_not_believed_later(
    door: Door, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    door.sign_in()
    forget = {
        "session": lambda: door.sessions.forget(TOKEN),
        "account": lambda: door.sessions.forget_account(door.account),
        "everybody": door.sessions.forget_all,
    }[what]
    found_in_vault = door.log.vault_find

    def revoked_meanwhile(kind: str, id: str) -> Any:
        found = found_in_vault(kind, id)
        forget()
        return found

    monkeypatch.setattr(door.log, "vault_find", revoked_meanwhile)
    assert door.sessions.find(TOKEN, START) is not None
    assert door.sessions.recall(TOKEN) is None


def test_a_role_given_acts_on_the_next_look(door: Door) -> None:
    door.sign_in()
    door.dispatch(GrantRole(account=door.account, role="moderator", reason="helps"))
    found = door.sessions.find(TOKEN, START)
    assert found is not None
    assert "canModerate" in found.actor.permissions


def test_close_session_ends_it_for_good(door: Door) -> None:
    session = door.sign_in()
    other = door.sign_in(b"o" * 32)
    door.sessions.find(TOKEN, START)
    close = CloseSession(session=session, token_hash=token_hash(TOKEN), reason="logout")
    door.dispatch(close)
    assert door.sessions.find(TOKEN, START) is None
    assert door.sessions.recall(TOKEN) is None
    remaining = door.sessions.find(b"o" * 32, START)
    assert remaining is not None
    assert remaining.session == other
    head = door.log.head()
    door.dispatch(close)
    assert door.log.head() == head
    assert isinstance(door.log.read(head - 1, 1)[0][0].envelope.fact, SessionClosed)


def test_forget_asks_the_database_again(door: Door) -> None:
    door.sign_in()
    door.sessions.find(TOKEN, START)
    door.sessions.forget(TOKEN)
    assert door.sessions.recall(TOKEN) is None


def test_a_session_ends_with_its_age_and_is_erased(door: Door) -> None:
    door.sign_in()
    at = START
    while at < START + ABSOLUTE_LIFE - timedelta(days=1):
        at += timedelta(days=1)
        assert door.sessions.find(TOKEN, at) is not None
    assert door.sessions.find(TOKEN, START + ABSOLUTE_LIFE) is None
    assert door.log.vault_find("session", token_hash(TOKEN)) is None
    assert door.log.vault_find("session_seen", token_hash(TOKEN)) is None
    assert door.sessions.find(TOKEN, START) is None


def test_signing_in_erases_what_is_kept_of_outlived_sessions(door: Door) -> None:
    door.sign_in(b"a" * 32)
    assert door.sessions.find(b"a" * 32, START + timedelta(hours=2)) is not None
    door.sign_in(b"b" * 32, START + timedelta(days=3))
    door.sign_in(b"c" * 32, START + ABSOLUTE_LIFE)
    kept = door.log.vault_list("session", door.account)
    assert set(kept) == {token_hash(b"b" * 32), token_hash(b"c" * 32)}
    assert not door.log.vault_list("session_seen", door.account)


def test_a_session_ends_when_it_is_idle(door: Door) -> None:
    door.sign_in()
    used = START + timedelta(hours=2)
    assert door.sessions.find(TOKEN, used) is not None
    almost = used + IDLE_LIFE - timedelta(seconds=1)
    assert door.sessions.find(TOKEN, almost) is not None
    assert door.sessions.find(TOKEN, almost + IDLE_LIFE) is None


def test_use_is_noted_once_an_hour(door: Door) -> None:
    door.sign_in()
    soon = door.sessions.find(TOKEN, START + timedelta(minutes=59))
    assert soon is not None
    assert soon.seen_at == START
    assert door.log.vault_find("session_seen", token_hash(TOKEN)) is None
    later = START + timedelta(minutes=61)
    touched = door.sessions.find(TOKEN, later)
    assert touched is not None
    assert touched.seen_at == later
    again = door.sessions.find(TOKEN, later + timedelta(minutes=30))
    assert again is not None
    assert again.seen_at == later


def test_a_touch_that_meets_a_logout_does_not_revive_the_session(door: Door) -> None:
    session = door.sign_in()
    later = START + timedelta(hours=2)
    door.dispatch(CloseSession(session=session, token_hash=token_hash(TOKEN), reason="logout"))
    door.log.vault_write(
        puts=[
            app_sessions.VaultPut(
                kind="session_seen",
                owner=door.account,
                id=token_hash(TOKEN),
                value=later.isoformat().encode(),
            )
        ]
    )
    assert door.sessions.find(TOKEN, later) is None


def test_a_session_of_an_account_that_is_not_there_opens_nothing(door: Door) -> None:
    kept = app_sessions.KeptSession(session=uuid4(), opened_at=START)
    door.log.vault_write(
        puts=[
            app_sessions.VaultPut(
                kind="session",
                owner=uuid4(),
                id=token_hash(TOKEN),
                value=msgspec.json.encode(kept),
            )
        ]
    )
    assert door.sessions.find(TOKEN, START) is None
    stranger = OpenSession(account=uuid4(), session=uuid4(), token_hash="x", method="password")
    with pytest.raises(AccountNotFound):
        door.dispatch(stranger)


def test_the_memory_of_sessions_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_sessions, "_CACHE_ENTRIES", 1)
    door.sign_in()
    door.sign_in(b"o" * 32)
    door.sessions.find(TOKEN, START)
    door.sessions.find(b"o" * 32, START)
    assert door.sessions.recall(TOKEN) is None
    assert door.sessions.recall(b"o" * 32) is not None
