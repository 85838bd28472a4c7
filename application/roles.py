"""Making roles, and giving and taking them."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from domain import administrators, roles, users
from domain.administrators import ADMINISTRATORS, Administrators
from domain.permissions import ADMINISTRATOR, MODERATOR
from domain.roles import ROLES, RoleBook, RoleShape

AUTOMATIC = "met the role's rule"


class CreateRole(msgspec.Struct, frozen=True, kw_only=True):
    """Make a role of this shape."""

    role: UUID
    shape: RoleShape


class EditRole(msgspec.Struct, frozen=True, kw_only=True):
    """Give a role another shape."""

    role: str
    shape: RoleShape


class RemoveRole(msgspec.Struct, frozen=True, kw_only=True):
    """Remove a role from the site and from all who hold it."""

    role: str


class GrantRole(msgspec.Struct, frozen=True, kw_only=True):
    """Give an account a role; a signed-in caller only what he may do himself."""

    account: UUID
    role: str
    reason: str


class WithdrawRole(msgspec.Struct, frozen=True, kw_only=True):
    """Take a role from an account; a signed-in caller only from those below him."""

    account: UUID
    role: str


class SetStaffRoles(msgspec.Struct, frozen=True, kw_only=True):
    """Give or take the two built-in roles; None leaves one as it is."""

    account: UUID
    administrator: bool | None
    moderator: bool | None
    reason: str


class ApplyRoleRule(msgspec.Struct, frozen=True, kw_only=True):
    """Give or take a role by its rule; harmless where that was done before."""

    account: UUID
    role: str
    action: Literal["attach", "detach"]


def load_role_book(unit: Unit) -> RoleBook:
    """All roles of the site."""
    return unit.load(ROLES, roles.evolve) or RoleBook()


def handle_create_role(unit: Unit, command: CreateRole) -> None:
    """Make it. Raises the refusals of `create_role`."""
    book = load_role_book(unit)
    facts = roles.create_role(book, command.role, command.shape, rights=unit.actor.permissions)
    unit.record(ROLES, book.version, facts)


def handle_edit_role(unit: Unit, command: EditRole) -> None:
    """Change it. Raises the refusals of `edit_role`."""
    book = load_role_book(unit)
    facts = roles.edit_role(book, command.role, command.shape, rights=unit.actor.permissions)
    unit.record(ROLES, book.version, facts)


def handle_remove_role(unit: Unit, command: RemoveRole) -> None:
    """Remove it. Raises the refusals of `remove_role`."""
    book = load_role_book(unit)
    facts = roles.remove_role(book, command.role, rights=unit.actor.permissions)
    unit.record(ROLES, book.version, facts)


def handle_grant_role(unit: Unit, command: GrantRole) -> None:
    """Give it. Raises `AccountNotFound`, `RoleNotFound`, `BeyondOwnRights`, `BannedAppointment`."""
    account = _account_below(unit, command.account, command.role)
    facts = users.grant_role(account, command.role, reason=command.reason)
    if facts and command.role == ADMINISTRATOR:
        appoint_administrator(unit, account.id, is_banned=account.is_banned(unit.at))
    unit.record(account.id, account.version, facts)


def handle_withdraw_role(unit: Unit, command: WithdrawRole) -> None:
    """Take it. Raises `AccountNotFound`, `RoleNotFound`, `RoleNotHeld`, `BeyondOwnRights`,
    `LastAdministrator`.
    """
    account = _account_below(unit, command.account, command.role)
    facts = users.withdraw_role(account, command.role)
    if command.role == ADMINISTRATOR:
        _dismiss_administrator(unit, account.id)
    unit.record(account.id, account.version, facts)


def handle_set_staff_roles(unit: Unit, command: SetStaffRoles) -> None:
    """Set them. Raises `AccountNotFound`, `BeyondOwnRights`, `LastAdministrator`,
    `BannedAppointment`.
    """
    wanted = {ADMINISTRATOR: command.administrator, MODERATOR: command.moderator}
    account = _account_below(unit, command.account, MODERATOR)
    facts = []
    for role, held in wanted.items():
        if held is None or held == (role in account.roles):
            continue
        _account_below(unit, command.account, role)
        if held:
            facts += users.grant_role(account, role, reason=command.reason)
        else:
            facts += users.withdraw_role(account, role)
        if role == ADMINISTRATOR:
            if held:
                appoint_administrator(unit, account.id, is_banned=account.is_banned(unit.at))
            else:
                _dismiss_administrator(unit, account.id)
    unit.record(account.id, account.version, facts)


def handle_apply_role_rule(unit: Unit, command: ApplyRoleRule) -> bool:
    """Give or take it; whether that changed anything."""
    shape = load_role_book(unit).roles.get(command.role)
    account = unit.load(command.account, users.evolve)
    if account is None or account.is_banned(unit.at):
        return False
    if command.action == "attach" and shape is not None and shape.assignment == "auto":
        facts = users.grant_role(account, command.role, reason=AUTOMATIC, automatic=True)
    elif command.action == "detach" and command.role in account.roles:
        facts = users.withdraw_role(account, command.role, automatic=True)
    else:
        return False
    unit.record(account.id, account.version, facts)
    return bool(facts)


def appoint_administrator(
    unit: Unit, account: UUID, *, is_banned: bool = False, actor: UUID | None = None
) -> None:
    """Add the appointment to what `unit` saves; `actor` as in `Unit.record`.

    Raises `BannedAppointment`.
    """
    current = unit.load(ADMINISTRATORS, administrators.evolve) or Administrators()
    facts = administrators.appoint(current, account, is_banned=is_banned)
    unit.record(ADMINISTRATORS, current.version, facts, actor=actor)


def _dismiss_administrator(unit: Unit, account: UUID) -> None:
    by = unit.context.actor.account if unit.context.actor else None
    current = unit.load(ADMINISTRATORS, administrators.evolve) or Administrators()
    unit.record(ADMINISTRATORS, current.version, administrators.dismiss(current, account, by=by))


def _account_below(unit: Unit, account: UUID, role: str) -> users.Account:
    """The account whose `role` is to change, if the caller has the right to."""
    book = load_role_book(unit)
    roles.require_role(book, role)
    found = unit.find(account, users.evolve)
    if found is None:
        raise users.AccountNotFound()
    if unit.context.actor is not None:
        rights = unit.context.actor.permissions
        roles.require_rights_over(role, found.roles, book, rights)
    return found


HANDLERS: dict[type, Handler] = {
    CreateRole: handle_create_role,
    EditRole: handle_edit_role,
    RemoveRole: handle_remove_role,
    GrantRole: handle_grant_role,
    WithdrawRole: handle_withdraw_role,
    SetStaffRoles: handle_set_staff_roles,
    ApplyRoleRule: handle_apply_role_rule,
}
