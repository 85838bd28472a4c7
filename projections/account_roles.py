"""The roles of the site and who holds them, as part of the accounts: tables, fold and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.kernel import Recorded
from domain.permissions import ADMINISTRATOR, BUILT_IN, MODERATOR, Permission
from domain.roles import RoleCreated, RoleEdited, RoleRemoved, RoleRules, RoleShape
from domain.users import AccountRoleGranted, AccountRoleWithdrawn
from projections.engine import Connection, Cursor

DDL: Final = """
CREATE TABLE roles (
    account uuid NOT NULL,
    role text COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL,
    granted_by uuid,
    automatic boolean NOT NULL,
    PRIMARY KEY (account, role)
);
CREATE INDEX ON roles (role, account);
CREATE TABLE role_catalogue (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    color text NOT NULL,
    icon text,
    priority integer NOT NULL,
    show_as_badge boolean NOT NULL,
    permissions text[] NOT NULL,
    assignment text NOT NULL,
    rules text,
    created_at timestamptz NOT NULL
);
"""
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "roles": ("account", "role"),
    "role_catalogue": ("id",),
}
TOPICS: Final = frozenset(
    {
        AccountRoleGranted.TOPIC,
        AccountRoleWithdrawn.TOPIC,
        RoleCreated.TOPIC,
        RoleEdited.TOPIC,
        RoleRemoved.TOPIC,
    }
)


class AccountRoleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A role an account holds; looks are None for a built-in one."""

    role: str
    granted_at: datetime
    granted_by: UUID | None
    automatic: bool
    name: str | None
    color: str | None
    icon: str | None
    priority: int | None
    show_as_badge: bool | None


class RoleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A role of the site; `rules` is JSON text, None without any."""

    id: str
    name: str
    color: str
    icon: str | None
    priority: int
    show_as_badge: bool
    permissions: list[str]
    assignment: str
    rules: str | None
    created_at: datetime

    @property
    def rule(self) -> RoleRules | None:
        return msgspec.json.decode(self.rules, type=RoleRules) if self.rules else None


def fold_roles(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    """Bring roles and holders to their last state, and each touched account's flags with them."""
    touched = _fold_holders(cursor, batch)
    touched |= _fold_catalogue(cursor, batch)
    if touched:
        _set_flags(cursor, sorted(touched))


def _fold_holders(cursor: Cursor, batch: Sequence[Recorded]) -> set[UUID]:
    last: dict[tuple[UUID, str], Recorded] = {}
    for recorded in batch:
        fact = recorded.envelope.fact
        if isinstance(fact, AccountRoleGranted | AccountRoleWithdrawn):
            last[recorded.envelope.originator_id, fact.role] = recorded
    if not last:
        return set()
    cursor.executemany("DELETE FROM roles WHERE account = %s AND role = %s", list(last))
    rows = [
        (account, role, envelope.meta.at, envelope.meta.actor, fact.automatic)
        for (account, role), recorded in last.items()
        if isinstance(fact := (envelope := recorded.envelope).fact, AccountRoleGranted)
    ]
    if rows:
        cursor.executemany(
            "INSERT INTO roles (account, role, granted_at, granted_by, automatic)"
            " VALUES (%s, %s, %s, %s, %s)",
            rows,
        )
    return {account for account, _ in last}


def _fold_catalogue(cursor: Cursor, batch: Sequence[Recorded]) -> set[UUID]:
    changed: list[str] = []
    removed: list[str] = []
    for recorded in batch:
        match recorded.envelope.fact:
            case RoleCreated(role=role, shape=shape) | RoleEdited(role=role, shape=shape):
                _put_role(cursor, role, shape, recorded.envelope.meta.at)
                changed.append(str(role))
            case RoleRemoved(role=role):
                removed.append(str(role))
    if not changed and not removed:
        return set()
    holders = cursor.execute(
        "SELECT DISTINCT account FROM roles WHERE role = ANY(%s)", [[*changed, *removed]]
    ).fetchall()
    cursor.execute("DELETE FROM roles WHERE role = ANY(%s)", [removed])
    cursor.execute("DELETE FROM role_catalogue WHERE id = ANY(%s)", [removed])
    return {row[0] for row in holders}


def _put_role(cursor: Cursor, role: UUID, shape: RoleShape, at: datetime) -> None:
    rules = msgspec.json.encode(shape.rules).decode() if shape.rules else None
    cursor.execute(
        """
        INSERT INTO role_catalogue
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, color = excluded.color,
            icon = excluded.icon, priority = excluded.priority,
            show_as_badge = excluded.show_as_badge, permissions = excluded.permissions,
            assignment = excluded.assignment, rules = excluded.rules
        """,
        [
            str(role),
            shape.name,
            shape.color,
            shape.icon,
            shape.priority,
            shape.show_as_badge,
            list(shape.permissions),
            shape.assignment,
            rules,
            at,
        ],
    )


def _set_flags(cursor: Cursor, accounts: Sequence[UUID]) -> None:
    cursor.execute(
        """
        UPDATE accounts a SET
            is_admin = %(administrator)s = ANY(held.roles),
            is_moderator = %(moderator)s = ANY(held.roles),
            can_upload_without_moderation =
                held.roles && %(upload)s::text[] OR %(upload_right)s = ANY(held.permissions),
            can_audit = held.roles && %(audit)s::text[] OR %(audit_right)s = ANY(held.permissions)
        FROM (
            SELECT touched.account,
                coalesce(array_agg(r.role) FILTER (WHERE r.role IS NOT NULL), '{}') AS roles,
                coalesce(array_agg(p.permission) FILTER (WHERE p.permission IS NOT NULL), '{}')
                    AS permissions
            FROM unnest(%(accounts)s::uuid[]) AS touched (account)
            LEFT JOIN roles r ON r.account = touched.account
            LEFT JOIN role_catalogue c ON c.id = r.role
            LEFT JOIN LATERAL unnest(c.permissions) AS p (permission) ON true
            GROUP BY touched.account
        ) AS held
        WHERE a.id = held.account
        """,
        {
            "accounts": accounts,
            "administrator": ADMINISTRATOR,
            "moderator": MODERATOR,
            "upload": _built_in_with(Permission.CAN_UPLOAD_WITHOUT_MODERATION),
            "upload_right": Permission.CAN_UPLOAD_WITHOUT_MODERATION.value,
            "audit": _built_in_with(Permission.CAN_AUDIT),
            "audit_right": Permission.CAN_AUDIT.value,
        },
    )


def _built_in_with(permission: Permission) -> list[str]:
    return sorted(role for role, permits in BUILT_IN.items() if permission in permits)


def list_account_roles(conn: Connection, account: UUID) -> list[AccountRoleRow]:
    """The roles an account holds, oldest first."""
    with conn.cursor(row_factory=class_row(AccountRoleRow)) as cursor:
        return cursor.execute(
            """
            SELECT r.role, r.granted_at, r.granted_by, r.automatic, c.name, c.color, c.icon,
                c.priority, c.show_as_badge
            FROM users_1.roles r LEFT JOIN users_1.role_catalogue c ON c.id = r.role
            WHERE r.account = %s ORDER BY r.granted_at, r.role LIMIT 200
            """,
            [account],
        ).fetchall()


def list_roles(conn: Connection) -> list[RoleRow]:
    """Every role but the built-in ones, by name."""
    with conn.cursor(row_factory=class_row(RoleRow)) as cursor:
        return cursor.execute(
            "SELECT * FROM users_1.role_catalogue ORDER BY lower(name), id LIMIT 1000"
        ).fetchall()


def find_role(conn: Connection, role: str) -> RoleRow | None:
    """One role by its id, None for a built-in or unknown one."""
    with conn.cursor(row_factory=class_row(RoleRow)) as cursor:
        return cursor.execute(
            "SELECT * FROM users_1.role_catalogue WHERE id = %s", [role]
        ).fetchone()
