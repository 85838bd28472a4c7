"""The roles of the site, and who holds them, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import Field

from application.roles import (
    ApplyRoleRule,
    CreateRole,
    EditRole,
    GrantRole,
    RemoveRole,
    SetStaffRoles,
    WithdrawRole,
)
from domain.errors import Conflict, Forbidden, NotFound
from domain.permissions import BUILT_IN, Permission
from domain.roles import (
    ICON_LIMIT,
    MOST_CONDITIONS,
    NAME_LIMIT,
    Assignment,
    Comparator,
    RoleCondition,
    RoleRules,
    RoleShape,
)
from domain.roles import Field as RuleField
from domain.users import AccountNotFound
from interfaces.http.deps import Administrator, Commands, ReadAccess, Reads, Services
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Line, Reply, StrictBody
from interfaces.http.role_badges import BADGES, role_replies
from interfaces.http.role_badges import RoleReply as HeldRoleReply
from interfaces.http.users import MemberId
from interfaces.role_rules import apply_role_rules
from projections.account_roles import RoleRow, find_role, list_account_roles
from projections.account_roles import list_roles as list_role_rows
from projections.users import find_account

router = APIRouter(tags=["Users & roles"])

RoleId = Annotated[str, Path(alias="id", max_length=64, description="The role's id.")]
HeldRoleId = Annotated[str, Path(alias="roleId", max_length=64, description="The role's id.")]
AnyPermission = Literal["canAccessAdmin", "canModerate", "canUploadWithoutModeration", "canAudit"]


class RoleConditionBody(Body):
    """One comparison; sizes are bytes."""

    field: RuleField
    comparator: Comparator
    value: Annotated[float, Field(allow_inf_nan=False, gt=-(2**52), lt=2**52)]


class RoleRulesBody(Body):
    """When a member gets the role by itself."""

    combinator: Literal["and", "or"] = "and"
    conditions: Annotated[list[RoleConditionBody], Field(max_length=MOST_CONDITIONS)]

    def read(self) -> RoleRules:
        """The rules as decisions take them."""
        return RoleRules(
            combinator=self.combinator,
            conditions=tuple(
                RoleCondition(
                    field=each.field,
                    comparator=each.comparator,
                    thousandths=round(each.value * 1000),
                )
                for each in self.conditions
            ),
        )

    @classmethod
    def of(cls, rules: RoleRules) -> RoleRulesBody:
        """The rules as the API writes them."""
        conditions = [
            RoleConditionBody(
                field=each.field, comparator=each.comparator, value=each.thousandths / 1000
            )
            for each in rules.conditions
        ]
        return cls(combinator=rules.combinator, conditions=conditions)


class RoleBody(Body):
    """A role. `canUploadWithoutModeration` is the older spelling of that permission."""

    name: Annotated[Line, Field(min_length=1, max_length=NAME_LIMIT)]
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#6b7280"
    icon: Annotated[Line, Field(max_length=ICON_LIMIT)] | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = 0
    show_as_badge: bool = True
    permissions: Annotated[list[AnyPermission], Field(default_factory=list, max_length=10)]
    can_upload_without_moderation: bool = False
    assignment_mode: Assignment = "manual"
    rules: RoleRulesBody | None = None

    def shape(self) -> RoleShape:
        """The role as decisions take it."""
        asked: set[str] = set(self.permissions)
        if self.can_upload_without_moderation:
            asked.add(Permission.CAN_UPLOAD_WITHOUT_MODERATION.value)
        return RoleShape(
            name=self.name.strip(),
            color=self.color.lower(),
            icon=self.icon or None,
            priority=self.priority,
            show_as_badge=self.show_as_badge,
            permissions=tuple(sorted(asked)),
            assignment=self.assignment_mode,
            rules=self.rules.read() if self.rules else None,
        )


class SiteRoleReply(Reply):
    """A role of the site. A built-in one can't be edited or removed."""

    id: str
    name: str
    color: str
    icon: str | None
    priority: int
    show_as_badge: bool
    permissions: list[str]
    can_upload_without_moderation: bool
    assignment_mode: Assignment
    rules: RoleRulesBody | None
    built_in: bool
    created_at: Instant | None


class RemoveRoleReply(Reply):
    success: Literal[True] = True


class RecomputeReply(Reply):
    """What looking at all rules did; `complete` is false while more is to be done by another."""

    success: Literal[True] = True
    considered: int
    attached: int
    detached: int
    complete: bool


class GrantRoleBody(Body):
    """The role to give."""

    role_id: Annotated[Line, Field(min_length=1, max_length=64)]


class StaffRolesBody(StrictBody):
    """The two built-in roles as they should be; absent leaves one as it is."""

    is_admin: bool | None = None
    is_moderator: bool | None = None


@router.get("/api/admin/roles")
def list_roles(_caller: Administrator, reads: Reads) -> list[SiteRoleReply]:
    """List the roles of the site by name, the built-in ones among them."""
    with reads.connection() as connection:
        rows = list_role_rows(connection)
    shown = [*map(_built_in, BUILT_IN), *map(_role_reply, rows)]
    return sorted(shown, key=lambda role: role.name.casefold())


@router.post("/api/admin/roles", responses=refusals(Conflict, Forbidden))
def create_role(
    body: RoleBody, _caller: Administrator, services: Services, call: Commands, reads: Reads
) -> SiteRoleReply:
    """Make a role; one given by itself carries no permission."""
    role = services.entropy.uuid()
    call.dispatch(CreateRole(role=role, shape=body.shape()))
    return _shown(reads, str(role), body.shape())


@router.put("/api/admin/roles/{id}", responses=refusals(Conflict, Forbidden, NotFound))
def edit_role(
    role: RoleId,
    body: RoleBody,
    _caller: Administrator,
    services: Services,
    call: Commands,
    *,
    reads: Reads,
) -> SiteRoleReply:
    """Change a role, for all who hold it at once."""
    call.dispatch(EditRole(role=role, shape=body.shape()))
    services.sessions.forget_all()
    return _shown(reads, role, body.shape())


@router.delete("/api/admin/roles/{id}", responses=refusals(Forbidden, NotFound))
def remove_role(
    role: RoleId, _caller: Administrator, services: Services, call: Commands
) -> RemoveRoleReply:
    """Remove a role from the site and from all who hold it."""
    call.dispatch(RemoveRole(role=role))
    services.sessions.forget_all()
    return RemoveRoleReply()


@router.post("/api/admin/roles/recompute")
def recompute_roles(_caller: Administrator, services: Services, call: Commands) -> RecomputeReply:
    """Look at every member against the rules now; the scheduler does so every half hour."""

    def dispatch(command: ApplyRoleRule) -> bool:
        changed: bool = call.dispatch_next(command)
        services.sessions.forget_account(command.account)
        return changed

    sweep = apply_role_rules(services.reads.connection, dispatch, call.context.at)
    return RecomputeReply(
        considered=sweep.considered,
        attached=sweep.attached,
        detached=sweep.detached,
        complete=sweep.complete,
    )


@router.get("/api/admin/users/{id}/roles", responses=refusals(NotFound))
def list_held_roles(account: MemberId, _caller: Administrator, reads: Reads) -> list[HeldRoleReply]:
    """List the roles a member holds, the highest first."""
    return _held(reads, account)


@router.post("/api/admin/users/{id}/roles", responses=refusals(Forbidden, NotFound))
def grant_role(
    account: MemberId,
    body: GrantRoleBody,
    _caller: Administrator,
    services: Services,
    call: Commands,
    *,
    reads: Reads,
) -> list[HeldRoleReply]:
    """Give a member a role; one that a rule gave is his for good then."""
    call.dispatch(GrantRole(account=account, role=body.role_id, reason="granted by staff"))
    services.sessions.forget_account(account)
    return _held(reads, account)


@router.delete("/api/admin/users/{id}/roles/{roleId}", responses=refusals(Forbidden, NotFound))
def withdraw_role(
    account: MemberId,
    role: HeldRoleId,
    _caller: Administrator,
    services: Services,
    call: Commands,
) -> RemoveRoleReply:
    """Take a role from a member. A rule he meets may give it again."""
    call.dispatch(WithdrawRole(account=account, role=role))
    services.sessions.forget_account(account)
    return RemoveRoleReply()


@router.put("/api/admin/users/{id}/role", responses=refusals(Forbidden, NotFound), deprecated=True)
def set_staff_roles(
    account: MemberId,
    body: StaffRolesBody,
    _caller: Administrator,
    services: Services,
    call: Commands,
    *,
    reads: Reads,
) -> list[HeldRoleReply]:
    """Give or take the built-in roles; the routes for roles do the same and more."""
    call.dispatch(
        SetStaffRoles(
            account=account,
            administrator=body.is_admin,
            moderator=body.is_moderator,
            reason="granted by staff",
        )
    )
    services.sessions.forget_account(account)
    return _held(reads, account)


def _held(reads: ReadAccess, account: UUID) -> list[HeldRoleReply]:
    with reads.connection() as connection:
        if find_account(connection, account) is None:
            raise AccountNotFound()
        return role_replies(list_account_roles(connection, account))


def _shown(reads: ReadAccess, role: str, shape: RoleShape) -> SiteRoleReply:
    """The role as it is read, or as it was decided where the read model is behind."""
    with reads.connection() as connection:
        row = find_role(connection, role)
    if row is not None:
        return _role_reply(row)
    return _reply(role, shape, None)


def _role_reply(row: RoleRow) -> SiteRoleReply:
    shape = RoleShape(
        name=row.name,
        color=row.color,
        icon=row.icon,
        priority=row.priority,
        show_as_badge=row.show_as_badge,
        permissions=tuple(row.permissions),
        assignment="auto" if row.assignment == "auto" else "manual",
        rules=row.rule,
    )
    return _reply(row.id, shape, row.created_at)


def _reply(role: str, shape: RoleShape, created_at: datetime | None) -> SiteRoleReply:
    return SiteRoleReply(
        id=role,
        name=shape.name,
        color=shape.color,
        icon=shape.icon,
        priority=shape.priority,
        show_as_badge=shape.show_as_badge,
        permissions=list(shape.permissions),
        can_upload_without_moderation=(
            Permission.CAN_UPLOAD_WITHOUT_MODERATION.value in shape.permissions
        ),
        assignment_mode=shape.assignment,
        rules=RoleRulesBody.of(shape.rules) if shape.rules else None,
        built_in=False,
        created_at=created_at,
    )


def _built_in(role: str) -> SiteRoleReply:
    name, color, priority = BADGES[role]
    permissions = sorted(permission.value for permission in BUILT_IN[role])
    return SiteRoleReply(
        id=role,
        name=name,
        color=color,
        icon=None,
        priority=priority,
        show_as_badge=True,
        permissions=permissions,
        can_upload_without_moderation=True,
        assignment_mode="manual",
        rules=None,
        built_in=True,
        created_at=None,
    )
