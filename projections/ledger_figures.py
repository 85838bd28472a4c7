"""What the peer ledger takes on disk, for operators."""

from __future__ import annotations

from datetime import date

import msgspec

from projections.engine import Connection, tuples
from projections.ledger_rows import row_days


class LedgerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes with indexes; `oldest_rows` is the oldest day not closed, `oldest_day` the oldest kept."""

    row_bytes: int
    block_bytes: int
    row_days: int
    closed_days: int
    oldest_rows: date | None
    oldest_day: date | None


def ledger_figures(conn: Connection) -> LedgerFigures:
    """Sizes and days as they are now."""
    open_days = row_days(conn)
    row = (
        tuples(conn)
        .execute(
            "SELECT (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint"
            " FROM pg_inherits WHERE inhparent = 'ledger.records'::regclass),"
            " pg_total_relation_size('ledger.blocks'), count(DISTINCT day), min(day)"
            " FROM ledger.closings WHERE retired_at IS NULL"
        )
        .fetchone()
    )
    rows, blocks, closed, oldest = row or (0, 0, 0, None)
    return LedgerFigures(
        row_bytes=int(rows),
        block_bytes=int(blocks),
        row_days=len(open_days),
        closed_days=int(closed),
        oldest_rows=min(open_days, default=None),
        oldest_day=min([*open_days, *([oldest] if oldest else [])], default=None),
    )
