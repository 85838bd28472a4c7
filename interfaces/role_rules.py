"""Gives and takes roles by their rules: for the route that asks for it, and by the clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from psycopg import Connection

from application.roles import ApplyRoleRule
from projections.account_roles import list_roles
from projections.role_rules import count_members, read_rule_changes

CHANGES_A_SWEEP: Final = 1_000
"""So many at most are made at a time; the rest waits for the next sweep."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a look at all rules did; `complete` is false while more waits."""

    considered: int
    attached: int
    detached: int
    complete: bool


def apply_role_rules(
    connection: Callable[[], AbstractContextManager[Connection[Any]]],
    dispatch: Callable[[ApplyRoleRule], bool],
    at: datetime,
    *,
    limit: int = CHANGES_A_SWEEP,
) -> Sweep:
    """Bring holders of all roles to what the rules say at `at`, at most `limit` changes."""
    with connection() as conn:
        considered = count_members(conn)
        wanted = [
            (role.id, read_rule_changes(conn, role, at, limit=limit + 1))
            for role in list_roles(conn)
        ]
    attached = detached = 0
    for role, changes in wanted:
        steps: list[tuple[UUID, Literal["attach", "detach"]]] = [
            *((account, "attach") for account in changes.attach),
            *((account, "detach") for account in changes.detach),
        ]
        for account, action in steps:
            if attached + detached >= limit:
                return Sweep(
                    considered=considered, attached=attached, detached=detached, complete=False
                )
            if dispatch(ApplyRoleRule(account=account, role=role, action=action)):
                attached += action == "attach"
                detached += action == "detach"
    return Sweep(considered=considered, attached=attached, detached=detached, complete=True)
