"""Following other members."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from application.follows import FollowMember, UnfollowMember
from domain.errors import NotFound
from interfaces.http.deps import Commands, Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply
from interfaces.http.paging import Page, PageNumber, offset_of, pagination
from interfaces.http.users import MemberId, is_insider, last_seen_of, public_ratio
from projections import follows
from projections.follows import Sort, count_following
from projections.member_figures import Transfer

router = APIRouter(tags=["Follows"])


class FollowReply(Reply):
    """Whether the caller follows the member now."""

    following: bool


class FollowedMemberReply(Reply):
    """A member the caller follows. A `ratio` of null is infinite.

    `lastSeen` is null where the member hides it from the one who asks.
    """

    id: UUID
    username: str
    display_name: str | None
    bio: str | None
    member_since: Instant
    last_seen: Instant | None
    ratio: float | None
    uploads_count: int
    last_upload_at: Instant | None
    followed_at: Instant


@router.post("/api/users/{id}/follow", responses=refusals(NotFound))
def follow_member(account: MemberId, _caller: SignedIn, call: Commands) -> FollowReply:
    """Follow a member; following him twice changes nothing."""
    call.dispatch(FollowMember(member=account))
    return FollowReply(following=True)


@router.delete("/api/users/{id}/follow")
def unfollow_member(account: MemberId, _caller: SignedIn, call: Commands) -> FollowReply:
    """Follow a member no longer, silently where he was not followed."""
    call.dispatch(UnfollowMember(member=account))
    return FollowReply(following=False)


@router.get("/api/me/following")
def list_following(
    caller: SignedIn,
    reads: Reads,
    services: Services,
    *,
    sort: Sort = "recent",
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows of a page.")] = 24,
) -> Page[FollowedMemberReply]:
    """List whom the caller follows: those he followed last first, or by name."""
    offset = offset_of(page, limit)
    with reads.connection() as connection:
        rows = follows.list_following(connection, caller.account, sort, limit=limit, offset=offset)
        total = count_following(connection, caller.account)
    shown = [
        FollowedMemberReply(
            id=row.id,
            username=row.username,
            display_name=row.display_name,
            bio=row.bio,
            member_since=row.created_at,
            last_seen=(
                last_seen_of(services.presence, row.id, row.created_at, row.last_sign_in)
                if row.show_last_seen or is_insider(row.id, caller)
                else None
            ),
            ratio=public_ratio(Transfer(row.uploaded, row.downloaded)),
            uploads_count=row.uploads,
            last_upload_at=row.last_upload_at,
            followed_at=row.followed_at,
        )
        for row in rows
    ]
    return Page[FollowedMemberReply](data=shown, pagination=pagination(page, limit, total))
