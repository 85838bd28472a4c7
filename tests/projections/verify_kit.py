"""An installation to verify: facts folded, the ledger kept, and ways to touch it all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from application.store.log import EventLog
from domain.credit import CreditPolicy
from projections import accounting, engine
from projections.accounting_replay import replay
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.engine import Connection
from projections.history import HistoryProjection
from projections.peer_ledger import archive
from projections.peer_records import as_kept
from projections.verify import Check, Verdict, Verifier
from projections.verify_ledger import Start
from tests.projections.engine_kit import Jars
from tests.projections.peer_sets import hostile_records

AT = datetime(2026, 3, 1, tzinfo=UTC)
PARTS = ["event log", "jars", "history", "claims", "peer ledger", "accounting", "signed heads"]
POLICIES = StandingPolicy(CreditPolicy())


class Site:
    """One database with log, ledger and read models."""

    def __init__(self, conn: Connection, log: EventLog, app_url: str, owner_url: str) -> None:
        self.conn = conn
        self.log = log
        self.app_url = app_url
        self.owner_url = owner_url
        self.projections = (Jars(), HistoryProjection())

    def catch_up(self) -> None:
        for projection in self.projections:
            engine.install(self.conn, projection)
            while isinstance(engine.step(self.conn, self.log, projection), int):
                pass

    def keep_batches(self, count: int) -> None:
        """Archive `count` batches of 200 records and fold them into the accounting tables."""
        records = as_kept(hostile_records(200 * count, seed=5))
        for number in range(count):
            with self.conn.transaction():
                archive(
                    self.conn,
                    records[200 * number : 200 * (number + 1)],
                    stream="peer-events:{1.0}",
                    first_id=f"1-{number + 1}",
                    last_id=f"1-{number + 1}",
                    log_position=number,
                    archived_at=AT,
                )
        replay(self.conn, accounting.SCHEMA, CreditFold(seed=7), POLICIES)

    def as_owner(self, statement: str) -> None:
        """Change the permanent record as its owner, behind everyone's back."""
        with psycopg.connect(self.owner_url, autocommit=True) as owner:
            assert owner.execute(statement.encode()).rowcount != 0

    def verify(
        self, tell: Callable[[str, int, int], None] | None = None, *, start: Start = "start"
    ) -> Verdict:
        verifier = Verifier(
            self.app_url, self.log, self.projections, POLICIES, seed=1, start=start, tell=tell
        )
        return verifier.verify()

    def check(self, part: str) -> Check:
        return next(check for check in self.verify().checks if check.part == part)


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {check.part: check.outcome for check in verdict.checks}


def all_equal_but(**others: str) -> dict[str, str]:
    """Every part equal, except those named (an underscore stands for a space)."""
    return dict.fromkeys(PARTS, "equal") | {
        part.replace("_", " "): outcome for part, outcome in others.items()
    }
