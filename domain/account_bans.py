"""Bans of members: for good or for a time, with a reason, by staff of a rank."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

import msgspec

from domain.errors import Forbidden, Invalid
from domain.kernel import Fact, Private
from domain.permissions import Permission

REASON_LIMIT: Final = 500
LONGEST_DAYS: Final = 3650


class AccountBanned(Fact, frozen=True):
    """A member was shut out, or his ban got another reason or end; `until` None has no end.

    `by_administrator` when only an administrator may lift it.
    """

    TOPIC: ClassVar[str] = "account.banned.1"

    reason: Private
    until: datetime | None
    by_administrator: bool


class AccountUnbanned(Fact, frozen=True):
    """A member was let in again; `expired` when the ban's time was over."""

    TOPIC: ClassVar[str] = "account.unbanned.1"

    expired: bool


FACTS: tuple[type[Fact], ...] = (AccountBanned, AccountUnbanned)


class AccountRefused(Forbidden):
    """The member is banned; told only to who proved to be him."""

    code = "account_banned"
    message = "Your account has been banned"


class OwnBan(Invalid):
    """Nobody bans himself."""

    code = "own_ban"
    message = "You can't ban yourself"


class AdministratorBan(Forbidden):
    """Administrators are not banned; take the role first."""

    code = "administrator_ban"
    message = "Cannot ban an admin"


class ModeratorBan(Forbidden):
    """A moderator is banned by an administrator only."""

    code = "moderator_ban"
    message = "Only an admin can ban a moderator"


class AdministratorsBan(Forbidden):
    """An administrator's ban is changed and lifted by administrators only."""

    code = "administrators_ban"
    message = "This ban was issued by an admin; only an admin can change it"


class Ban(msgspec.Struct, frozen=True, kw_only=True):
    """A ban as decisions see it."""

    until: datetime | None
    by_administrator: bool

    def holds(self, at: datetime) -> bool:
        """Whether it is in force; one past its end is not, written down or not."""
        return self.until is None or at < self.until


def ban_account(
    account: UUID,
    *,
    current: Ban | None,
    permissions: AbstractSet[str],
    by: UUID,
    by_permissions: AbstractSet[str],
    reason: str,
    until: datetime | None,
    replaces: bool = True,
) -> list[Fact]:
    """Shut a member with these `permissions` out.

    Without `replaces` a ban in force that ends no sooner stays as it is: nothing is recorded.
    Raises `OwnBan`, `AdministratorBan`, `ModeratorBan`, `AdministratorsBan`.
    """
    if account == by:
        raise OwnBan()
    if Permission.CAN_ACCESS_ADMIN in permissions:
        raise AdministratorBan()
    is_administrator = Permission.CAN_ACCESS_ADMIN in by_permissions
    if Permission.CAN_MODERATE in permissions and not is_administrator:
        raise ModeratorBan()
    _require_rank(current, is_administrator=is_administrator)
    if not replaces and current is not None and later_end(current.until, until) == current.until:
        return []
    return [
        AccountBanned(
            reason=Private(account, reason), until=until, by_administrator=is_administrator
        )
    ]


def unban_account(current: Ban | None, by_permissions: AbstractSet[str]) -> list[Fact]:
    """Let him in again; nothing when he is not banned. Raises `AdministratorsBan`."""
    _require_rank(current, is_administrator=Permission.CAN_ACCESS_ADMIN in by_permissions)
    return [] if current is None else [AccountUnbanned(expired=False)]


def end_ban(current: Ban | None, at: datetime) -> list[Fact]:
    """Write down that its time is over; nothing when it is not."""
    if current is None or current.holds(at):
        return []
    return [AccountUnbanned(expired=True)]


def later_end(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later of two ends of a ban; None is no end, and later than all."""
    return None if one is None or other is None else max(one, other)


def _require_rank(current: Ban | None, *, is_administrator: bool) -> None:
    if current is not None and current.by_administrator and not is_administrator:
        raise AdministratorsBan()
