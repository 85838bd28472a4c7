"""Verifying an installation: read models, claims, credit, both chains and the signed heads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
import psycopg

from application.store import verify as store
from application.store.heads import stored_heads
from application.store.log import EventLog
from application.store.topics import UnknownTopic
from domain.errors import Unavailable
from domain.kernel import Recorded
from projections import accounting
from projections.credit_policy import PolicySource
from projections.digest import SHOWN_DIFFERENCES, combine, digest_tables, find_differences
from projections.engine import Connection, Projection, Standing, schema_of, standings, tuples
from projections.ledger_reader import LedgerRetired
from projections.ledger_segments import LedgerSealed
from projections.peer_ledger import LedgerDamaged, newest_batch
from projections.rebuild import RebuildRefused
from projections.shadows import Shadow, cast_shadows, snapshot
from projections.verify_ledger import LedgerVerifier, Start

EQUAL, DIFFERS, UNCHECKED = "equal", "differs", "unchecked"
UNSIGNED_LIMIT = timedelta(minutes=10)
"""Facts wait a minute for a signed head; more than this tells of heads that are gone."""
REFUSALS = (Unavailable, UnknownTopic, RebuildRefused, LedgerDamaged, LedgerRetired, LedgerSealed)
Tell = Callable[[str, int, int], None]
"""Told the part being checked, how far it is, and of how many (0: not known)."""
Claims = dict[tuple[str, bytes], UUID]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for one part: `equal`, `differs` or `unchecked`, and what was found.

    `reached` is the position (of the ledger: the batch) it was checked to, `digest` hex.
    """

    part: str
    outcome: str
    reached: int = 0
    digest: str = ""
    findings: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All checks of one run, the log position of its snapshot, and the seconds it took."""

    position: int
    checks: tuple[Check, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 all equal, 1 something differs, 2 something could not be checked."""
        outcomes = {check.outcome for check in self.checks}
        return 1 if DIFFERS in outcomes else 2 if UNCHECKED in outcomes else 0


class Verifier:
    """Checks everything that can be derived against what is stored, in one snapshot.

    Reads only: it takes no lock that a writer could wait for.
    """

    def __init__(
        self,
        conninfo: str,
        log: EventLog,
        projections: Sequence[Projection],
        policies: PolicySource,
        *,
        seed: int,
        start: Start = "start",
        tell: Tell | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._log = log
        self._projections = tuple(projections)
        self._ledger = LedgerVerifier(log, policies, seed=seed, start=start)
        self._tell = tell or (lambda _part, _reached, _of: None)

    def verify(self) -> Verdict:
        """Run every check; raises `psycopg.OperationalError` when there is no database."""
        began = time.monotonic()
        with snapshot(self._conninfo) as conn:
            head = _head(conn)
            parts: list[tuple[str, Callable[[], list[Check]]]] = [
                ("event log", lambda: [self._check_log(head)]),
                ("read models", lambda: self._check_read_models(conn, head)),
                ("peer ledger", lambda: [self._check_ledger(conn)]),
                ("accounting", lambda: [self._check_accounting(conn)]),
                ("signed heads", lambda: [self._check_heads(head)]),
            ]
            checks = [check for part, run in parts for check in _guarded(conn, part, run)]
        return Verdict(position=head, checks=tuple(checks), seconds=time.monotonic() - began)

    def _check_log(self, head: int) -> Check:
        walked = store.verify_log(
            self._log, head, lambda reached: self._tell("event log", reached, head)
        )
        findings = (f"{walked.fault.place}: {walked.fault.what}",) if walked.fault else ()
        return Check(
            part="event log",
            outcome=DIFFERS if findings else EQUAL,
            reached=walked.facts,
            digest=walked.last_hash.hex(),
            findings=findings,
        )

    def _check_read_models(self, conn: Connection, head: int) -> list[Check]:
        seen = standings(conn, head, self._projections)
        wanted = [
            (projection, position)
            for projection in self._projections
            if (position := seen[projection.name].position) is not None
        ]
        held: Claims = {}

        def fold_claims(batch: Sequence[Recorded]) -> None:
            changes = self._log.claim_changes([recorded.envelope for recorded in batch])
            store.fold_claims(held, changes)

        with cast_shadows(
            conn,
            self._log,
            wanted,
            upto=head,
            also=fold_claims,
            report=lambda progress: self._tell("read models", progress.position, head),
        ) as shadows:
            checks = [
                _compare(conn, shadow, seen[shadow.projection.name], head) for shadow in shadows
            ]
        missing = [_missing(p) for p in self._projections if seen[p.name].position is None]
        return [*checks, *missing, _compare_claims(conn, held, head)]

    def _check_ledger(self, conn: Connection) -> Check:
        try:
            state = self._ledger.check_batches(
                conn, lambda records, _seconds: self._tell("peer ledger", records, 0)
            )
        except LedgerDamaged as damaged:
            finding = f"batch {damaged.batch}: {damaged.reason}"
            return Check(part="peer ledger", outcome=DIFFERS, findings=(finding,))
        return Check(
            part="peer ledger", outcome=EQUAL, reached=state.batches, digest=state.hash.hex()
        )

    def _check_accounting(self, conn: Connection) -> Check:
        shadow = f"{accounting.SCHEMA}__shadow_{conn.info.backend_pid}"
        standing = accounting.read_standing(conn)
        reached = standing.stops[-1]
        finding = self._ledger.replay_accounting(
            conn,
            shadow,
            standing,
            lambda records, _seconds: self._tell("accounting", records, 0),
        )
        check = _compare_schemas(
            conn, accounting.Accounting(), accounting.SCHEMA, shadow, reached=reached
        )
        if finding:
            findings = (*check.findings, finding)
            check = msgspec.structs.replace(check, outcome=DIFFERS, findings=findings)
        newest = newest_batch(conn)
        return _within(check, f"{accounting.SCHEMA}.position", newest.seq if newest else 0)

    def _check_heads(self, end: int) -> Check:
        fault = store.verify_heads(self._log)
        signed = max((stored.head.position for stored in stored_heads(self._log)), default=0)
        check = Check(part="signed heads", outcome=EQUAL, reached=signed)
        if fault is not None:
            finding = f"{fault.place}: {fault.what}"
            return msgspec.structs.replace(check, outcome=DIFFERS, findings=(finding,))
        if self._lasted(signed + 1, end) <= UNSIGNED_LIMIT:
            return check
        finding = (
            f"no signed head covers position {signed + 1} and what follows: the scheduler did not"
            " run, or heads were removed"
        )
        return msgspec.structs.replace(check, outcome=UNCHECKED, findings=(finding,))

    def _lasted(self, first: int, last: int) -> timedelta:
        """The time from one fact to a later one; none when there are not two."""
        if first >= last:
            return timedelta()
        ends = [self._log.read(position - 1, 1)[0][0] for position in (first, last)]
        return ends[1].envelope.meta.at - ends[0].envelope.meta.at


def _guarded(conn: Connection, part: str, check: Callable[[], list[Check]]) -> list[Check]:
    """The checks, or one that says, without contents, why this part could not be checked."""
    try:
        with conn.transaction(force_rollback=True):
            return check()
    except REFUSALS as known:
        reason = str(known)
    except psycopg.errors.UndefinedTable:
        reason = "its tables are not installed"
    except Exception as failure:  # noqa: BLE001 (one part that fails must not hide the others)
        reason = f"checking it failed with {type(failure).__name__}"
    return [Check(part=part, outcome=UNCHECKED, findings=(reason,))]


def _head(conn: Connection) -> int:
    row = (
        tuples(conn).execute("SELECT coalesce(max(notification_id), 0) FROM log.events").fetchone()
    )
    return int(row[0]) if row else 0


def _compare(conn: Connection, shadow: Shadow, standing: Standing, head: int) -> Check:
    part = shadow.projection.name
    if shadow.failure is not None:
        return Check(part=part, outcome=UNCHECKED, reached=shadow.upto, findings=(shadow.failure,))
    check = _compare_schemas(
        conn, shadow.projection, standing.schema, shadow.schema, reached=shadow.upto
    )
    return _within(check, f"{standing.schema}.position", head)


def _within(check: Check, place: str, end: int) -> Check:
    """The check, or a difference where it stands beyond the end: what comes next is never folded."""
    if check.reached <= end:
        return check
    finding = f"{place}: {check.reached} lies beyond the end of the record, {end}"
    return msgspec.structs.replace(check, outcome=DIFFERS, findings=(*check.findings, finding))


def _compare_schemas(
    conn: Connection, projection: Projection, live: str, shadow: str, *, reached: int
) -> Check:
    stored = digest_tables(conn, projection, live)
    derived = digest_tables(conn, projection, shadow)
    findings: tuple[str, ...] = ()
    if stored != derived:
        found = find_differences(conn, projection, live, shadow)
        findings = tuple(f"{live}.{difference.text}" for difference in found)
    return Check(
        part=projection.name,
        outcome=EQUAL if stored == derived else DIFFERS,
        reached=reached,
        digest=combine(stored).hex(),
        findings=findings,
    )


def _missing(projection: Projection) -> Check:
    finding = f"{schema_of(projection)} is not installed"
    return Check(part=projection.name, outcome=UNCHECKED, findings=(finding,))


def _compare_claims(conn: Connection, held: Mapping[tuple[str, bytes], UUID], head: int) -> Check:
    """The table of claims in the snapshot against the claims its facts make."""
    rows = tuples(conn).execute("SELECT kind, value, owner FROM log.claims").fetchall()
    stored = {(str(kind), bytes(value)): owner for kind, value, owner in rows}
    wrong = sorted(key for key in held.keys() | stored.keys() if held.get(key) != stored.get(key))
    findings = tuple(
        f"log.claims {key[0]}/{key[1].hex()}: {_claim_fault(key in held, key in stored)}"
        for key in wrong[:SHOWN_DIFFERENCES]
    )
    return Check(
        part="claims", outcome=DIFFERS if findings else EQUAL, reached=head, findings=findings
    )


def _claim_fault(held: bool, stored: bool) -> str:  # noqa: FBT001 (the two sides compared)
    if held and stored:
        return "names another owner than the facts"
    return "is missing" if held else "should not be there"
