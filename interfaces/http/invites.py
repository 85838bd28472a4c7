"""A member's own invitations."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query

from application.invitations import (
    GiveInvitation,
    GivenInvitations,
    RevokedInvitation,
    RevokeInvitation,
    code_of,
    codes_of,
)
from application.ports import Entropy
from domain.errors import Conflict, Forbidden, NotFound
from domain.invitations import CODE_SIZE
from interfaces.http.deps import Commands, Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Reply
from interfaces.http.paging import PageNumber, Pagination, offset_of, pagination
from projections.invitations import InvitationRow, count_given, list_given
from projections.users import find_account

router = APIRouter(tags=["Invitations"])

InvitationId = Annotated[UUID, Path(alias="id", description="The invitation's id.")]
InvitationState = Literal["active", "used", "expired", "revoked"]


class InviteUserReply(Reply):
    """A member an invitation concerns."""

    id: UUID
    username: str


class InviteReply(Reply):
    """An invitation; `code` is null once it can't be used any more."""

    id: UUID
    code: str | None
    status: InvitationState
    created_at: Instant
    expires_at: Instant | None
    used_at: Instant | None
    used_by_user: InviteUserReply | None


class InvitesReply(Reply):
    """One page of invitations, the newest first, and how many more may be given."""

    invites: list[InviteReply]
    remaining: int
    pagination: Pagination


class GiveInviteBody(Body):
    """How long the code works: 1, 7, 30 or 90 days, null for ever; 7 days when not told."""

    expires_in_days: Literal[1, 7, 30, 90] | None = 7


class NewInviteReply(Reply):
    """An invitation just made."""

    id: UUID
    code: str | None
    expires_at: Instant | None


class GiveInviteReply(Reply):
    success: bool = True
    invite: NewInviteReply


class RevokeInviteReply(Reply):
    """`refunded` when the invitation may be given again."""

    success: bool = True
    refunded: bool


def new_code(entropy: Entropy) -> str:
    """128 random bits as 32 upper-case hex digits."""
    return entropy.token(CODE_SIZE).hex().upper()


def expiry(at: datetime, days: int | None) -> datetime | None:
    """The end of a code made at `at` that works for so many days; None for ever."""
    return None if days is None else at + timedelta(days=days)


def used_by_of(row: InvitationRow) -> InviteUserReply | None:
    if row.used_by is None or row.used_by_name is None:
        return None
    return InviteUserReply(id=row.used_by, username=row.used_by_name)


@router.get("/api/invites")
def list_invitations(
    caller: SignedIn,
    reads: Reads,
    services: Services,
    *,
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows of a page.")] = 50,
) -> InvitesReply:
    """List the caller's invitations, and how many more he may give."""
    offset = offset_of(page, limit)
    with reads.connection() as connection:
        rows = list_given(connection, caller.account, limit=limit, offset=offset)
        total = count_given(connection, caller.account)
        account = find_account(connection, caller.account)
    codes, now = codes_of(services.log, caller.account), services.clock()
    shown = [
        InviteReply.model_validate(
            {
                "id": row.id,
                "status": (status := row.state_at(now)),
                "code": codes.get(row.id) if status == "active" else None,
                "created_at": row.given_at,
                "expires_at": row.expires_at,
                "used_at": row.ended_at if row.used_by else None,
                "used_by_user": used_by_of(row),
            }
        )
        for row in rows
    ]
    return InvitesReply(
        invites=shown,
        remaining=account.invites if account else 0,
        pagination=pagination(page, limit, total),
    )


@router.post("/api/invites", responses=refusals(Forbidden))
def give_invitation(
    caller: SignedIn,
    services: Services,
    call: Commands,
    body: GiveInviteBody | None = None,
) -> GiveInviteReply:
    """Make an invitation; it counts against those the caller may give."""
    given: GivenInvitations = call.dispatch(
        GiveInvitation(
            invitation=services.entropy.uuid(),
            code=new_code(services.entropy),
            expires_at=expiry(call.context.at, (body or GiveInviteBody()).expires_in_days),
        )
    )
    (invitation,) = given.invitations
    # From the vault, not from what was just drawn: a repeated request gets the first one's code.
    code = code_of(services.log, caller.account, invitation)
    invite = NewInviteReply(id=invitation, code=code, expires_at=given.expires_at)
    return GiveInviteReply(invite=invite)


@router.delete("/api/invites/{id}", responses=refusals(NotFound, Conflict))
def revoke_invitation(
    invitation: InvitationId, _caller: SignedIn, call: Commands
) -> RevokeInviteReply:
    """Take an unused invitation back; it may be given again."""
    revoked: RevokedInvitation = call.dispatch(RevokeInvitation(invitation=invitation))
    return RevokeInviteReply(refunded=revoked.refunded)
