"""The rules of credit, the same for whoever folds or checks the ledger."""

from __future__ import annotations

from application.store.log import EventLog
from projections.credit_policy import PolicySource
from projections.credit_rules import SitePolicies


def credit_policies(log: EventLog) -> PolicySource:
    """Policy as the facts of the event log say it, at any of its positions."""
    return SitePolicies(log)
