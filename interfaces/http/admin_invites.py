"""Everyone's invitations, for administrators, and who let whom in, for staff."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from application.invitations import (
    GenerateInvitations,
    GivenInvitations,
    GrantInvites,
    RevokeAnyInvitation,
    RevokedInvitation,
    code_of,
    codes_of,
)
from domain.errors import Conflict, Forbidden, NotFound
from domain.users import AccountNotFound
from interfaces.http.deps import Administrator, Commands, Reads, Services, Staff
from interfaces.http.errors import refusals
from interfaces.http.invites import (
    InvitationId,
    InvitationState,
    InviteUserReply,
    RevokeInviteReply,
    expiry,
    new_code,
    used_by_of,
)
from interfaces.http.models import Body, Instant, Line, Reply
from interfaces.http.paging import PageNumber, Pagination, offset_of, pagination
from interfaces.http.services import HttpServices
from projections import invitations
from projections.invitations import InvitationRow, InvitedRow, Status
from projections.users import find_account

router = APIRouter(tags=["Invitations"])

PageSize = Annotated[int, Query(ge=1, le=50, description="Rows of a page.")]


class AdminInviteReply(Reply):
    """An invitation; `codePreview` shows the ends of a code that still works."""

    id: UUID
    code_preview: str | None
    status: InvitationState
    from_quota: bool
    creator: InviteUserReply
    created_at: Instant
    expires_at: Instant | None
    used_at: Instant | None
    used_by_user: InviteUserReply | None


class InviteCounts(Reply):
    """How many invitations stand where."""

    total: int
    active: int
    used: int
    expired: int
    revoked: int


class AdminInvitesReply(Reply):
    """One page of invitations, the newest first."""

    data: list[AdminInviteReply]
    counts: InviteCounts
    pagination: Pagination


class GenerateInvitesBody(Body):
    """How many, and for how many days; null for ever."""

    count: Annotated[int, Field(ge=1, le=50)] = 1
    expires_in_days: Annotated[int, Field(ge=1, le=365)] | None = None


class GenerateInvitesReply(Reply):
    """The codes to share; null for one that was used before a repeated request asked again."""

    success: bool = True
    codes: list[str | None]
    expires_at: Instant | None


class GrantInvitesBody(Body):
    """To whom, and how many more he may give."""

    user_id: UUID
    count: Annotated[int, Field(ge=1, le=100)]


class GrantInvitesReply(Reply):
    success: bool = True
    invites_remaining: int


class InvitedMemberReply(Reply):
    """A member of the tree: when he was let in, and how many he let in."""

    id: UUID
    username: str
    invited_at: Instant
    invited: int


class InviterReply(InvitedMemberReply):
    """A member above in the tree; `invitedAt` is when the one below was let in."""


class InviteTreeReply(Reply):
    """Who let a member in, up to the root, and one page of those he let in."""

    user: InviteUserReply
    inviters: list[InviterReply]
    invited: list[InvitedMemberReply]
    pagination: Pagination


@router.get("/api/admin/invites")
def list_all_invitations(
    _caller: Administrator,
    reads: Reads,
    services: Services,
    *,
    status: Status = "all",
    search: Annotated[
        Line | None, Query(max_length=100, description="Part of a giver's or user's name.")
    ] = None,
    page: PageNumber = 1,
    limit: PageSize = 20,
) -> AdminInvitesReply:
    """List every invitation and what became of it."""
    offset, now = offset_of(page, limit), services.clock()
    wanted = (search or "").strip() or None
    with reads.connection() as connection:
        rows = invitations.list_invitations(
            connection, status, wanted, now, limit=limit, offset=offset
        )
        total = invitations.count_invitations(connection, status, wanted, now)
        counts = invitations.count_states(connection, now)
    return AdminInvitesReply(
        data=[_invite_reply(services, row, row.state_at(now)) for row in rows],
        counts=InviteCounts(
            total=sum(counts.values()),
            active=counts["active"],
            used=counts["used"],
            expired=counts["expired"],
            revoked=counts["revoked"],
        ),
        pagination=pagination(page, limit, total),
    )


@router.post("/api/admin/invites/generate", responses=refusals(Forbidden))
def generate_invitations(
    caller: Administrator,
    services: Services,
    call: Commands,
    body: GenerateInvitesBody | None = None,
) -> GenerateInvitesReply:
    """Make codes to hand out; they count against nobody's quota."""
    entropy, wanted = services.entropy, body or GenerateInvitesBody()
    drawn = tuple((entropy.uuid(), new_code(entropy)) for _ in range(wanted.count))
    made: GivenInvitations = call.dispatch(
        GenerateInvitations(codes=drawn, expires_at=expiry(call.context.at, wanted.expires_in_days))
    )
    codes = codes_of(services.log, caller.account)
    return GenerateInvitesReply(
        codes=[codes.get(invitation) for invitation in made.invitations],
        expires_at=made.expires_at,
    )


@router.post("/api/admin/invites/grant", responses=refusals(NotFound))
def grant_invites(
    body: GrantInvitesBody, _caller: Administrator, call: Commands
) -> GrantInvitesReply:
    """Let a member give more invitations."""
    remaining: int = call.dispatch(GrantInvites(account=body.user_id, amount=body.count))
    return GrantInvitesReply(invites_remaining=remaining)


@router.delete("/api/admin/invites/{id}", responses=refusals(NotFound, Conflict))
def revoke_any_invitation(
    invitation: InvitationId, _caller: Administrator, call: Commands
) -> RevokeInviteReply:
    """Take anyone's unused invitation back; its giver may give it again."""
    revoked: RevokedInvitation = call.dispatch(RevokeAnyInvitation(invitation=invitation))
    return RevokeInviteReply(refunded=revoked.refunded)


@router.get("/api/admin/invites/tree", responses=refusals(NotFound))
def show_invitation_tree(
    _caller: Staff,
    reads: Reads,
    *,
    user: Annotated[UUID, Query(alias="userId", description="Whose place in the tree.")],
    page: PageNumber = 1,
    limit: PageSize = 50,
) -> InviteTreeReply:
    """Show who let a member in, who let that one in, and whom he let in."""
    offset = offset_of(page, limit)
    with reads.connection() as connection:
        account = find_account(connection, user)
        if account is None:
            raise AccountNotFound()
        inviters = invitations.list_inviters(connection, user)
        invited = invitations.list_invited(connection, user, limit=limit, offset=offset)
        total = invitations.count_invited(connection, user)
    return InviteTreeReply(
        user=InviteUserReply(id=account.id, username=account.username),
        inviters=[InviterReply.model_validate(_member(row)) for row in inviters],
        invited=[InvitedMemberReply.model_validate(_member(row)) for row in invited],
        pagination=pagination(page, limit, total),
    )


def _member(row: InvitedRow) -> dict[str, object]:
    return {
        "id": row.id,
        "username": row.username,
        "invited_at": row.invited_at,
        "invited": row.invited,
    }


def _invite_reply(services: HttpServices, row: InvitationRow, status: str) -> AdminInviteReply:
    code = code_of(services.log, row.creator, row.id) if status == "active" else None
    return AdminInviteReply.model_validate(
        {
            "id": row.id,
            "code_preview": f"{code[:8]}…{code[-4:]}" if code else None,
            "status": status,
            "from_quota": row.from_quota,
            "creator": {"id": row.creator, "username": row.creator_name},
            "created_at": row.given_at,
            "expires_at": row.expires_at,
            "used_at": row.ended_at if row.used_by else None,
            "used_by_user": used_by_of(row),
        }
    )
