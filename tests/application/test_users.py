"""Registration on the real log: who may, what is recorded, and races with one winner."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.bus import Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.password_proofs import Verifier
from application.roles import GrantRole
from application.sessions import token_hash
from application.site import ChangeSettings
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from application.users import RegisterAccount, Registered, SetUpCodeRequired
from domain import site, users
from domain.errors import DomainError
from domain.invitations import InvitationInvalid

RACERS = 30


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry(), max_overflow=RACERS)
    yield opened
    opened.close()


@pytest.fixture
def bus(log: EventLog) -> Bus:
    return Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)


def register(username: str, **more: Any) -> RegisterAccount:
    return RegisterAccount(
        **{
            "account": uuid4(),
            "username": username,
            "kid": 1,
            "verifier": Verifier(salt="s" * 44, verifier="v" * 44),
            "invite": None,
            "may_found": True,
            "session": uuid4(),
            "token_hash": token_hash(uuid4().bytes),
            **more,
        }
    )


def dispatch(bus: Bus, command: Any) -> Any:
    context = Context(at=datetime.now(UTC), command=uuid4(), correlation=uuid4())
    return bus.dispatch(command, context).result


def race(bus: Bus, commands: list[RegisterAccount]) -> tuple[list[Registered], list[DomainError]]:
    """All commands at once; who was registered, and what the others were told."""
    barrier = Barrier(len(commands))

    def run(command: RegisterAccount) -> Registered | DomainError:
        barrier.wait()
        try:
            return dispatch(bus, command)
        except DomainError as refusal:
            return refusal

    with ThreadPoolExecutor(len(commands)) as threads:
        outcomes = list(threads.map(run, commands))
    return (
        [outcome for outcome in outcomes if isinstance(outcome, Registered)],
        [outcome for outcome in outcomes if isinstance(outcome, DomainError)],
    )


def account(log: EventLog, id: UUID) -> users.Account | None:
    return log.load(id, users.evolve)


def test_register_account_founds_the_site(bus: Bus, log: EventLog) -> None:
    command = register("Root")
    made = dispatch(bus, command)
    assert (made.is_first, made.roles) == (True, frozenset({"administrator"}))
    state = log.load(site.SITE, site.evolve)
    assert state is not None
    assert state.founder == command.account
    assert state.setting("registrationOpen") is False
    founder = account(log, command.account)
    assert founder is not None
    assert (founder.number, founder.invites) == (made.number, users.FOUNDER_INVITES)
    facts = [recorded.envelope for recorded in log.read(0, 100)[0]]
    assert [envelope.fact.TOPIC for envelope in facts] == [
        "site.founded.1",
        "site.settings_changed.1",
        "administrator.appointed.1",
        "account.registered.1",
        "account.role_granted.1",
        "session.opened.1",
    ]
    assert {envelope.meta.actor for envelope in facts} == {command.account}


def test_register_account_keeps_the_verifier_in_the_vault_only(bus: Bus, log: EventLog) -> None:
    command = register("Root", verifier=Verifier(salt="A" * 44, verifier="B" * 44))
    dispatch(bus, command)
    kept = log.vault_get("password", command.account, "current")
    assert kept is not None
    assert b"B" * 44 in kept
    facts = repr([recorded.envelope.fact for recorded in log.read(0, 100)[0]])
    assert "A" * 44 not in facts
    assert "B" * 44 not in facts
    assert command.token_hash not in facts


def test_register_account_follows_the_settings_of_the_moment(bus: Bus, log: EventLog) -> None:
    dispatch(bus, register("root"))
    with pytest.raises(users.RegistrationClosed):
        dispatch(bus, register("alice"))
    dispatch(
        bus,
        ChangeSettings(
            changes={"registrationOpen": True, "starterUpload": 10**9, "defaultInvites": 4}
        ),
    )
    command = register("alice")
    made = dispatch(bus, command)
    assert (made.is_first, made.roles, made.starter_upload) == (False, frozenset(), 10**9)
    newcomer = account(log, command.account)
    assert newcomer is not None
    assert newcomer.invites == 4
    dispatch(bus, ChangeSettings(changes={"registrationOpen": False, "inviteEnabled": True}))
    with pytest.raises(users.InvitationRequired):
        dispatch(bus, register("bob"))
    with pytest.raises(InvitationInvalid):
        dispatch(bus, register("bob", invite="A" * 32))


def test_register_account_wants_the_set_up_code_for_the_first_only(bus: Bus, log: EventLog) -> None:
    with pytest.raises(SetUpCodeRequired):
        dispatch(bus, register("root", may_found=False))
    assert log.head() == 0
    dispatch(bus, register("root"))
    dispatch(bus, ChangeSettings(changes={"registrationOpen": True}))
    assert dispatch(bus, register("alice", may_found=False)).is_first is False


def test_register_account_refuses_a_name_of_another_in_any_case(bus: Bus, log: EventLog) -> None:
    dispatch(bus, register("root"))
    dispatch(bus, ChangeSettings(changes={"registrationOpen": True}))
    dispatch(bus, register("Alice"))
    head = log.head()
    with pytest.raises(users.UsernameTaken):
        dispatch(bus, register("aLICE"))
    with pytest.raises(users.UsernameInvalid):
        dispatch(bus, register("no spaces"))
    assert log.head() == head


def test_of_thirty_first_registrations_one_founds_the_site(bus: Bus, log: EventLog) -> None:
    made, refused = race(bus, [register(f"root{number}") for number in range(RACERS)])
    assert len(made) == 1
    assert made[0].is_first
    assert {type(refusal) for refusal in refused} == {users.RegistrationClosed}
    topics = [recorded.envelope.fact.TOPIC for recorded in log.read(0, 1000)[0]]
    assert topics.count("account.registered.1") == 1
    assert topics.count("account.role_granted.1") == 1


def test_of_thirty_registrations_of_one_name_one_gets_it(bus: Bus, log: EventLog) -> None:
    dispatch(bus, register("root"))
    dispatch(bus, ChangeSettings(changes={"registrationOpen": True}))
    names = ["Alice" if number % 2 else "alice" for number in range(RACERS)]
    made, refused = race(bus, [register(name) for name in names])
    assert len(made) == 1
    assert {type(refusal) for refusal in refused} == {users.UsernameTaken}
    topics = [recorded.envelope.fact.TOPIC for recorded in log.read(0, 1000)[0]]
    assert topics.count("account.registered.1") == 2


def test_grant_role_is_recorded_with_its_reason(bus: Bus, log: EventLog) -> None:
    command = register("root")
    dispatch(bus, command)
    dispatch(bus, GrantRole(account=command.account, role="moderator", reason="helps"))
    holder = account(log, command.account)
    assert holder is not None
    assert holder.roles == {"administrator", "moderator"}
    with pytest.raises(users.AccountNotFound):
        dispatch(bus, GrantRole(account=uuid4(), role="moderator", reason="helps"))


def test_change_settings_answers_them_all_and_records_nothing_twice(
    bus: Bus, log: EventLog
) -> None:
    answer = dispatch(bus, ChangeSettings(changes={"siteTitle": "Harbour"}))
    assert answer["siteTitle"] == "Harbour"
    assert answer["registrationOpen"] is True
    head = log.head()
    assert dispatch(bus, ChangeSettings(changes={"siteTitle": "Harbour"})) == answer
    assert log.head() == head
    with pytest.raises(site.SettingUnknown):
        dispatch(bus, ChangeSettings(changes={"nonsense": 1}))
