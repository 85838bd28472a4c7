"""Reports as their members and staff see them: tables, fold and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from domain.kernel import Private, Recorded
from domain.reports import (
    ReportDismissed,
    ReportFiled,
    ReportResolved,
    ReportWithdrawn,
)
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE reports (
    id uuid PRIMARY KEY,
    filed bigint NOT NULL UNIQUE,
    reporter uuid NOT NULL,
    target_type text COLLATE "C" NOT NULL,
    target uuid NOT NULL,
    owner uuid NOT NULL,
    torrent uuid,
    reason text COLLATE "C",
    details text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    decided_by uuid,
    decided_at timestamptz,
    resolution text COLLATE "C",
    ban text COLLATE "C"
);
CREATE INDEX ON reports (reporter, filed) WHERE status <> 'withdrawn';
CREATE INDEX ON reports (reporter, status, filed);
CREATE INDEX ON reports (filed) WHERE status <> 'withdrawn';
CREATE INDEX ON reports (status, filed);
CREATE INDEX ON reports (target_type, filed) WHERE status <> 'withdrawn';
CREATE INDEX ON reports (target_type, status, filed);
CREATE INDEX ON reports (decided_by, decided_at);
CREATE TABLE amounts (
    target_type text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (target_type, status)
);
CREATE TABLE reporters (
    reporter uuid NOT NULL,
    status text COLLATE "C" NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (reporter, status)
);
"""
# `filed` is the position of the fact, and so the order of the lists. A replay after a report was
# withdrawn finds no words (`Private.text` is None); the fold of the withdrawal blanks the live row.

Status = Literal["pending", "resolved", "dismissed", "withdrawn"]


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    """A report with the names it takes to read it; `reason` is None once it was withdrawn.

    `name` is that of the target: the member's, or that of the torrent or forum topic it is or
    stands below; `info_hash` and `topic` are those. `is_open` says whether the target is there for everybody.
    """

    id: UUID
    filed: int
    reporter: UUID
    reporter_name: str | None
    target_type: str
    target: UUID
    owner: UUID
    owner_name: str | None
    reason: str | None
    details: str | None
    status: str
    created_at: datetime
    decided_by: UUID | None
    decided_by_name: str | None
    decided_at: datetime | None
    resolution: str | None
    ban: str | None
    name: str | None
    info_hash: str | None
    topic: UUID | None
    is_open: bool


class ReportsProjection:
    """Each report as it stands, and how many stand where."""

    name = "reports"
    version = 1
    topics: frozenset[str] | None = frozenset(
        {
            ReportFiled.TOPIC,
            ReportWithdrawn.TOPIC,
            ReportResolved.TOPIC,
            ReportDismissed.TOPIC,
        }
    )
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {
        "reports": ("id",),
        "amounts": ("target_type", "status"),
        "reporters": ("reporter", "status"),
    }

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Add new reports, then end those that ended, then count what moved."""
        _reports_filed(cursor, batch)
        _reports_withdrawn(cursor, batch)
        _reports_decided(cursor, batch)
        _count(cursor, batch)


def _reports_filed(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (
            recorded.envelope.originator_id,
            recorded.position,
            fact.reporter,
            fact.target_type,
            fact.target,
            fact.owner,
            fact.torrent,
            fact.reason.text,
            _text(fact.details),
            recorded.envelope.meta.at,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ReportFiled)
    ]
    if rows:
        cursor.executemany(
            """
            INSERT INTO reports (id, filed, reporter, target_type, target, owner, torrent, reason,
                details, created_at, status)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending')
            """,
            rows,
        )


def _reports_withdrawn(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    withdrawn = [
        recorded.envelope.originator_id
        for recorded in batch
        if isinstance(recorded.envelope.fact, ReportWithdrawn)
    ]
    if withdrawn:
        cursor.execute(
            """
            UPDATE reports SET status = 'withdrawn', reason = NULL, details = NULL
            WHERE id = ANY(%s::uuid[])
            """,
            [withdrawn],
        )


def _reports_decided(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    rows = [
        (
            _status_after(fact),
            fact.moderator,
            recorded.envelope.meta.at,
            _text(fact.resolution),
            fact.ban if isinstance(fact, ReportResolved) else None,
            recorded.envelope.originator_id,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ReportResolved | ReportDismissed)
    ]
    if rows:
        cursor.executemany(
            """
            UPDATE reports SET status = %s, decided_by = %s, decided_at = %s, resolution = %s,
                ban = %s
            WHERE id = %s
            """,
            rows,
        )


def _count(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    types: Counter[tuple[str, str]] = Counter()
    reporters: Counter[tuple[UUID, str]] = Counter()
    for recorded in batch:
        match recorded.envelope.fact:
            case ReportFiled(reporter=reporter, target_type=kind):
                types[kind, "pending"] += 1
                reporters[reporter, "pending"] += 1
            case (ReportWithdrawn() | ReportResolved() | ReportDismissed()) as fact:
                types[fact.target_type, "pending"] -= 1
                reporters[fact.reporter, "pending"] -= 1
                types[fact.target_type, _status_after(fact)] += 1
                reporters[fact.reporter, _status_after(fact)] += 1
    cursor.executemany(
        """
        INSERT INTO amounts (target_type, status, amount) VALUES (%s, %s, %s)
        ON CONFLICT (target_type, status) DO UPDATE SET amount = amounts.amount + excluded.amount
        """,
        [(*key, change) for key, change in sorted(types.items())],
    )
    cursor.executemany(
        """
        INSERT INTO reporters (reporter, status, amount) VALUES (%s, %s, %s)
        ON CONFLICT (reporter, status) DO UPDATE SET amount = reporters.amount + excluded.amount
        """,
        [(*key, change) for key, change in sorted(reporters.items())],
    )


def _status_after(fact: ReportWithdrawn | ReportResolved | ReportDismissed) -> str:
    if isinstance(fact, ReportWithdrawn):
        return "withdrawn"
    return "resolved" if isinstance(fact, ReportResolved) else "dismissed"


def _text(words: Private | None) -> str | None:
    return words.text if words is not None else None


_ROWS = sql.SQL(
    """
    WITH wanted AS MATERIALIZED (
        SELECT * FROM reports_1.reports r WHERE {conditions}
        ORDER BY r.filed DESC LIMIT %(limit)s OFFSET %(offset)s
    )
    SELECT r.id, r.filed, r.reporter, m.username AS reporter_name, r.target_type, r.target,
        r.owner, o.username AS owner_name, r.reason, r.details, r.status, r.created_at,
        r.decided_by, d.username AS decided_by_name, r.decided_at, r.resolution, r.ban,
        CASE r.target_type WHEN 'user' THEN o.username ELSE coalesce(t.name, f.title) END AS name,
        t.info_hash, f.id AS topic,
        r.target_type = 'user' OR f.id IS NOT NULL
            OR coalesce(t.status = 'accepted' AND NOT t.withdrawn, false) AS is_open
    FROM wanted r
    LEFT JOIN users_1.accounts m ON m.id = r.reporter
    LEFT JOIN users_1.accounts o ON o.id = r.owner
    LEFT JOIN users_1.accounts d ON d.id = r.decided_by
    LEFT JOIN torrents_4.torrents t ON t.id = r.torrent
    LEFT JOIN forum_2.posts p ON r.target_type = 'post' AND p.id = r.target
    LEFT JOIN forum_2.topics f
        ON f.id = CASE r.target_type WHEN 'topic' THEN r.target ELSE p.topic END
    ORDER BY r.filed DESC
    """
)


def list_reports(
    conn: Connection,
    *,
    reporter: UUID | None = None,
    target_type: str | None = None,
    status: Status | None = None,
    limit: int,
    offset: int = 0,
    before: int | None = None,
) -> list[ReportRow]:
    """Reports of one member, or of all, the newest first; `before` is a `filed` to walk on from.

    Without `status` all but the withdrawn ones.
    """
    values: dict[str, Any] = {"limit": limit, "offset": offset}
    conditions = [sql.SQL("r.status <> 'withdrawn'")]
    if status is not None:
        conditions = [sql.SQL("r.status = %(status)s")]
        values["status"] = status
    if reporter is not None:
        conditions.append(sql.SQL("r.reporter = %(reporter)s"))
        values["reporter"] = reporter
    if target_type is not None:
        conditions.append(sql.SQL("r.target_type = %(target_type)s"))
        values["target_type"] = target_type
    if before is not None:
        conditions.append(sql.SQL("r.filed < %(before)s"))
        values["before"] = before
    statement = _ROWS.format(conditions=sql.SQL(" AND ").join(conditions))
    with conn.cursor(row_factory=class_row(ReportRow)) as cursor:
        return cursor.execute(statement, values).fetchall()


def find_report(conn: Connection, report: UUID) -> ReportRow | None:
    """The report with this id, unless it was withdrawn."""
    statement = _ROWS.format(conditions=sql.SQL("r.id = %(report)s AND r.status <> 'withdrawn'"))
    with conn.cursor(row_factory=class_row(ReportRow)) as cursor:
        return cursor.execute(statement, {"report": report, "limit": 1, "offset": 0}).fetchone()


def count_reports(conn: Connection, *, target_type: str | None = None) -> Mapping[str, int]:
    """How many reports stand where, by status."""
    return _numbers(
        conn,
        """
        SELECT status, sum(amount)::bigint FROM reports_1.amounts
        WHERE %(key)s::text IS NULL OR target_type = %(key)s GROUP BY status
        """,
        target_type,
    )


def count_own_reports(conn: Connection, reporter: UUID) -> Mapping[str, int]:
    """How many of a member's reports stand where, by status."""
    return _numbers(
        conn, "SELECT status, amount FROM reports_1.reporters WHERE reporter = %(key)s", reporter
    )


def count_decided(conn: Connection, moderator: UUID, since: datetime) -> int:
    """How many reports a moderator decided since then."""
    statement = """
        SELECT 'decided', count(*) FROM reports_1.reports
        WHERE decided_by = %(key)s AND decided_at >= %(since)s
    """
    return _numbers(conn, statement, moderator, since=since)["decided"]


def _numbers(
    conn: Connection, statement: Any, key: UUID | str | None, **more: Any
) -> dict[str, int]:
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(statement, {"key": key, **more}).fetchall()
    return {status: int(amount) for status, amount in rows}
