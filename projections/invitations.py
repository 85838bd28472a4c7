"""Invitations and who let whom in: tables, fold and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from domain.invitations import (
    InvitationExpired,
    InvitationGiven,
    InvitationRevoked,
    InvitationUsed,
    State,
)
from domain.kernel import Recorded
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE invitations (
    id uuid PRIMARY KEY,
    creator uuid NOT NULL,
    from_quota boolean NOT NULL,
    given_at timestamptz NOT NULL,
    expires_at timestamptz,
    state text COLLATE "C" NOT NULL,
    ended_at timestamptz,
    used_by uuid
);
CREATE INDEX ON invitations (creator, given_at DESC, id);
CREATE INDEX ON invitations (state, given_at DESC, id);
CREATE INDEX ON invitations (given_at DESC, id);
CREATE INDEX ON invitations (expires_at) WHERE state = 'active';
CREATE UNIQUE INDEX ON invitations (used_by);
CREATE INDEX ON invitations (creator, ended_at, used_by) WHERE used_by IS NOT NULL;
CREATE TABLE amounts (
    state text COLLATE "C" PRIMARY KEY,
    amount bigint NOT NULL
);
CREATE TABLE inviters (
    account uuid PRIMARY KEY,
    invited bigint NOT NULL
);
"""
Status = Literal["all", "active", "used", "expired", "revoked"]
DEEPEST: Final = 100
"""Generations of inviters that are followed upwards."""


class InvitationRow(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation with the names of those it concerns. `state` as written down so far."""

    id: UUID
    creator: UUID
    creator_name: str
    from_quota: bool
    given_at: datetime
    expires_at: datetime | None
    state: str
    ended_at: datetime | None
    used_by: UUID | None
    used_by_name: str | None

    def state_at(self, at: datetime) -> str:
        """Where it stands at `at`, whether or not its end was written down."""
        overdue = self.expires_at is not None and at >= self.expires_at
        return State.EXPIRED.value if self.state == State.ACTIVE and overdue else self.state


class InvitedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member somebody let in, and how many he let in himself."""

    id: UUID
    username: str
    invited_at: datetime
    invited: int


class InvitationsProjection:
    """Invitations as they stand, and how many each member let in."""

    name = "invitations"
    version = 1
    topics: frozenset[str] | None = frozenset(
        {
            InvitationGiven.TOPIC,
            InvitationUsed.TOPIC,
            InvitationRevoked.TOPIC,
            InvitationExpired.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "invitations": ("id",),
        "amounts": ("state",),
        "inviters": ("account",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Add the new ones, then set the last state of each touched one."""
        given = [
            (recorded.envelope.originator_id, fact, recorded.envelope.meta.at)
            for recorded in batch
            if isinstance(fact := recorded.envelope.fact, InvitationGiven)
        ]
        if given:
            _add(cursor, given)
        ended: list[tuple[UUID, State, datetime, UUID | None]] = []
        for recorded in batch:
            invitation, at = recorded.envelope.originator_id, recorded.envelope.meta.at
            match recorded.envelope.fact:
                case InvitationUsed(account=account):
                    ended.append((invitation, State.USED, at, account))
                case InvitationRevoked():
                    ended.append((invitation, State.REVOKED, at, None))
                case InvitationExpired():
                    ended.append((invitation, State.EXPIRED, at, None))
        if ended:
            _end(cursor, ended)


def _add(cursor: Cursor, given: Sequence[tuple[UUID, InvitationGiven, datetime]]) -> None:
    cursor.execute(
        """
        INSERT INTO invitations (id, creator, from_quota, given_at, expires_at, state)
        SELECT *, 'active'
        FROM unnest(%s::uuid[], %s::uuid[], %s::boolean[], %s::timestamptz[], %s::timestamptz[])
        """,
        [
            [invitation for invitation, _, _ in given],
            [fact.creator for _, fact, _ in given],
            [fact.from_quota for _, fact, _ in given],
            [at for _, _, at in given],
            [fact.expires_at for _, fact, _ in given],
        ],
    )
    _count(cursor, [State.ACTIVE] * len(given), [1] * len(given))


def _end(cursor: Cursor, ended: Sequence[tuple[UUID, State, datetime, UUID | None]]) -> None:
    cursor.execute(
        """
        UPDATE invitations i SET state = e.state, ended_at = e.at, used_by = e.account
        FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::uuid[])
            AS e (id, state, at, account)
        WHERE i.id = e.id
        """,
        [list(column) for column in zip(*ended, strict=True)],
    )
    states = [state for _, state, _, _ in ended]
    _count(
        cursor,
        [*states, *([State.ACTIVE] * len(ended))],
        [*([1] * len(ended)), *([-1] * len(ended))],
    )
    used = [invitation for invitation, state, _, _ in ended if state is State.USED]
    cursor.execute(
        """
        INSERT INTO inviters (account, invited)
        SELECT creator, count(*) FROM invitations WHERE id = ANY(%s::uuid[]) GROUP BY creator
        ON CONFLICT (account) DO UPDATE SET invited = inviters.invited + excluded.invited
        """,
        [used],
    )


def _count(cursor: Cursor, states: Sequence[State], changes: Sequence[int]) -> None:
    cursor.execute(
        """
        INSERT INTO amounts (state, amount)
        SELECT state, sum(change)::bigint
        FROM unnest(%s::text[], %s::bigint[]) AS c (state, change) GROUP BY state
        ON CONFLICT (state) DO UPDATE SET amount = amounts.amount + excluded.amount
        """,
        [list(states), list(changes)],
    )


_ROWS = sql.SQL(
    """
    SELECT i.id, i.creator, c.username AS creator_name, i.from_quota, i.given_at, i.expires_at,
        i.state, i.ended_at, i.used_by, u.username AS used_by_name
    FROM invitations_1.invitations i
    JOIN users_1.accounts c ON c.id = i.creator
    LEFT JOIN users_1.accounts u ON u.id = i.used_by
    WHERE {condition}
    ORDER BY i.given_at DESC, i.id
    LIMIT %(limit)s OFFSET %(offset)s
    """
)
_NUMBER = sql.SQL(
    """
    SELECT count(*) FROM invitations_1.invitations i
    JOIN users_1.accounts c ON c.id = i.creator
    LEFT JOIN users_1.accounts u ON u.id = i.used_by
    WHERE {condition}
    """
)
_NAMED = sql.SQL(
    "(%(search)s::text IS NULL OR position(lower(%(search)s) IN lower(c.username)) > 0"
    " OR position(lower(%(search)s) IN lower(u.username)) > 0)"
)
_OVERDUE = sql.SQL("(i.state = 'active' AND i.expires_at <= %(at)s)")
_STANDS: Final[Mapping[Status, sql.Composable]] = {
    "all": sql.SQL("true"),
    "active": sql.SQL("i.state = 'active' AND (i.expires_at IS NULL OR i.expires_at > %(at)s)"),
    "used": sql.SQL("i.state = 'used'"),
    "expired": sql.SQL("(i.state = 'expired' OR {})").format(_OVERDUE),
    "revoked": sql.SQL("i.state = 'revoked'"),
}


def list_given(conn: Connection, creator: UUID, *, limit: int, offset: int) -> list[InvitationRow]:
    """A member's invitations, the newest first."""
    statement = _ROWS.format(condition=sql.SQL("i.creator = %(creator)s"))
    values = {"creator": creator, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(InvitationRow)) as cursor:
        return cursor.execute(statement, values).fetchall()


def count_given(conn: Connection, creator: UUID) -> int:
    """How many a member ever gave."""
    statement = "SELECT count(*) FROM invitations_1.invitations WHERE creator = %s"
    with conn.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(statement, [creator]).fetchone() or 0)


def list_invitations(
    conn: Connection, status: Status, search: str | None, at: datetime, *, limit: int, offset: int
) -> list[InvitationRow]:
    """Everyone's invitations in a state, the newest first; `search` is part of a name."""
    statement = _ROWS.format(condition=sql.SQL("{} AND {}").format(_STANDS[status], _NAMED))
    values = {"search": search, "at": at, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(InvitationRow)) as cursor:
        return cursor.execute(statement, values).fetchall()


def count_invitations(conn: Connection, status: Status, search: str | None, at: datetime) -> int:
    """How many `list_invitations` could give."""
    statement = _NUMBER.format(condition=sql.SQL("{} AND {}").format(_STANDS[status], _NAMED))
    with conn.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(statement, {"search": search, "at": at}).fetchone() or 0)


def count_states(conn: Connection, at: datetime) -> Mapping[str, int]:
    """How many invitations stand in each state at `at`."""
    with conn.cursor() as cursor:
        rows = cursor.execute("SELECT state, amount FROM invitations_1.amounts").fetchall()
        overdue = cursor.execute(
            sql.SQL("SELECT count(*) FROM invitations_1.invitations i WHERE {}").format(_OVERDUE),
            {"at": at},
        ).fetchone()
    late = int(overdue[0]) if overdue else 0
    amounts = {state.value: 0 for state in State} | {row[0]: int(row[1]) for row in rows}
    amounts[State.ACTIVE] -= late
    amounts[State.EXPIRED] += late
    return amounts


def list_overdue(conn: Connection, at: datetime, limit: int) -> list[UUID]:
    """Invitations that ran out and whose end is not written down, the oldest first."""
    statement = sql.SQL(
        "SELECT i.id FROM invitations_1.invitations i WHERE {} ORDER BY i.expires_at, i.id LIMIT %(limit)s"
    ).format(_OVERDUE)
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement, {"at": at, "limit": limit}).fetchall()


def list_invited(conn: Connection, account: UUID, *, limit: int, offset: int) -> list[InvitedRow]:
    """Whom a member let in, the first first."""
    with conn.cursor(row_factory=class_row(InvitedRow)) as cursor:
        return cursor.execute(
            """
            SELECT a.id, a.username, i.ended_at AS invited_at, coalesce(n.invited, 0) AS invited
            FROM invitations_1.invitations i
            JOIN users_1.accounts a ON a.id = i.used_by
            LEFT JOIN invitations_1.inviters n ON n.account = i.used_by
            WHERE i.creator = %s AND i.used_by IS NOT NULL
            ORDER BY i.ended_at, i.used_by
            LIMIT %s OFFSET %s
            """,
            [account, limit, offset],
        ).fetchall()


def count_invited(conn: Connection, account: UUID) -> int:
    """How many a member let in."""
    statement = "SELECT invited FROM invitations_1.inviters WHERE account = %s"
    with conn.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(statement, [account]).fetchone() or 0)


def list_inviters(conn: Connection, account: UUID) -> list[InvitedRow]:
    """Who let a member in, who let that one in, and so on; the nearest first."""
    with conn.cursor(row_factory=class_row(InvitedRow)) as cursor:
        return cursor.execute(
            """
            WITH RECURSIVE up (depth, account, invited_at) AS (
                SELECT 1, i.creator, i.ended_at
                FROM invitations_1.invitations i WHERE i.used_by = %(account)s
                UNION ALL
                SELECT up.depth + 1, i.creator, i.ended_at
                FROM up JOIN invitations_1.invitations i ON i.used_by = up.account
                WHERE up.depth < %(deepest)s
            )
            SELECT a.id, a.username, up.invited_at, coalesce(n.invited, 0) AS invited
            FROM up
            JOIN users_1.accounts a ON a.id = up.account
            LEFT JOIN invitations_1.inviters n ON n.account = up.account
            ORDER BY up.depth
            """,
            {"account": account, "deepest": DEEPEST},
        ).fetchall()
