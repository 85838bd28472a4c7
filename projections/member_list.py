"""The list of members for staff: keys from the directory first, then the rows of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row, scalar_row, tuple_row

from domain.permissions import ADMINISTRATOR, MODERATOR
from projections.account_roles import AccountRoleRow
from projections.engine import Connection
from projections.member_directory import instant, stamp
from projections.member_figures import Transfer
from projections.stats import find_site_counters

Sort = Literal["username", "createdAt", "lastSeen", "uploaded", "downloaded", "ratio"]
Activity = Literal["online", "active", "idle", "never"]
NO_ROLE: Final = "none"
ONLINE: Final = timedelta(minutes=5)
ACTIVE: Final = timedelta(hours=24)
IDLE: Final = timedelta(days=30)
COUNTED: Final = 2_000
"""Matches of a filter are counted exactly up to here, then "at least" (design, section 9)."""

_KEYS: Final[Mapping[Sort, sql.SQL]] = {
    "username": sql.SQL("m.name"),
    "createdAt": sql.SQL("m.created"),
    "lastSeen": sql.SQL("m.last_seen"),
    "uploaded": sql.SQL("m.uploaded"),
    "downloaded": sql.SQL("m.downloaded"),
    "ratio": sql.SQL("m.ratio"),
}
CURSOR_KINDS: Final[Mapping[Sort, tuple[type, ...]]] = {
    sort: (str if sort == "username" else int, int) for sort in _KEYS
}
"""Types of the two values in a cursor: the sort key, and the number to break ties."""


class MemberQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the list; None where anything will do.

    `search` is part of a name, `role` a role's id or `NO_ROLE`. `after` holds sort key and
    number of the last row seen; `offset` counts rows to skip. `now` decides what is in force.
    """

    now: datetime
    search: str | None = None
    banned: bool | None = None
    administrator: bool | None = None
    moderator: bool | None = None
    role: str | None = None
    activity: Activity | None = None
    sort: Sort = "createdAt"
    descending: bool = True
    limit: int = 25
    offset: int = 0
    after: tuple[str | int, ...] | None = None

    @property
    def narrows(self) -> bool:
        """Whether it asks for some members only."""
        asked = (self.banned, self.administrator, self.moderator, self.role, self.activity)
        return bool(self.search) or any(each is not None for each in asked)


class MemberKey(msgspec.Struct, frozen=True):
    """Where a member stands in the list."""

    account: UUID
    key: str | int
    number: int


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member as staff see him. Sizes are bytes; `last_seen` is the directory's, 0 for never.

    The ban's fields are None where none is in force, its reason also once erased.
    """

    id: UUID
    username: str
    display_name: str | None
    is_admin: bool
    is_moderator: bool
    banned_at: datetime | None
    ban_reason: str | None
    banned_until: datetime | None
    invites: int
    uploads: int
    uploaded: int
    downloaded: int
    created_at: datetime
    last_seen: int

    @property
    def transfer(self) -> Transfer:
        return Transfer(self.uploaded, self.downloaded)

    @property
    def last_seen_at(self) -> datetime | None:
        return instant(self.last_seen)


class MemberCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Banned members, and holders of the two built-in roles."""

    banned: int
    administrators: int
    moderators: int


class Total(msgspec.Struct, frozen=True):
    """Number of matches; at least so many when it is not exact."""

    count: int
    exact: bool


_BANNED: Final = sql.SQL(
    "EXISTS (SELECT FROM users_1.bans b WHERE b.account = m.account"
    " AND (b.until IS NULL OR b.until > %(now)s))"
)
_HOLDS: Final = sql.SQL(
    "EXISTS (SELECT FROM users_1.roles r WHERE r.account = m.account AND r.role = {})"
)
_HOLDS_NONE: Final = sql.SQL("NOT EXISTS (SELECT FROM users_1.roles r WHERE r.account = m.account)")


def list_member_keys(conn: Connection, query: MemberQuery) -> list[MemberKey]:
    """One page of keys, in order."""
    values: dict[str, Any] = {"limit": query.limit, "offset": query.offset}
    key, direction = _KEYS[query.sort], sql.SQL("DESC" if query.descending else "ASC")
    conditions = [*_conditions(query, values), *_after(query, values)]
    statement = sql.SQL(
        "SELECT m.account, {key}, m.number FROM member_directory_2.members m WHERE {conditions}"
        " ORDER BY {key} {direction}, m.number {direction} LIMIT %(limit)s OFFSET %(offset)s"
    ).format(key=key, conditions=sql.SQL(" AND ").join(conditions), direction=direction)
    with conn.cursor(row_factory=tuple_row) as cursor:
        return [MemberKey(*row) for row in cursor.execute(statement, values).fetchall()]


def count_members(conn: Connection, query: MemberQuery) -> Total:
    """How many members match: from the site's counter, or counted up to `COUNTED`."""
    if not query.narrows:
        return Total(find_site_counters(conn).users, exact=True)
    values: dict[str, Any] = {"limit": COUNTED + 1}
    statement = sql.SQL(
        "SELECT count(*) FROM (SELECT FROM member_directory_2.members m WHERE {conditions}"
        " LIMIT %(limit)s) matches"
    ).format(conditions=sql.SQL(" AND ").join(_conditions(query, values)))
    with conn.cursor(row_factory=scalar_row) as cursor:
        found = int(cursor.execute(statement, values).fetchone() or 0)
    return Total(min(found, COUNTED), exact=found <= COUNTED)


def find_members(
    conn: Connection, accounts: Sequence[UUID], now: datetime
) -> dict[UUID, MemberRow]:
    """The rows of a page by account; bans as they are in force at `now`."""
    with conn.cursor(row_factory=class_row(MemberRow)) as cursor:
        rows = cursor.execute(
            """
            SELECT a.id, a.username, p.display_name, a.is_admin, a.is_moderator,
                b.banned_at, b.reason AS ban_reason, b.until AS banned_until,
                a.invites, a.uploads, a.starter_upload + coalesce(t.uploaded, 0) AS uploaded,
                coalesce(t.downloaded, 0) AS downloaded, a.created_at,
                greatest(d.last_seen,
                    (extract(epoch FROM s.last_at) * 1000000)::bigint) AS last_seen
            FROM unnest(%(accounts)s::uuid[]) AS asked (account)
            JOIN users_1.accounts a ON a.id = asked.account
            JOIN member_directory_2.members d ON d.account = asked.account
            LEFT JOIN users_1.bans b ON b.account = asked.account
                AND (b.until IS NULL OR b.until > %(now)s)
            LEFT JOIN profiles_1.profiles p ON p.account = asked.account
            LEFT JOIN profiles_1.sign_ins s ON s.account = asked.account
            LEFT JOIN accounting_1.member_totals t ON t.account = a.number
            """,
            {"accounts": list(accounts), "now": now},
        ).fetchall()
    return {row.id: row for row in rows}


def list_roles_of(conn: Connection, accounts: Sequence[UUID]) -> dict[UUID, list[AccountRoleRow]]:
    """The roles these accounts hold, oldest first."""
    held: dict[UUID, list[AccountRoleRow]] = {account: [] for account in accounts}
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(
            """
            SELECT r.account, r.role, r.granted_at, r.granted_by, r.automatic, c.name, c.color,
                c.icon, c.priority, c.show_as_badge
            FROM users_1.roles r LEFT JOIN users_1.role_catalogue c ON c.id = r.role
            WHERE r.account = ANY(%s::uuid[]) ORDER BY r.granted_at, r.role
            """,
            [list(accounts)],
        ).fetchall()
    names = AccountRoleRow.__struct_fields__
    for account, *values in rows:
        held[account].append(AccountRoleRow(**dict(zip(names, values, strict=True))))
    return held


def read_member_counts(conn: Connection, now: datetime) -> MemberCounts:
    """Figures over all members."""
    with conn.cursor(row_factory=class_row(MemberCounts)) as cursor:
        row = cursor.execute(
            """
            SELECT (SELECT count(*) FROM users_1.bans WHERE until IS NULL OR until > %(now)s)
                    AS banned,
                (SELECT count(*) FROM users_1.roles WHERE role = %(administrator)s)
                    AS administrators,
                (SELECT count(*) FROM users_1.roles WHERE role = %(moderator)s) AS moderators
            """,
            {"now": now, "administrator": ADMINISTRATOR, "moderator": MODERATOR},
        ).fetchone()
    return row or MemberCounts(banned=0, administrators=0, moderators=0)


def count_seen_since(conn: Connection, at: datetime) -> int:
    """How many members the directory says were seen since."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        row = cursor.execute(
            "SELECT count(*) FROM member_directory_2.members WHERE last_seen >= %s", [stamp(at)]
        ).fetchone()
    return int(row or 0)


def _conditions(query: MemberQuery, values: dict[str, Any]) -> list[sql.Composable]:
    """What a member must be like; puts the values it names into `values`."""
    values["now"] = query.now
    conditions: list[sql.Composable] = [sql.SQL("true")]
    if query.search:
        values["search"] = query.search.lower()
        conditions.append(sql.SQL("strpos(m.name, %(search)s) > 0"))
    if query.role == NO_ROLE:
        conditions.append(_HOLDS_NONE)
    elif query.role is not None:
        values["role"] = query.role
        conditions.append(_HOLDS.format(sql.Placeholder("role")))
    switches = (
        (query.banned, _BANNED),
        (query.administrator, _HOLDS.format(sql.Literal(ADMINISTRATOR))),
        (query.moderator, _HOLDS.format(sql.Literal(MODERATOR))),
    )
    for wanted, condition in switches:
        if wanted is not None:
            conditions.append(condition if wanted else sql.SQL("NOT {}").format(condition))
    if query.activity is not None:
        conditions.append(_activity(query.activity, query.now, values))
    return conditions


def _activity(activity: Activity, now: datetime, values: dict[str, Any]) -> sql.SQL:
    values["online"], values["active"] = stamp(now - ONLINE), stamp(now - ACTIVE)
    values["idle"] = stamp(now - IDLE)
    match activity:
        case "online":
            return sql.SQL("m.last_seen >= %(online)s")
        case "active":
            return sql.SQL("m.last_seen >= %(active)s")
        case "idle":
            return sql.SQL("m.last_seen > 0 AND m.last_seen <= %(idle)s")
        case "never":
            return sql.SQL("m.last_seen = 0")


def _after(query: MemberQuery, values: dict[str, Any]) -> list[sql.Composable]:
    """The rows behind the cursor, in the order of the list."""
    if query.after is None:
        return []
    values["after_key"], values["after_number"] = query.after
    return [
        sql.SQL("({key}, m.number) {sign} (%(after_key)s, %(after_number)s)").format(
            key=_KEYS[query.sort], sign=sql.SQL("<" if query.descending else ">")
        )
    ]
