"""A member's transfer and seeding in sum: the accounting beside his account."""

from __future__ import annotations

from uuid import UUID

import msgspec
from psycopg.rows import class_row

from projections.engine import Connection


class Transfer(msgspec.Struct, frozen=True):
    """Credited bytes, with the upload credit the member started with."""

    uploaded: int
    downloaded: int

    @property
    def ratio(self) -> float | None:
        """Upload over download: None is infinite, 0 when nothing moved (API of the reference)."""
        if self.downloaded:
            return self.uploaded / self.downloaded
        return None if self.uploaded else 0.0


class MemberFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Seeding of a member: seconds in all, completed downloads, torrents seeded ever and now."""

    seed_seconds: int
    snatches: int
    seeds: int
    active_seeds: int


def find_transfer(conn: Connection, account: UUID) -> Transfer:
    """What the member moved; zeros for an account not projected yet."""
    with conn.cursor(row_factory=class_row(Transfer)) as cursor:
        row = cursor.execute(
            """
            SELECT a.starter_upload + coalesce(t.uploaded, 0) AS uploaded,
                coalesce(t.downloaded, 0) AS downloaded
            FROM users_1.accounts a LEFT JOIN accounting_1.member_totals t ON t.account = a.number
            WHERE a.id = %s
            """,
            [account],
        ).fetchone()
    return row or Transfer(0, 0)


def find_member_figures(conn: Connection, account: UUID) -> MemberFigures:
    """The member's seeding; zeros for one who never announced."""
    with conn.cursor(row_factory=class_row(MemberFigures)) as cursor:
        row = cursor.execute(
            """
            SELECT t.seed_seconds, t.snatches, held.seeds, held.active_seeds
            FROM users_1.accounts a
            JOIN accounting_1.member_totals t ON t.account = a.number
            CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE h.seed_seconds > 0 OR h.seeding > 0) AS seeds,
                    count(*) FILTER (WHERE h.seeding > 0) AS active_seeds
                FROM accounting_1.holdings h WHERE h.account = a.number
            ) held
            WHERE a.id = %s
            """,
            [account],
        ).fetchone()
    return row or MemberFigures(seed_seconds=0, snatches=0, seeds=0, active_seeds=0)
