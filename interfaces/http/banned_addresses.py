"""The list of banned addresses and ranges, for staff."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, Field
from starlette.requests import Request

from application.address_bans import BanAddress, BannedAddress, UnbanAddress
from domain.address_bans import REASON_LIMIT
from domain.errors import Invalid
from interfaces.http.client_address import client_address_of
from interfaces.http.deps import Commands, Reads, Services, Staff
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Line, Prose, Reply
from interfaces.http.paging import PageNumber, offset_of
from projections import address_bans
from projections.address_bans import (
    AddressBanRow,
    Direction,
    Sort,
    count_banned_addresses,
    find_address_ban,
    read_address_ban_counts,
)

router = APIRouter(tags=["Banned IPs"])


class AddressBanReply(Reply):
    """A ban in force. `ip` is an address or a range; `automatic` came with a member's ban.

    `expiresAt` null has no end; `reason` is null once its words were erased.
    """

    ip: str
    reason: str | None
    created_at: Instant
    expires_at: Instant | None
    automatic: bool


class AddressBanFigures(Reply):
    """How many bans are in force: all, of today (UTC), of the last 7 days, by origin."""

    total: int
    today: int
    week: int
    manual: int
    automatic: int


class BannedAddressesReply(Reply):
    """One page of bans."""

    items: list[AddressBanReply]
    total: int
    page: int
    page_size: int
    stats: AddressBanFigures


class BanAddressBody(Body):
    """What to ban and why; without `expiresAt` it has no end."""

    ip: Annotated[Line, Field(min_length=1, max_length=64, examples=["203.0.113.0/24"])]
    reason: Annotated[Prose, Field(min_length=1, max_length=REASON_LIMIT)]
    expires_at: AwareDatetime | None = None


class BanAddressReply(AddressBanReply):
    """The ban as it is now."""

    success: Literal[True] = True


class UnbanAddressReply(Reply):
    """`removed` tells whether there was a ban to lift."""

    success: Literal[True] = True
    removed: bool


@router.get("/api/admin/banned-ips")
def list_banned_addresses(
    _caller: Staff,
    reads: Reads,
    services: Services,
    *,
    search: Annotated[
        Line | None, Query(max_length=100, description="Part of an address or reason.")
    ] = None,
    page: PageNumber = 1,
    page_size: Annotated[
        int, Query(alias="pageSize", ge=1, le=100, description="Rows of a page.")
    ] = 25,
    sort: Sort = "createdAt",
    direction: Annotated[Direction, Query(alias="dir")] = "desc",
) -> BannedAddressesReply:
    """List bans in force; a search for an address also finds the ranges that hold it."""
    offset = offset_of(page, page_size)
    now = services.clock()
    with reads.connection() as connection:
        rows = address_bans.list_banned_addresses(
            connection,
            now=now,
            search=search,
            sort=sort,
            direction=direction,
            limit=page_size,
            offset=offset,
        )
        total = count_banned_addresses(connection, now=now, search=search)
        counts = read_address_ban_counts(connection, now=now)
    return BannedAddressesReply(
        items=[_reply(row) for row in rows],
        total=total,
        page=page,
        page_size=page_size,
        stats=AddressBanFigures(
            total=counts.total,
            today=counts.today,
            week=counts.week,
            manual=counts.manual,
            automatic=counts.automatic,
        ),
    )


@router.post("/api/admin/banned-ips", responses=refusals(Invalid))
def ban_address(
    body: BanAddressBody, request: Request, _caller: Staff, call: Commands, reads: Reads
) -> BanAddressReply:
    """Ban an address or range; a ban that exists gets the new reason and end."""
    made: BannedAddress = call.dispatch(
        BanAddress(
            address=body.ip,
            reason=body.reason,
            until=body.expires_at,
            caller_address=client_address_of(request),
        )
    )
    with reads.connection() as connection:
        row = find_address_ban(connection, made.network)
    return BanAddressReply(
        ip=made.network,
        reason=made.ban.reason,
        created_at=row.created_at if row else call.context.at,
        expires_at=made.ban.until,
        automatic=made.ban.automatic,
    )


@router.delete("/api/admin/banned-ips/{ip:path}", responses=refusals(Invalid))
def unban_address(
    ip: Annotated[str, Path(max_length=64, description="Address, or range with its slash.")],
    _caller: Staff,
    call: Commands,
) -> UnbanAddressReply:
    """Lift the ban of exactly this address or range."""
    return UnbanAddressReply(removed=call.dispatch(UnbanAddress(address=ip)))


def _reply(row: AddressBanRow) -> AddressBanReply:
    return AddressBanReply(
        ip=row.ip,
        reason=row.reason,
        created_at=row.created_at,
        expires_at=row.until,
        automatic=row.automatic,
    )
