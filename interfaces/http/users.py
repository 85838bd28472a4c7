"""Members as others see them: public profiles and what they uploaded."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from psycopg import Connection

from application.bus import Actor
from application.moderation import is_staff
from application.presence import Presence
from domain.errors import NotFound, Unauthenticated
from domain.users import AccountNotFound
from interfaces.http.catalogue_access import Trees, open_view
from interfaces.http.deps import MaybeSignedIn, Reads, Services
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply
from interfaces.http.paging import (
    Page,
    PageNumber,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.role_badges import RoleReply, role_replies
from interfaces.http.torrent_replies import (
    TorrentReply,
    require_open_catalogue,
    torrent_reply,
    viewer_of,
)
from projections.account_roles import list_account_roles
from projections.follows import count_followers, is_following
from projections.member_figures import Transfer, find_transfer
from projections.profiles import find_profile
from projections.torrent_browse import Browse
from projections.torrent_lists import count_torrents, list_torrents
from projections.users import AccountRow, find_account

router = APIRouter(tags=["Users"])

MemberId = Annotated[UUID, Path(alias="id", description="The member's id.")]


class MemberReply(Reply):
    """A member's public profile. Sizes are bytes; a `ratio` of null is infinite.

    `lastSeen` is null where the member hides it from the one who asks. `uploadsCount` counts
    uploads of any status that were not withdrawn.
    """

    id: UUID
    username: str
    display_name: str | None
    bio: str | None
    is_admin: bool
    is_moderator: bool
    roles: list[RoleReply]
    uploaded: int
    downloaded: int
    ratio: float | None
    uploads_count: int
    show_last_seen: bool
    last_seen: Instant | None
    followers_count: int
    viewer_following: bool
    created_at: Instant


@router.get("/api/users/{id}", responses=refusals(NotFound, Unauthenticated))
def show_member(
    account: MemberId, caller: MaybeSignedIn, reads: Reads, services: Services
) -> MemberReply:
    """Show a member's public profile; he himself and staff see hidden parts too."""
    with reads.connection() as connection:
        require_open_catalogue(connection, caller)
        member = require_member(connection, account)
        profile = find_profile(connection, member.id)
        roles = role_replies(list_account_roles(connection, member.id))
        transfer = find_transfer(connection, member.id)
        followers = count_followers(connection, member.id)
        following = caller is not None and is_following(connection, caller.account, member.id)
    knows_all = is_insider(member.id, caller)
    seen = profile.show_last_seen or knows_all
    return MemberReply(
        id=member.id,
        username=member.username,
        display_name=profile.display_name,
        bio=profile.bio,
        is_admin=member.is_admin,
        is_moderator=member.is_moderator,
        roles=[role for role in roles if role.show_as_badge or knows_all],
        uploaded=transfer.uploaded,
        downloaded=transfer.downloaded,
        ratio=public_ratio(transfer),
        uploads_count=member.uploads,
        show_last_seen=profile.show_last_seen,
        last_seen=(
            last_seen_of(services.presence, member.id, member.created_at, profile.last_sign_in)
            if seen
            else None
        ),
        followers_count=followers,
        viewer_following=following,
        created_at=member.created_at,
    )


@router.get("/api/users/{id}/uploads", responses=refusals(NotFound, Unauthenticated))
def list_member_uploads(
    account: MemberId,
    caller: MaybeSignedIn,
    reads: Reads,
    trees: Trees,
    *,
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows of a page.")] = 25,
    after: Annotated[
        str | None, Query(max_length=5_000, description="`nextCursor` of the page before.")
    ] = None,
) -> Page[TorrentReply]:
    """List a member's accepted torrents, newest first; he himself and staff see all of them.

    Those of adult categories only where the caller's profile asks for them.
    """
    behind = read_cursor(after, int, int) if after is not None else None
    offset = 0 if behind else offset_of(page, limit)
    with reads.catalogue() as connection:
        view = open_view(connection, trees, caller)
        require_member(connection, account)
        browse = Browse(
            viewer=viewer_of(caller),
            uploader=account,
            without=view.without,
            limit=limit + 1,
            offset=offset,
            after=behind,
        )
        total = count_torrents(connection, browse)
        rows = list_torrents(connection, browse)
    shown = rows[:limit]
    return Page[TorrentReply](
        data=[torrent_reply(row, view.categories.by_id) for row in shown],
        pagination=pagination(page, limit, total.count, exact=total.exact),
        next_cursor=(
            write_cursor(shown[-1].listed, shown[-1].listed) if len(rows) > limit else None
        ),
    )


def require_member(conn: Connection, account: UUID) -> AccountRow:
    """The account of that id. Raises `AccountNotFound`."""
    member = find_account(conn, account)
    if member is None:
        raise AccountNotFound()
    return member


def is_insider(member: UUID, caller: Actor | None) -> bool:
    """Whether the caller sees what the member hides: he himself, and staff."""
    return is_staff(caller) or (caller is not None and caller.account == member)


def public_ratio(transfer: Transfer) -> float | None:
    """Upload over download as public pages show it: 1 when nothing moved, null for infinite."""
    return transfer.ratio if transfer.uploaded or transfer.downloaded else 1.0


def last_seen_of(
    presence: Presence, member: UUID, created_at: datetime, last_sign_in: datetime | None
) -> datetime:
    """When the member last asked for anything, to a minute, or signed in."""
    seen = presence.last(member)
    known = (created_at, last_sign_in, seen.at if seen else None)
    return max(at for at in known if at is not None)
