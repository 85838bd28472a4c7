"""Who follows whom: tables, fold and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, LiteralString
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from domain.follows import MemberFollowed, MemberUnfollowed
from domain.kernel import Recorded
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE follows (
    follower uuid NOT NULL,
    member uuid NOT NULL,
    followed_at timestamptz NOT NULL,
    PRIMARY KEY (follower, member)
);
CREATE INDEX ON follows (follower, followed_at, member);
CREATE TABLE followers (
    member uuid PRIMARY KEY,
    amount bigint NOT NULL
);
"""
Sort = Literal["recent", "alpha"]
_ORDER: Final[Mapping[Sort, sql.SQL]] = {
    "recent": sql.SQL("f.followed_at DESC, f.member"),
    "alpha": sql.SQL("lower(a.username), f.member"),
}


class FollowedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member someone follows. Sizes are bytes; `uploads` as in `AccountRow`.

    `last_upload_at` is of his newest accepted torrent.
    """

    id: UUID
    username: str
    display_name: str | None
    bio: str | None
    show_last_seen: bool
    last_sign_in: datetime | None
    created_at: datetime
    uploaded: int
    downloaded: int
    uploads: int
    last_upload_at: datetime | None
    followed_at: datetime


class FollowsProjection:
    """Who follows whom now, and how many follow each."""

    name = "follows"
    version = 1
    topics: frozenset[str] | None = frozenset({MemberFollowed.TOPIC, MemberUnfollowed.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "follows": ("follower", "member"),
        "followers": ("member",),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Set each touched pair to its last state, and count what became different."""
        last: dict[tuple[UUID, UUID], datetime | None] = {}
        for recorded in batch:
            match recorded.envelope.fact:
                case MemberFollowed(follower=follower, member=member):
                    last[follower, member] = recorded.envelope.meta.at
                case MemberUnfollowed(follower=follower, member=member):
                    last[follower, member] = None
        if last:
            _set_pairs(cursor, last)


def _set_pairs(cursor: Cursor, last: Mapping[tuple[UUID, UUID], datetime | None]) -> None:
    gone = cursor.execute(
        """
        DELETE FROM follows f USING unnest(%s::uuid[], %s::uuid[]) AS touched (follower, member)
        WHERE (f.follower, f.member) = (touched.follower, touched.member)
        RETURNING f.member
        """,
        [[follower for follower, _ in last], [member for _, member in last]],
    ).fetchall()
    kept = [(*pair, at) for pair, at in last.items() if at is not None]
    if kept:
        cursor.execute(
            """
            INSERT INTO follows (follower, member, followed_at)
            SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])
            """,
            [list(column) for column in zip(*kept, strict=True)],
        )
    change = Counter(member for _, member, _ in kept)
    change.subtract(row[0] for row in gone)
    cursor.execute(
        """
        INSERT INTO followers (member, amount) SELECT * FROM unnest(%s::uuid[], %s::bigint[])
        ON CONFLICT (member) DO UPDATE SET amount = followers.amount + excluded.amount
        """,
        [list(change), list(change.values())],
    )
    cursor.execute(
        "DELETE FROM followers WHERE member = ANY(%s::uuid[]) AND amount = 0", [list(change)]
    )


_FOLLOWING = sql.SQL(
    """
    SELECT a.id, a.username, p.display_name, p.bio, a.created_at, a.uploads, f.followed_at,
        coalesce(p.show_last_seen, true) AS show_last_seen, s.last_at AS last_sign_in,
        a.starter_upload + coalesce(t.uploaded, 0) AS uploaded,
        coalesce(t.downloaded, 0) AS downloaded,
        (
            SELECT u.created_at FROM torrents_4.torrents u
            WHERE u.uploader = a.id AND u.status = 'accepted' AND NOT u.withdrawn
            ORDER BY u.listed DESC LIMIT 1
        ) AS last_upload_at
    FROM follows_1.follows f
    JOIN users_1.accounts a ON a.id = f.member
    LEFT JOIN profiles_1.profiles p ON p.account = a.id
    LEFT JOIN profiles_1.sign_ins s ON s.account = a.id
    LEFT JOIN accounting_1.member_totals t ON t.account = a.number
    WHERE f.follower = %(follower)s
    ORDER BY {order}
    LIMIT %(limit)s OFFSET %(offset)s
    """
)


def list_following(
    conn: Connection, follower: UUID, sort: Sort, *, limit: int, offset: int
) -> list[FollowedRow]:
    """Whom a member follows: those he followed last first, or by name."""
    values = {"follower": follower, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(FollowedRow)) as cursor:
        return cursor.execute(_FOLLOWING.format(order=_ORDER[sort]), values).fetchall()


def count_following(conn: Connection, follower: UUID) -> int:
    """How many members he follows."""
    return _number(conn, "SELECT count(*) FROM follows_1.follows WHERE follower = %s", [follower])


def count_followers(conn: Connection, member: UUID) -> int:
    """How many follow him."""
    return _number(conn, "SELECT amount FROM follows_1.followers WHERE member = %s", [member])


def is_following(conn: Connection, follower: UUID, member: UUID) -> bool:
    """Whether `follower` follows `member`."""
    statement: LiteralString = "SELECT 1 FROM follows_1.follows WHERE follower = %s AND member = %s"
    return _number(conn, statement, [follower, member]) == 1


def _number(conn: Connection, statement: LiteralString, values: Sequence[UUID]) -> int:
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement, values).fetchone()
    return int(row[0]) if row else 0
