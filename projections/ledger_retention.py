"""Letting old days of the ledger go: their blocks, never their digests and signed sums."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

import psycopg

from projections.engine import Connection, tuples

SHORTEST_DAYS: Final = 30
"""The database refuses to let younger days go, whatever the site's setting says."""


def retired_to(conn: Connection) -> int:
    """The last batch whose records may be gone; 0 while everything is kept."""
    row = (
        tuples(conn)
        .execute(
            "SELECT coalesce(max(last_batch), 0) FROM ledger.closings WHERE retired_at IS NOT NULL"
        )
        .fetchone()
    )
    return int(row[0]) if row else 0


def retire_days(conn: Connection, keep_days: int, now: datetime) -> list[date]:
    """Let closed days older than `keep_days` go, oldest first; gives those that went.

    0 keeps them for ever, and fewer than `SHORTEST_DAYS` mean so many. A day stays while no
    signed checkpoint stands behind it, and so does every later one.
    """
    if keep_days == 0:
        return []
    before = now.date() - timedelta(days=max(keep_days, SHORTEST_DAYS))
    rows = (
        tuples(conn)
        .execute(
            "SELECT seq, day FROM ledger.closings WHERE retired_at IS NULL AND seq < ("
            "SELECT coalesce(min(seq), 9223372036854775807) FROM ledger.closings"
            " WHERE retired_at IS NULL AND day >= %s) ORDER BY seq",
            [before],
        )
        .fetchall()
    )
    gone: list[date] = []
    for seq, day in rows:
        try:
            with conn.transaction():
                conn.execute("SELECT ledger.retire_closing(%s::bigint, %s)", [seq, now])
        except psycopg.errors.CheckViolation:
            break
        gone.append(day)
    return gone
