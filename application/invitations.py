"""Giving, taking back and using invitations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.ports import EventLogPort
from application.site import load_site
from domain import invitations, users
from domain.invitations import Invitation
from domain.kernel import Fact

CODE_KIND: Final = "invitation_code"
"""Vault kind of the codes that can still be used: by giver, named by the invitation's id."""


class GiveInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """Make an invitation from the caller's quota."""

    invitation: UUID
    code: str
    expires_at: datetime | None


class GenerateInvitations(msgspec.Struct, frozen=True, kw_only=True):
    """Make invitations that count against nobody's quota; `codes` by the ids of them."""

    codes: tuple[tuple[UUID, str], ...]
    expires_at: datetime | None


class GivenInvitations(msgspec.Struct, frozen=True, kw_only=True):
    """The invitations that were made. Their codes are read from the vault."""

    invitations: tuple[UUID, ...]
    expires_at: datetime | None


class RevokeInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """Take an unused invitation of the caller's own back."""

    invitation: UUID


class RevokeAnyInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """Take anyone's unused invitation back."""

    invitation: UUID


class RevokedInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether its giver may give it again."""

    refunded: bool


class ExpireInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that an invitation ran out; harmless when it did not."""

    invitation: UUID


class GrantInvites(msgspec.Struct, frozen=True, kw_only=True):
    """Let an account give more invitations."""

    account: UUID
    amount: int


def handle_give_invitation(unit: Unit, command: GiveInvitation) -> GivenInvitations:
    """Make it. Raises `InvitationsDisabled`, `NoInvitesLeft`."""
    _require_enabled(unit)
    account = unit.load(unit.actor.account, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    unit.record(account.id, account.version, users.spend_invite(account, command.invitation))
    _give(unit, command.invitation, command.code, command.expires_at, from_quota=True)
    return GivenInvitations(invitations=(command.invitation,), expires_at=command.expires_at)


def handle_generate_invitations(unit: Unit, command: GenerateInvitations) -> GivenInvitations:
    """Make them. Raises `InvitationsDisabled`."""
    _require_enabled(unit)
    for invitation, code in command.codes:
        _give(unit, invitation, code, command.expires_at, from_quota=False)
    made = tuple(invitation for invitation, _ in command.codes)
    return GivenInvitations(invitations=made, expires_at=command.expires_at)


def handle_revoke_invitation(unit: Unit, command: RevokeInvitation) -> RevokedInvitation:
    """Take it back. Raises `InvitationNotFound`, `InvitationAlreadyUsed`,
    `InvitationAlreadyEnded`.
    """
    invitation = unit.find(command.invitation, invitations.evolve)
    if invitation is None or invitation.creator != unit.actor.account:
        raise invitations.InvitationNotFound()
    return _revoke(unit, invitation)


def handle_revoke_any_invitation(unit: Unit, command: RevokeAnyInvitation) -> RevokedInvitation:
    """Take it back; refusals as of one's own."""
    invitation = unit.find(command.invitation, invitations.evolve)
    if invitation is None:
        raise invitations.InvitationNotFound()
    return _revoke(unit, invitation)


def handle_expire_invitation(unit: Unit, command: ExpireInvitation) -> None:
    """Write it down, and give it back to the quota it came from."""
    invitation = unit.load(command.invitation, invitations.evolve)
    facts = invitations.expire_invitation(invitation, unit.at)
    if invitation is not None and facts:
        _end(unit, invitation, facts)


def handle_grant_invites(unit: Unit, command: GrantInvites) -> int:
    """Grant them; how many he may give now. Raises `AccountNotFound`."""
    account = unit.find(command.account, users.evolve)
    facts = users.grant_invites(account, command.amount)
    if account is None:
        raise users.AccountNotFound()
    unit.record(account.id, account.version, facts)
    return account.invites + command.amount


def use_invitation(unit: Unit, code: str, newcomer: UUID) -> None:
    """Record that `newcomer` registers with `code`.

    Raises `InvitationInvalid` for one that is unknown, used or taken back, and
    `InvitationOverdue`. Of two who use it at once the second finds it used.
    """
    found = unit.claim_owner(invitations.code_claim(invitations.code_digest(code)))
    invitation = unit.load(found, invitations.evolve) if found else None
    creator = unit.load(invitation.creator, users.evolve) if invitation else None
    if creator is None or creator.is_banned(unit.at):
        # While its giver is shut out, he lets nobody in.
        raise invitations.InvitationInvalid()
    facts = invitations.use_invitation(invitation, newcomer, unit.at)
    if invitation is not None:
        unit.record(invitation.id, invitation.version, facts, actor=newcomer)
        unit.erase(CODE_KIND, invitation.creator, invitation.id.hex)


def codes_of(log: EventLogPort, creator: UUID) -> dict[UUID, str]:
    """The codes a member gave that can still be used, by the ids of their invitations."""
    kept = log.vault_list(CODE_KIND, creator)
    return {UUID(hex=name): code.decode() for name, code in kept.items()}


def code_of(log: EventLogPort, creator: UUID, invitation: UUID) -> str | None:
    """The code of an invitation, None when it can't be used any more."""
    code = log.vault_get(CODE_KIND, creator, invitation.hex)
    return code.decode() if code else None


def _require_enabled(unit: Unit) -> None:
    if load_site(unit).setting("inviteEnabled") is not True:
        raise invitations.InvitationsDisabled()


def _give(
    unit: Unit, invitation: UUID, code: str, expires_at: datetime | None, *, from_quota: bool
) -> None:
    creator = unit.actor.account
    facts = invitations.give_invitation(
        creator, invitations.code_digest(code), from_quota=from_quota, expires_at=expires_at
    )
    unit.record(invitation, 0, facts)
    unit.put(CODE_KIND, creator, invitation.hex, code.encode())


def _revoke(unit: Unit, invitation: Invitation) -> RevokedInvitation:
    facts = invitations.revoke_invitation(invitation)
    _end(unit, invitation, facts)
    return RevokedInvitation(refunded=invitations.is_refunded(facts))


def _end(unit: Unit, invitation: Invitation, facts: Sequence[Fact]) -> None:
    unit.record(invitation.id, invitation.version, facts)
    unit.erase(CODE_KIND, invitation.creator, invitation.id.hex)
    creator = unit.load(invitation.creator, users.evolve)
    if invitations.is_refunded(facts) and creator is not None:
        unit.record(creator.id, creator.version, users.refund_invite(invitation.id))


HANDLERS: dict[type, Handler] = {
    GiveInvitation: handle_give_invitation,
    GenerateInvitations: handle_generate_invitations,
    RevokeInvitation: handle_revoke_invitation,
    RevokeAnyInvitation: handle_revoke_any_invitation,
    ExpireInvitation: handle_expire_invitation,
    GrantInvites: handle_grant_invites,
}
