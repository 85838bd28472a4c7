"""Any order of invitations on the real log: none is lost, none comes from nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from application.bus import Actor, Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.invitations import (
    ExpireInvitation,
    GenerateInvitations,
    GiveInvitation,
    GrantInvites,
    RevokeAnyInvitation,
    RevokeInvitation,
    codes_of,
)
from application.site import ChangeSettings
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain import invitations, users
from domain.errors import Conflict, Forbidden, Invalid
from domain.invitations import InvitationGiven, State
from domain.users import AccountInvitesGranted, AccountRegistered
from tests.application.test_users import register
from tests.kit.servers import TestServers

START = datetime(2026, 11, 1, tzinfo=UTC)


def machine(servers: TestServers) -> type[RuleBasedStateMachine]:  # noqa: C901  rules of one machine
    """The state machine over fresh databases of these servers."""

    class Invitations(RuleBasedStateMachine):
        """Members give, take back and use; time passes; staff grants and generates."""

        codes = Bundle("codes")

        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            self.log = self.stack.enter_context(_log(servers))
            self.bus = Bus(self.log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)
            self.now = START
            self.members: list[UUID] = []

        def teardown(self) -> None:
            self.stack.close()

        def send(self, command: Any, member: UUID | None = None) -> Any:
            actor = member and Actor(account=member, number=1, username="x")
            context = Context(at=self.now, command=uuid4(), correlation=uuid4(), actor=actor)
            return self.bus.dispatch(command, context).result

        @initialize()
        def found(self) -> None:
            founder = register("root")
            self.send(founder)
            self.send(ChangeSettings(changes={"registrationOpen": False, "inviteEnabled": True}))
            self.members.append(founder.account)

        @rule(target=codes, pick=st.integers(0, 9), days=st.sampled_from([None, 1, 7]))
        def give(self, pick: int, days: int | None) -> Any:
            invitation, code = uuid4(), uuid4().hex.upper()
            end = None if days is None else self.now + timedelta(days=days)
            member = self.members[pick % len(self.members)]
            asked = GiveInvitation(invitation=invitation, code=code, expires_at=end)
            try:
                self.send(asked, member)
            except users.NoInvitesLeft:
                return multiple()
            assert codes_of(self.log, member)[invitation] == code
            return invitation, code

        @rule(target=codes)
        def generate(self) -> tuple[UUID, str]:
            made = uuid4(), uuid4().hex.upper()
            self.send(GenerateInvitations(codes=(made,), expires_at=None), self.members[0])
            return made

        @rule(pick=st.integers(0, 9), amount=st.integers(1, 3))
        def grant(self, pick: int, amount: int) -> None:
            self.send(GrantInvites(account=self.members[pick % len(self.members)], amount=amount))

        @rule(made=codes, by_staff=st.booleans(), pick=st.integers(0, 9))
        def revoke(self, made: tuple[UUID, str], by_staff: bool, pick: int) -> None:
            kind = RevokeAnyInvitation if by_staff else RevokeInvitation
            command = kind(invitation=made[0])
            try:
                self.send(command, self.members[pick % len(self.members)])
            except (Conflict, invitations.InvitationNotFound):
                return

        @rule(made=codes)
        def use(self, made: tuple[UUID, str]) -> None:
            command = register(f"member{len(self.members)}", invite=made[1])
            usable = self.stands(made[0])
            try:
                self.send(command)
            except (Invalid, Forbidden):
                assert not usable
                return
            assert usable
            self.members.append(command.account)

        @rule(made=codes, hours=st.integers(1, 80))
        def wait(self, made: tuple[UUID, str], hours: int) -> None:
            self.now += timedelta(hours=hours)
            self.send(ExpireInvitation(invitation=made[0]))

        def stands(self, invitation: UUID) -> bool:
            known = self.log.load(invitation, invitations.evolve)
            assert known is not None
            return known.state is State.ACTIVE and not known.is_overdue(self.now)

        @invariant()
        def nothing_is_lost(self) -> None:
            granted = counted = 0
            for recorded in self.log.read(0, 10_000)[0]:
                envelope = recorded.envelope
                match envelope.fact:
                    case AccountRegistered(invites=invites):
                        granted += invites
                        account = self.log.load(envelope.originator_id, users.evolve)
                        assert account is not None
                        assert account.invites >= 0
                        counted += account.invites
                    case AccountInvitesGranted(amount=amount):
                        granted += amount
                    case InvitationGiven(from_quota=True):
                        known = self.log.load(envelope.originator_id, invitations.evolve)
                        assert known is not None
                        counted += known.state in {State.ACTIVE, State.USED}
            assert counted == granted

    return Invitations


@contextmanager
def _log(servers: TestServers) -> Iterator[EventLog]:
    with servers.database() as database:
        log = EventLog(database.app_url, Keyring.generate(), registry())
        try:
            yield log
        finally:
            log.close()


@pytest.mark.timeout(180)
def test_quota_outstanding_and_used_invitations_add_up(servers: TestServers) -> None:
    run_state_machine_as_test(
        machine(servers),
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            # The first failure as it is: shrinking one on a real log outlasts the timeout.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
