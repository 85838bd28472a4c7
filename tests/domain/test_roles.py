"""Roles: their shape, what they permit, and that nobody reaches beyond his own rights."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain import roles
from domain.errors import DomainError
from domain.permissions import ADMINISTRATOR, BUILT_IN, MODERATOR
from domain.roles import (
    RoleBook,
    RoleCondition,
    RoleCreated,
    RoleEdited,
    RoleRemoved,
    RoleRules,
    RoleShape,
)
from tests.kit.domain import folded

ROLE, OTHER = UUID(int=1), UUID(int=2)
ALL = frozenset(permission.value for permission in BUILT_IN[ADMINISTRATOR])
PLAIN = RoleShape(
    name="Helper",
    color="#00ff00",
    icon=None,
    priority=5,
    show_as_badge=True,
    permissions=("canModerate",),
    assignment="manual",
    rules=None,
)
RULE = RoleRules(
    combinator="and",
    conditions=(RoleCondition(field="ratio", comparator="gte", thousandths=1500),),
)


def shape(**changes: Any) -> RoleShape:
    return msgspec.structs.replace(PLAIN, **changes)


def book(*shapes: RoleShape) -> RoleBook:
    facts = [RoleCreated(role=UUID(int=n), shape=each) for n, each in enumerate(shapes, 1)]
    return folded(roles.evolve, *facts) or RoleBook()


def test_permissions_are_the_union_of_all_roles_held() -> None:
    known = book(PLAIN, shape(name="Auditor", permissions=("canAudit",)))
    assert roles.permissions_of([str(ROLE)], known) == {"canModerate"}
    assert roles.permissions_of([str(ROLE), str(OTHER), "gone"], known) == {
        "canModerate",
        "canAudit",
    }
    assert roles.permissions_of([MODERATOR], known) == {
        "canModerate",
        "canUploadWithoutModeration",
    }
    assert roles.permissions_of([ADMINISTRATOR], known) == ALL


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 51}, "name"),
        ({"color": "green"}, "color"),
        ({"icon": "x" * 65}, "icon"),
        ({"priority": -1}, "priority"),
        ({"priority": 1001}, "priority"),
        ({"permissions": ("canFly",)}, "canFly"),
        ({"assignment": "auto", "permissions": ()}, "at least one condition"),
        ({"assignment": "auto", "rules": RULE}, "carries none"),
        ({"rules": msgspec.structs.replace(RULE, conditions=RULE.conditions * 21)}, "at most"),
        (
            {
                "rules": RoleRules(
                    combinator="or",
                    conditions=(RoleCondition(field="hnrCount", comparator="lt", thousandths=1),),
                )
            },
            "hnrCount is not counted",
        ),
        (
            {
                "rules": RoleRules(
                    combinator="or",
                    conditions=(RoleCondition(field="ratio", comparator="lt", thousandths=2**62),),
                )
            },
            "out of range",
        ),
    ],
)
def test_create_role_refuses_what_no_role_can_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(roles.RoleInvalid, match=said):
        roles.create_role(RoleBook(), ROLE, shape(**changes), rights=ALL)


def test_create_role_takes_an_automatic_one() -> None:
    wanted = shape(assignment="auto", permissions=(), rules=RULE)
    assert roles.create_role(RoleBook(), ROLE, wanted, rights=ALL) == [
        RoleCreated(role=ROLE, shape=wanted)
    ]


@pytest.mark.parametrize("name", ["helper", "HELPER", "Moderator", "administrator"])
def test_names_are_unique_whatever_their_case(name: str) -> None:
    with pytest.raises(roles.RoleNameTaken):
        roles.create_role(book(PLAIN), OTHER, shape(name=name), rights=ALL)


def test_a_site_has_so_many_roles() -> None:
    full = book(*(shape(name=f"r{number}") for number in range(roles.MOST_ROLES)))
    with pytest.raises(roles.TooManyRoles):
        roles.create_role(full, UUID(int=999), shape(name="one more"), rights=ALL)


def test_edit_and_remove_role() -> None:
    known = book(PLAIN)
    assert roles.edit_role(known, str(ROLE), PLAIN, rights=ALL) == []
    renamed = shape(name="HELPER", priority=6)
    assert roles.edit_role(known, str(ROLE), renamed, rights=ALL) == [
        RoleEdited(role=ROLE, shape=renamed)
    ]
    assert roles.remove_role(known, str(ROLE), rights=ALL) == [RoleRemoved(role=ROLE)]
    after = folded(roles.evolve, RoleCreated(role=ROLE, shape=PLAIN), RoleRemoved(role=ROLE))
    assert after is not None
    assert after.roles == {}


@pytest.mark.parametrize(
    ("role", "refusal"),
    [(MODERATOR, roles.BuiltInRole), (str(OTHER), roles.RoleNotFound), ("x", roles.RoleNotFound)],
)
def test_built_in_and_unknown_roles_stay(role: str, refusal: type[DomainError]) -> None:
    with pytest.raises(refusal):
        roles.edit_role(book(PLAIN), role, PLAIN, rights=ALL)
    with pytest.raises(refusal):
        roles.remove_role(book(PLAIN), role, rights=ALL)


def test_nobody_reaches_beyond_his_own_rights() -> None:
    rights = frozenset({"canAccessAdmin"})
    known = book(PLAIN)
    for refused in (
        lambda: roles.create_role(RoleBook(), ROLE, PLAIN, rights=rights),
        lambda: roles.edit_role(known, str(ROLE), shape(permissions=()), rights=rights),
        lambda: roles.remove_role(known, str(ROLE), rights=rights),
        lambda: roles.require_rights_over(str(ROLE), [], known, rights),
        lambda: roles.require_rights_over("x", [MODERATOR], known, rights),
        lambda: roles.require_rights_over(ADMINISTRATOR, [], known, rights),
    ):
        with pytest.raises(roles.BeyondOwnRights):
            refused()
    roles.require_rights_over(str(ROLE), [MODERATOR], known, ALL)
