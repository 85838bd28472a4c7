"""Roles as pages show them: a badge with name, colour and rank."""

from __future__ import annotations

from collections.abc import Iterable

from domain.permissions import ADMINISTRATOR, MODERATOR
from interfaces.http.models import Instant, Reply
from projections.account_roles import AccountRoleRow

BADGES = {
    ADMINISTRATOR: ("Administrator", "#dc2626", 100),
    MODERATOR: ("Moderator", "#2563eb", 50),
}
"""Name, colour and rank of the built-in roles."""


class RoleReply(Reply):
    """A role badge; higher `priority` stands first."""

    id: str
    name: str
    color: str
    icon: str | None
    priority: int
    show_as_badge: bool
    assigned_at: Instant
    assigned_manually: bool


def role_replies(held: Iterable[AccountRoleRow]) -> list[RoleReply]:
    """The roles an account holds, highest first."""
    return sorted(map(_badge, held), key=lambda role: -role.priority)


def _badge(held: AccountRoleRow) -> RoleReply:
    name, color, priority = BADGES.get(held.role, ("", "", 0))
    return RoleReply(
        id=held.role,
        name=held.name or name,
        color=held.color or color,
        icon=held.icon,
        priority=priority if held.priority is None else held.priority,
        show_as_badge=held.show_as_badge is not False,
        assigned_at=held.granted_at,
        assigned_manually=not held.automatic,
    )
