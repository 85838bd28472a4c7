"""Who should hold a role by its rule, against who does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import tuple_row

from domain.roles import Comparator, Field, RoleRules
from projections.account_roles import RoleRow
from projections.engine import Connection

_FIELDS: Final[Mapping[Field, sql.SQL]] = {
    "approvedUploads": sql.SQL(
        "(SELECT count(*) FROM torrents_4.torrents u"
        " WHERE u.uploader = a.id AND u.status = 'accepted' AND NOT u.withdrawn)"
    ),
    "totalUploads": sql.SQL("a.uploads"),
    # Nothing downloaded is no ratio: it would pass every threshold.
    "ratio": sql.SQL(
        "((a.starter_upload + coalesce(t.uploaded, 0))::numeric / nullif(t.downloaded, 0))"
    ),
    "uploadedBytes": sql.SQL("(a.starter_upload + coalesce(t.uploaded, 0))"),
    "downloadedBytes": sql.SQL("coalesce(t.downloaded, 0)"),
    "accountAgeDays": sql.SQL("floor(extract(epoch FROM %(at)s - a.created_at) / 86400)"),
    "completedSeeds": sql.SQL("coalesce(t.snatches, 0)"),
}
_COMPARATORS: Final[Mapping[Comparator, sql.SQL]] = {
    "gte": sql.SQL(">="),
    "gt": sql.SQL(">"),
    "lte": sql.SQL("<="),
    "lt": sql.SQL("<"),
    "eq": sql.SQL("="),
}


class RuleChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts that should get a role and those that should lose it, at most `limit` in all."""

    attach: list[UUID]
    detach: list[UUID]


def read_rule_changes(conn: Connection, role: RoleRow, at: datetime, *, limit: int) -> RuleChanges:
    """What the rule of `role` wants changed; banned members are let alone.

    A role given by hand keeps nobody a rule once gave it to.
    """
    rule = role.rule if role.assignment == "auto" else None
    condition, values = _condition(rule)
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(
            sql.SQL(
                """
                SELECT a.id, r.account IS NULL
                FROM users_1.accounts a
                LEFT JOIN accounting_1.member_totals t ON t.account = a.number
                LEFT JOIN users_1.roles r ON r.account = a.id AND r.role = %(role)s
                LEFT JOIN users_1.bans b ON b.account = a.id
                WHERE b.account IS NULL
                    AND CASE WHEN r.account IS NULL THEN coalesce({condition}, false)
                        ELSE r.automatic AND NOT coalesce({condition}, false) END
                ORDER BY a.number LIMIT %(limit)s
                """
            ).format(condition=condition),
            {"role": role.id, "at": at, "limit": limit, **values},
        ).fetchall()
    return RuleChanges(
        attach=[account for account, is_new in rows if is_new],
        detach=[account for account, is_new in rows if not is_new],
    )


def count_members(conn: Connection) -> int:
    """How many accounts a rule looks at."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute("SELECT count(*) FROM users_1.accounts").fetchone()
    return int(row[0]) if row else 0


def _condition(rule: RoleRules | None) -> tuple[sql.Composable, dict[str, Any]]:
    if rule is None or not rule.conditions:
        return sql.SQL("false"), {}
    parts: list[sql.Composable] = []
    values: dict[str, Any] = {}
    for number, condition in enumerate(rule.conditions):
        name = f"value{number}"
        values[name] = condition.thousandths
        parts.append(
            sql.SQL("({}::numeric * 1000 {} {})").format(
                _FIELDS[condition.field],
                _COMPARATORS[condition.comparator],
                sql.Placeholder(name),
            )
        )
    joiner = " AND " if rule.combinator == "and" else " OR "
    return sql.SQL("({})").format(sql.SQL(joiner).join(parts)), values
