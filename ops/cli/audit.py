"""`trackarr audit`: what happened, replayed and verified."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import msgspec
import psycopg
import typer

from application.store.log import EventLog
from ops.audit_text import entry_line, entry_row, verdict_text
from ops.biography import Biography, ids_in
from ops.cli import _ledger
from ops.cli._auditing import auditing
from ops.failures import OperatorError
from ops.progress import ProgressLine
from projections.digest import combine, digest_tables
from projections.engine import Projection, step
from projections.history import HistoryProjection, HistoryQuery
from projections.history_names import find_subject, names_of
from projections.history_search import Entry, search_facts
from projections.rebuild import Progress
from projections.shadows import Shadow, cast_shadows, snapshot
from projections.taxonomy import TaxonomyProjection
from projections.torrents import TorrentsProjection
from projections.users import UsersProjection, find_account_by_name
from projections.verify_ledger import Start

app = typer.Typer(help="Read, replay and verify the history.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
COULD_NOT_CHECK = 2
NAMING: tuple[Projection, ...] = (UsersProjection(), TorrentsProjection(), TaxonomyProjection())
"""Read models that know names."""
TOLD_AT_ONCE = 500
Conn = psycopg.Connection[Any]


@app.command()
def history(
    *,
    about: Annotated[
        str | None,
        typer.Option(
            help="Everything about one thing, told as sentences: a torrent's info hash, a member's"
            " name, or any id."
        ),
    ] = None,
    aggregate: Annotated[UUID | None, typer.Option(help="Only facts of this aggregate.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only by this account: name or id.")] = None,
    topic: Annotated[
        str | None, typer.Option(help='Only this topic, or all that begin so: "torrent."')
    ] = None,
    correlation: Annotated[UUID | None, typer.Option(help="Only of this piece of work.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=TIMES, help="UTC, included.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=TIMES, help="UTC, excluded.")] = None,
    search: Annotated[str | None, typer.Option(help="Only facts that hold this text.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0 for all.")] = 50,
    json: Json = False,
) -> None:
    """Show recorded facts with their contents, oldest first."""
    with auditing() as audit, audit.connect() as conn:
        for projection in (HistoryProjection(), *(NAMING if about else ())):
            while isinstance(step(conn, audit.log, projection), int):
                pass
        query = HistoryQuery(
            aggregate=aggregate,
            about=_subject_id(conn, about) if about else None,
            actor=_account_id(conn, actor) if actor else None,
            topic=topic,
            correlation=correlation,
            since=_utc(since),
            until=_utc(until),
        )
        entries = search_facts(conn, audit.log, query, text=search, limit=limit or None)
        if about and not json:
            for line in _told(conn, audit.log, entries):
                print(line)
            return
        for entry in entries:
            print(entry_line(entry) if json else entry_row(entry))


@app.command()
def replay(
    *,
    json: Json = False,
) -> None:
    """Fold the whole log into scratch tables, print their digests, and drop them."""
    line = ProgressLine()
    with auditing() as audit, snapshot(audit.conninfo) as conn:
        began = time.monotonic()
        wanted = [(projection, audit.log.head()) for projection in audit.projections]
        head = wanted[0][1] if wanted else 0

        def report(progress: Progress) -> None:
            line.show(f"replay {progress.position} of {head} facts, {progress.rate:,.0f}/s")

        with cast_shadows(conn, audit.log, wanted, upto=head, report=report) as shadows:
            line.done()
            seconds = time.monotonic() - began
            digests = {shadow.projection.name: _digest(conn, shadow) for shadow in shadows}
    _print_replay(digests, head, seconds, json=json)
    if None in digests.values():
        raise typer.Exit(1)


@app.command()
def verify(
    *,
    start: Annotated[
        Start,
        typer.Option(
            "--from",
            help="Read the ledger from its start, or from its newest signed checkpoint.",
        ),
    ] = "start",
    json: Json = False,
) -> None:
    """Derive everything derivable anew and compare: exit code 0 equal, 1 differs, 2 not checked."""
    line = ProgressLine()

    def tell(part: str, reached: int, total: int) -> None:
        line.show(f"{part}: {reached}" + (f" of {total}" if total else ""))

    try:
        with auditing() as audit:
            verdict = audit.verifier(tell, start=start).verify()
    except OperatorError as failure:
        typer.echo(f"trackarr: {failure.sentence}", err=True)
        raise typer.Exit(COULD_NOT_CHECK) from None
    except psycopg.OperationalError:
        typer.echo("trackarr: The database does not answer; nothing was checked.", err=True)
        raise typer.Exit(COULD_NOT_CHECK) from None
    finally:
        line.done()
    print(msgspec.json.encode(verdict).decode() if json else verdict_text(verdict))
    raise typer.Exit(verdict.exit_code)


app.command()(_ledger.announces)
app.command()(_ledger.compact)


class NoSuchAccount(OperatorError):
    """The named account does not exist."""


class NoSuchSubject(OperatorError):
    """No torrent, member or id is meant."""


def _told(conn: Conn, log: EventLog, entries: Iterator[Entry]) -> Iterator[str]:
    """Entries as sentences; names are looked up for many at a time."""
    biography = Biography(log.registry.types)
    while some := list(islice(entries, TOLD_AT_ONCE)):
        biography.know(names_of(conn, set(ids_in(some))))
        yield from map(biography.line, some)


def _subject_id(conn: Conn, about: str) -> UUID:
    subject = find_subject(conn, about)
    if subject is None:
        raise NoSuchSubject(f"There is no torrent or member called {about}.")
    return subject


def _account_id(conn: psycopg.Connection[tuple[object, ...]], actor: str) -> UUID:
    try:
        return UUID(actor)
    except ValueError:
        account = find_account_by_name(conn, actor)
    if account is None:
        raise NoSuchAccount(f"There is no account named {actor}.")
    return account.id


def _utc(time_: datetime | None) -> datetime | None:
    return time_ if time_ is None or time_.tzinfo else time_.replace(tzinfo=UTC)


def _digest(conn: psycopg.Connection[tuple[object, ...]], shadow: Shadow) -> str | None:
    if shadow.failure is not None:
        return None
    return combine(digest_tables(conn, shadow.projection, shadow.schema)).hex()


def _print_replay(digests: dict[str, str | None], head: int, seconds: float, *, json: bool) -> None:
    if json:
        found = {"position": head, "seconds": seconds, "digests": digests}
        print(msgspec.json.encode(found).decode())
        return
    for name, digest in digests.items():
        print(f"{name:<14} {digest or 'does not fold'}")
    rate = head / seconds if seconds else 0.0
    print(f"Replayed {head} facts in {seconds:.1f} s, {rate:,.0f}/s for all read models.")
