"""The part of `trackarr audit` that works on the peer ledger: closing days, and looking up."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

import msgspec
import typer

from ops.audit_text import announce_row, compaction_row
from ops.cli._auditing import auditing
from ops.failures import OperatorError
from ops.progress import ProgressLine
from ops.system import system_clock
from projections.ledger_days import (
    CompactionBusy,
    DayOpen,
    closable_days,
    compact_day,
)
from projections.ledger_lookup import LARGEST_NUMBER, LARGEST_PAGE, Place, list_announces
from projections.peer_ledger import LedgerDamaged

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only this day, UTC.")]
Account = Annotated[
    int | None, typer.Option(min=1, max=LARGEST_NUMBER, help="The account's number.")
]
Torrent = Annotated[
    int | None, typer.Option(min=1, max=LARGEST_NUMBER, help="The torrent's number.")
]
_PLACE = re.compile(r"(\d{4}-\d\d-\d\d)/(\d{1,18})/(\d{1,9})")


class LedgerRefused(OperatorError):
    """The ledger's days can't be closed or searched as asked."""


def compact(*, day: Day = None, json: Json = False) -> None:
    """Rewrite closed days of the peer ledger as compressed blocks, prove them, drop the rows.

    The scheduler does this by itself. It may be stopped at any point and run again.
    """
    line = ProgressLine()
    with auditing() as audit, audit.connect() as conn:
        now = system_clock()
        days = [day.date()] if day else closable_days(conn, now)
        for one in days:

            def tell(work: str, done: int, of: int, day: date = one) -> None:
                line.show(f"{day} {work}: {done} of {of} records")

            try:
                done = compact_day(conn, audit.log.event_sealer, one, now=now, progress=tell)
            except (DayOpen, CompactionBusy) as refused:
                raise LedgerRefused(str(refused)) from None
            except LedgerDamaged as damaged:
                raise LedgerRefused(f"{damaged} The rows of {one} were kept.") from None
            finally:
                line.done()
            print(msgspec.json.encode(done).decode() if json else compaction_row(done))
    if not days and not json:
        print("There is no day to compact.")


def announces(
    *,
    account: Account = None,
    torrent: Torrent = None,
    day: Day = None,
    after: Annotated[
        str | None, typer.Option(help="Go on behind this place, as the last page printed it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_PAGE, help="So many a page.")] = 100,
    json: Json = False,
) -> None:
    """Show what one account or one torrent announced, oldest first.

    Addresses are shown as the keyed hashes the ledger holds.
    """
    if (account is None) == (torrent is None):
        raise typer.BadParameter("Give either --account or --torrent.")
    with auditing() as audit, audit.connect() as conn:
        try:
            found = list_announces(
                conn,
                audit.log.event_sealer,
                "account" if account is not None else "torrent",
                account or torrent or 0,
                day=day.date() if day else None,
                after=_place(after) if after else None,
                limit=limit,
            )
        except LedgerDamaged as damaged:
            raise LedgerRefused(str(damaged)) from None
    for announce in found:
        print(msgspec.json.encode(announce).decode() if json else announce_row(announce))
    if len(found) == limit and not json:
        last = found[-1].place
        print(f"There may be more: --after {last.day}/{last.batch}/{last.ordinal}")


def _place(text: str) -> Place:
    parts = _PLACE.fullmatch(text)
    try:
        if parts is None:
            raise ValueError
        return Place(day=date.fromisoformat(parts[1]), batch=int(parts[2]), ordinal=int(parts[3]))
    except ValueError:
        raise typer.BadParameter("--after must be a place like 2026-11-24/17/203.") from None
