"""Banning members and letting them in again, for staff."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from application.account_bans import BanAccount, UnbanAccount
from domain.account_bans import LONGEST_DAYS, REASON_LIMIT
from domain.errors import Forbidden, NotFound
from interfaces.http.client_address import known_address
from interfaces.http.deps import Commands, Services, Staff
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Prose, Reply
from interfaces.http.users import MemberId

router = APIRouter(tags=["Users & roles"])


class BanAccountBody(Body):
    """Why, and for how many days; without `duration` the ban has no end."""

    reason: Annotated[Prose, Field(min_length=1, max_length=REASON_LIMIT)]
    duration: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] | None = None


class AccountBanReply(Reply):
    success: Literal[True] = True


@router.post("/api/admin/users/{id}/ban", responses=refusals(Forbidden, NotFound))
def ban_account(
    account: MemberId,
    body: BanAccountBody,
    _caller: Staff,
    services: Services,
    call: Commands,
    *,
    request: Request,
) -> AccountBanReply:
    """Shut a member out, with the address he was last seen at; a ban he has is replaced."""
    days, seen = body.duration, services.presence.last(account)
    call.dispatch(
        BanAccount(
            account=account,
            reason=body.reason,
            until=call.context.at + timedelta(days=days) if days else None,
            last_address=seen.address if seen else None,
            caller_address=known_address(request),
        )
    )
    services.sessions.forget_account(account)
    return AccountBanReply()


@router.post("/api/admin/users/{id}/unban", responses=refusals(Forbidden, NotFound))
def unban_account(account: MemberId, _caller: Staff, call: Commands) -> AccountBanReply:
    """Let a member in again. A ban of his address stays until it is lifted itself."""
    call.dispatch(UnbanAccount(account=account))
    return AccountBanReply()
