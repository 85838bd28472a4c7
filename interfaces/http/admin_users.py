"""The list of members, for staff."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from psycopg import Connection
from pydantic import Field

from application.presence import Seen
from domain.permissions import Permission
from interfaces.http.deps import Reads, Services, Staff
from interfaces.http.models import Instant, Line, Reply
from interfaces.http.paging import PageNumber, offset_of, read_cursor, write_cursor
from interfaces.http.role_badges import RoleReply, role_replies
from interfaces.http.services import HttpServices
from projections.account_roles import AccountRoleRow
from projections.member_directory import admit_newcomers
from projections.member_list import (
    ACTIVE,
    CURSOR_KINDS,
    ONLINE,
    Activity,
    MemberQuery,
    MemberRow,
    Sort,
    count_members,
    count_seen_since,
    find_members,
    list_member_keys,
    list_roles_of,
    read_member_counts,
)
from projections.stats import find_site_counters

router = APIRouter(tags=["Users & roles"])

Switch = Annotated[bool | None, Query()]


class ListedMemberReply(Reply):
    """A member as staff see him. Sizes are bytes; a `ratio` of null is infinite.

    `lastIp` is for administrators; others compare `lastIpHash`, equal for equal addresses.
    `lastSeen` is null for who never signed in. `bannedUntil` null has no end; `banReason` is
    null once its words were erased.
    """

    id: UUID
    username: str
    display_name: str | None
    is_admin: bool
    is_moderator: bool
    is_banned: bool
    ban_reason: str | None
    banned_at: Instant | None
    banned_until: Instant | None
    roles: list[RoleReply]
    uploaded: int
    downloaded: int
    ratio: float | None
    uploads_count: int
    invites_remaining: int
    last_ip: str | None
    last_ip_hash: str | None
    created_at: Instant
    last_seen: Instant | None


class MembersFigures(Reply):
    """All members; banned, administrators, moderators; seen within 24 hours, within 5 minutes."""

    total: int
    banned: int
    admins: int
    moderators: int
    active_last_24h: Annotated[int, Field(alias="activeLast24h")]
    online_now: int


class MembersReply(Reply):
    """One page of members; `totalExact` is false where `total` means "at least"."""

    items: list[ListedMemberReply]
    total: int
    total_exact: bool
    page: int
    page_size: int
    next_cursor: str | None
    stats: MembersFigures


@router.get("/api/admin/users")
def list_members(
    caller: Staff,
    reads: Reads,
    services: Services,
    *,
    search: Annotated[Line | None, Query(max_length=100, description="Part of a name.")] = None,
    page: PageNumber = 1,
    page_size: Annotated[
        int, Query(alias="pageSize", ge=1, le=100, description="Rows of a page.")
    ] = 25,
    after: Annotated[
        str | None, Query(max_length=5_000, description="`nextCursor` of the page before.")
    ] = None,
    sort: Sort = "createdAt",
    direction: Annotated[Literal["asc", "desc"], Query(alias="dir")] = "desc",
    banned: Switch = None,
    admin: Switch = None,
    mod: Switch = None,
    role: Annotated[
        Line | None, Query(max_length=64, description="A role's id, or `none` for no role.")
    ] = None,
    activity: Annotated[
        Activity | None,
        Query(
            description="Seen within 5 minutes, within 24 hours, not for 30 days, or never; by"
            " what was known a minute ago."
        ),
    ] = None,
) -> MembersReply:
    """List members with what staff need to know of them."""
    behind = read_cursor(after, *CURSOR_KINDS[sort]) if after is not None else None
    query = MemberQuery(
        now=services.clock(),
        search=(search or "").strip() or None,
        banned=banned,
        administrator=admin,
        moderator=mod,
        role=role,
        activity=activity,
        sort=sort,
        descending=direction == "desc",
        limit=page_size + 1,
        offset=0 if behind else offset_of(page, page_size),
        after=behind,
    )
    with reads.connection() as connection:
        admit_newcomers(connection)
        keys = list_member_keys(connection, query)
        total = count_members(connection, query)
        shown = keys[:page_size]
        accounts = [key.account for key in shown]
        rows = find_members(connection, accounts, query.now)
        roles = list_roles_of(connection, accounts)
        figures = _figures(connection, services, query)
    seen = services.presence.last_of(set(accounts))
    knows_addresses = Permission.CAN_ACCESS_ADMIN.value in caller.permissions
    return MembersReply(
        items=[
            _reply(services, rows[each], roles[each], seen.get(each), in_clear=knows_addresses)
            for each in accounts
            if each in rows
        ],
        total=total.count,
        total_exact=total.exact,
        page=page,
        page_size=page_size,
        next_cursor=(
            write_cursor(shown[-1].key, shown[-1].number) if len(keys) > page_size else None
        ),
        stats=figures,
    )


def _figures(connection: Connection, services: HttpServices, query: MemberQuery) -> MembersFigures:
    """The figures of the whole site; who is there by Redis, by the directory without it."""
    counts = read_member_counts(connection, query.now)
    recent = []
    for span in (ACTIVE, ONLINE):
        known = services.presence.count_since(query.now - span)
        recent.append(count_seen_since(connection, query.now - span) if known is None else known)
    return MembersFigures(
        total=find_site_counters(connection).users,
        banned=counts.banned,
        admins=counts.administrators,
        moderators=counts.moderators,
        active_last_24h=recent[0],
        online_now=recent[1],
    )


def _reply(
    services: HttpServices,
    row: MemberRow,
    roles: list[AccountRoleRow],
    seen: Seen | None,
    *,
    in_clear: bool,
) -> ListedMemberReply:
    address = seen.address if seen else None
    times = [at for at in (row.last_seen_at, seen.at if seen else None) if at is not None]
    return ListedMemberReply(
        id=row.id,
        username=row.username,
        display_name=row.display_name,
        is_admin=row.is_admin,
        is_moderator=row.is_moderator,
        is_banned=row.banned_at is not None,
        ban_reason=row.ban_reason,
        banned_at=row.banned_at,
        banned_until=row.banned_until,
        roles=role_replies(roles),
        uploaded=row.uploaded,
        downloaded=row.downloaded,
        ratio=row.transfer.ratio,
        uploads_count=row.uploads,
        invites_remaining=row.invites,
        last_ip=address if in_clear else None,
        last_ip_hash=services.address_mask.hash(address) if address else None,
        created_at=row.created_at,
        last_seen=max(times, default=None),
    )
