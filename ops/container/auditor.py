"""What the auditing commands stand on: the log, the read models' login, the rules of credit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from application.store.log import EventLog
from application.store.topics import registry
from ops.container.credit import credit_policies
from ops.container.process import database_url
from ops.keyring_file import KeyringFile
from ops.settings import Settings
from ops.system import SystemEntropy
from projections.credit_policy import PolicySource
from projections.engine import Projection
from projections.registry import ALL
from projections.verify import Tell, Verifier
from projections.verify_ledger import Start


@dataclass(frozen=True, kw_only=True)
class Auditor:
    """Objects of one auditing command; `conninfo` is the restricted login's, never logged."""

    log: EventLog
    conninfo: str
    projections: Sequence[Projection]
    policies: PolicySource
    entropy: SystemEntropy

    def connect(self) -> psycopg.Connection[Any]:
        """A connection in autocommit; the caller closes it."""
        return psycopg.connect(self.conninfo, autocommit=True, application_name="trackarr audit")

    def verifier(self, tell: Tell | None = None, *, start: Start = "start") -> Verifier:
        seed = int.from_bytes(self.entropy.token(8))
        return Verifier(
            self.conninfo,
            self.log,
            self.projections,
            self.policies,
            seed=seed,
            start=start,
            tell=tell,
        )


@contextmanager
def auditor(settings: Settings) -> Iterator[Auditor]:
    """Build on `settings` with the servers filled in.

    Raises `KeyringUnusable` where there is no keyring: an auditor never makes one.
    """
    keyring = KeyringFile(settings.storage.keyring_path).load()
    conninfo = database_url(settings)
    log = EventLog(conninfo, keyring, registry())
    try:
        yield Auditor(
            log=log,
            conninfo=conninfo,
            projections=ALL,
            policies=credit_policies(log),
            entropy=SystemEntropy(),
        )
    finally:
        log.close()
