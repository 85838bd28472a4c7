"""Banning members, and letting them in again."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from application.address_bans import record_ban_address
from application.bus import Handler, Unit
from application.roles import load_role_book
from application.sessions import last_address_of, record_close_sessions
from domain import account_bans, address_bans, users
from domain.address_bans import AddressBan
from domain.roles import permissions_of

_REASON_LIMIT: Final = address_bans.REASON_LIMIT


class BanAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Shut a member out until `until`, None for good; his last known address with him.

    `last_address` is where he was seen last, None where only the vault may know; `caller_address`
    is never banned along.
    """

    account: UUID
    reason: str
    until: datetime | None
    last_address: str | None = None
    caller_address: str | None = None


class UnbanAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Let a member in again. The ban of his address stays."""

    account: UUID


class EndBan(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that a ban's time is over; harmless when it is not."""

    account: UUID


def record_ban_account(
    unit: Unit, account_id: UUID, *, reason: str, until: datetime | None, replaces: bool = True
) -> users.Account:
    """Add the ban and the end of his sessions to what `unit` saves; who he is, and was before.

    Without `replaces` nothing is added where a ban in force ends no sooner. Raises
    `AccountNotFound` and the refusals of `ban_account`.
    """
    account = unit.find(account_id, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    facts = account_bans.ban_account(
        account.id,
        current=account.ban if account.is_banned(unit.at) else None,
        permissions=permissions_of(account.roles, load_role_book(unit)),
        by=unit.actor.account,
        by_permissions=unit.actor.permissions,
        reason=reason,
        until=until,
        replaces=replaces,
    )
    if not facts:
        return account
    unit.record(account.id, account.version, facts)
    record_close_sessions(unit, account.id, reason="banned")
    return account


def handle_ban_account(unit: Unit, command: BanAccount) -> None:
    """Shut him out, end his sessions and ban his last address.

    Raises `AccountNotFound` and the refusals of `ban_account`.
    """
    account = record_ban_account(unit, command.account, reason=command.reason, until=command.until)
    _ban_last_address(unit, account, command)


def handle_unban_account(unit: Unit, command: UnbanAccount) -> None:
    """Let him in. Raises `AccountNotFound`, `AdministratorsBan`."""
    account = unit.find(command.account, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    facts = account_bans.unban_account(account.ban, unit.actor.permissions)
    unit.record(account.id, account.version, facts)


def handle_end_ban(unit: Unit, command: EndBan) -> None:
    """Write it down."""
    account = unit.load(command.account, users.evolve)
    if account is not None:
        unit.record(account.id, account.version, account_bans.end_ban(account.ban, unit.at))


def _ban_last_address(unit: Unit, account: users.Account, command: BanAccount) -> None:
    """As long as the member; an address nobody knows, or the caller's own, is let alone."""
    known = command.last_address or last_address_of(unit.log, account.id)
    if known is None:
        return
    try:
        network = address_bans.read_network(known)
        address_bans.require_not_own(network, command.caller_address)
    except (address_bans.AddressInvalid, address_bans.OwnAddressBan):
        return
    reason = f"Banned user: {account.username}. Reason: {command.reason}"[:_REASON_LIMIT]
    ban = AddressBan(reason=reason, until=command.until, automatic=True)
    record_ban_address(unit, network, ban, author=account.id, replaces=False)


HANDLERS: dict[type, Handler] = {
    BanAccount: handle_ban_account,
    UnbanAccount: handle_unban_account,
    EndBan: handle_end_ban,
}
