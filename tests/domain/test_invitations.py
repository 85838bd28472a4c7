"""Invitations: used once, in time, and given back to the quota they came from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain import invitations
from domain.errors import DomainError
from domain.invitations import (
    InvitationExpired,
    InvitationGiven,
    InvitationRevoked,
    InvitationUsed,
    code_digest,
)
from domain.kernel import Fact
from tests.kit.domain import folded

GIVER, NEWCOMER = UUID(int=1), UUID(int=2)
END = datetime(2026, 11, 1, tzinfo=UTC)
BEFORE = END - timedelta(microseconds=1)
GIVEN = InvitationGiven(
    creator=GIVER, digest=code_digest("A" * 32), from_quota=True, expires_at=END
)
USED = InvitationUsed(account=NEWCOMER)
REVOKED = InvitationRevoked(refunded=True)
EXPIRED = InvitationExpired(refunded=True)


def test_code_digest_knows_no_case() -> None:
    assert code_digest("ab12" * 8) == code_digest("AB12" * 8) != code_digest("AB13" * 8)
    assert GIVEN.claims() == (invitations.code_claim(GIVEN.digest),)


@pytest.mark.parametrize(
    ("facts", "at", "refusal"),
    [
        ((GIVEN,), BEFORE, None),
        ((GIVEN,), END, invitations.InvitationOverdue),
        ((GIVEN, EXPIRED), BEFORE, invitations.InvitationOverdue),
        ((GIVEN, USED), BEFORE, invitations.InvitationInvalid),
        ((GIVEN, REVOKED), BEFORE, invitations.InvitationInvalid),
        ((), BEFORE, invitations.InvitationInvalid),
    ],
)
def test_use_invitation_works_once_and_in_time(
    facts: tuple[Fact, ...], at: datetime, refusal: type[DomainError] | None
) -> None:
    invitation = folded(invitations.evolve, *facts)
    if refusal is None:
        assert invitations.use_invitation(invitation, NEWCOMER, at) == [USED]
    else:
        with pytest.raises(refusal):
            invitations.use_invitation(invitation, NEWCOMER, at)


@pytest.mark.parametrize("from_quota", [True, False])
def test_an_unused_invitation_goes_back_where_it_came_from(from_quota: bool) -> None:
    made = invitations.give_invitation(GIVER, "d", from_quota=from_quota, expires_at=END)
    invitation = folded(invitations.evolve, *made)
    assert invitation is not None
    revoked = invitations.revoke_invitation(invitation)
    expired = invitations.expire_invitation(invitation, END)
    assert revoked == [InvitationRevoked(refunded=from_quota)]
    assert expired == [InvitationExpired(refunded=from_quota)]
    assert invitations.is_refunded(revoked) is invitations.is_refunded(expired) is from_quota
    assert not invitations.is_refunded([USED])


def test_what_ended_is_not_taken_back() -> None:
    for end, refusal in (
        (USED, invitations.InvitationAlreadyUsed),
        (REVOKED, invitations.InvitationAlreadyEnded),
        (EXPIRED, invitations.InvitationAlreadyEnded),
    ):
        invitation = folded(invitations.evolve, GIVEN, end)
        assert invitation is not None
        with pytest.raises(refusal):
            invitations.revoke_invitation(invitation)
        assert invitations.expire_invitation(invitation, END) == []


def test_expire_invitation_waits_for_the_end() -> None:
    invitation = folded(invitations.evolve, GIVEN)
    assert invitations.expire_invitation(invitation, BEFORE) == []
    assert invitations.expire_invitation(None, END) == []
    steady = invitations.give_invitation(GIVER, "d", from_quota=True, expires_at=None)
    assert invitations.expire_invitation(folded(invitations.evolve, *steady), END) == []
