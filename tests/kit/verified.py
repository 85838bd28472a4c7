"""What every application of the suite leaves behind: a history all read models follow from."""

from __future__ import annotations

from domain.credit import CreditPolicy
from projections.credit_policy import StandingPolicy
from projections.registry import ALL
from projections.verify import Verifier
from tests.kit.api import Api

OF_DAEMONS = frozenset({"peer ledger", "accounting", "signed heads"})
"""Parts that worker and scheduler write, which run beside no contract test.

Tests of pages fill the ledger's totals by hand, and tests of time leave facts unsigned.
"""


def require_verified(api: Api) -> None:
    """What `trackarr audit verify` compares is equal; AssertionError with what differs."""
    policies = StandingPolicy(CreditPolicy())
    verdict = Verifier(api.app_url, api.log, ALL, policies, seed=1).verify()
    checked = [check for check in verdict.checks if check.part not in OF_DAEMONS]
    assert len(checked) > len(ALL)
    unequal = [str(check) for check in checked if check.outcome != "equal"]
    assert unequal == [], "\n".join(unequal)
