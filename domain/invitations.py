"""Invitations: a code that lets one newcomer in, paid from its giver's quota."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import ClassVar, Final
from uuid import UUID

import msgspec

from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel import Claim, Envelope, Fact

CODE_SIZE: Final = 16
"""Random bytes of a code; people see 32 upper-case hex digits."""


class InvitationGiven(Fact, frozen=True):
    """Somebody made an invitation; `from_quota` when it counts against what he may give.

    `digest` is SHA-256 of the code in hex. `expires_at` is None for one that stays valid.
    """

    TOPIC: ClassVar[str] = "invitation.given.1"

    creator: UUID
    digest: str
    from_quota: bool
    expires_at: datetime | None

    def claims(self) -> tuple[Claim, ...]:
        return (code_claim(self.digest),)


class InvitationUsed(Fact, frozen=True):
    """A newcomer registered with the invitation."""

    TOPIC: ClassVar[str] = "invitation.used.1"

    account: UUID


class InvitationRevoked(Fact, frozen=True):
    """An unused invitation was taken back; `refunded` when its giver may give it again."""

    TOPIC: ClassVar[str] = "invitation.revoked.1"

    refunded: bool


class InvitationExpired(Fact, frozen=True):
    """Nobody used the invitation in time; `refunded` when its giver may give it again."""

    TOPIC: ClassVar[str] = "invitation.expired.1"

    refunded: bool


FACTS: tuple[type[Fact], ...] = (
    InvitationGiven,
    InvitationUsed,
    InvitationRevoked,
    InvitationExpired,
)


class InvitationsDisabled(Forbidden):
    """The site does not work with invitations now."""

    code = "invitations_disabled"
    message = "Invitation system is currently disabled"


class InvitationInvalid(Invalid):
    """The invitation code is unknown, used or taken back."""

    code = "invitation_invalid"
    message = "Invalid invite code"


class InvitationOverdue(Forbidden):
    """The invitation code was not used in time."""

    code = "invitation_expired"
    message = "Invite code has expired"


class InvitationNotFound(NotFound):
    """No such invitation, or it is somebody else's."""

    code = "invitation_not_found"
    message = "Invitation not found"


class InvitationAlreadyUsed(Conflict):
    """A newcomer registered with it; there is nothing to take back."""

    code = "invitation_used"
    message = "This invitation was used already"


class InvitationAlreadyEnded(Conflict):
    """It was taken back or ran out before."""

    code = "invitation_ended"
    message = "This invitation is no longer valid"


class State(StrEnum):
    """Where an invitation stands."""

    ACTIVE = "active"
    USED = "used"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation as decisions see it."""

    id: UUID
    version: int
    creator: UUID
    from_quota: bool
    expires_at: datetime | None
    state: State = State.ACTIVE

    def is_overdue(self, at: datetime) -> bool:
        """Whether it ran out, though perhaps nobody wrote that down yet."""
        return self.expires_at is not None and at >= self.expires_at


def evolve(state: Invitation | None, envelope: Envelope) -> Invitation:
    """The invitation after one more fact."""
    version = envelope.originator_version
    match envelope.fact, state:
        case InvitationGiven() as given, None:
            return Invitation(
                id=envelope.originator_id,
                version=version,
                creator=given.creator,
                from_quota=given.from_quota,
                expires_at=given.expires_at,
            )
        case InvitationUsed(), Invitation():
            ended = State.USED
        case InvitationRevoked(), Invitation():
            ended = State.REVOKED
        case InvitationExpired(), Invitation():
            ended = State.EXPIRED
        case unknown, _:
            raise TypeError(f"not a fact of an invitation here: {type(unknown).__name__}")
    return msgspec.structs.replace(state, version=version, state=ended)


def code_digest(code: str) -> str:
    """What stands for a code wherever it is not needed itself; letter case does not matter."""
    return sha256(code.upper().encode()).hexdigest()


def code_claim(digest: str) -> Claim:
    """The claim that leads from a code to its invitation."""
    return Claim("invitation.code", digest)


def give_invitation(
    creator: UUID, digest: str, *, from_quota: bool, expires_at: datetime | None
) -> list[Fact]:
    """A new invitation."""
    return [
        InvitationGiven(
            creator=creator, digest=digest, from_quota=from_quota, expires_at=expires_at
        )
    ]


def use_invitation(invitation: Invitation | None, account: UUID, at: datetime) -> list[Fact]:
    """Let a newcomer in. Raises `InvitationInvalid`, `InvitationOverdue`."""
    if invitation is None or invitation.state in {State.USED, State.REVOKED}:
        raise InvitationInvalid()
    if invitation.state is State.EXPIRED or invitation.is_overdue(at):
        raise InvitationOverdue()
    return [InvitationUsed(account=account)]


def revoke_invitation(invitation: Invitation) -> list[Fact]:
    """Take it back; one from a quota goes back there.

    Raises `InvitationAlreadyUsed`, `InvitationAlreadyEnded`.
    """
    if invitation.state is State.USED:
        raise InvitationAlreadyUsed()
    if invitation.state is not State.ACTIVE:
        raise InvitationAlreadyEnded()
    return [InvitationRevoked(refunded=invitation.from_quota)]


def expire_invitation(invitation: Invitation | None, at: datetime) -> list[Fact]:
    """Write down that it ran out; nothing when it did not, or ended otherwise."""
    if invitation is None or invitation.state is not State.ACTIVE or not invitation.is_overdue(at):
        return []
    return [InvitationExpired(refunded=invitation.from_quota)]


def is_refunded(facts: Sequence[Fact]) -> bool:
    """Whether these facts give an invitation back to its giver's quota."""
    return any(
        isinstance(fact, InvitationRevoked | InvitationExpired) and fact.refunded for fact in facts
    )
