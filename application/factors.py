"""A member's second factors as handlers use them: loaded, recorded, demanded by the site."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Unit
from application.ports import EventLogPort
from application.site import load_site
from domain import factors
from domain.factors import Factors
from domain.kernel import Fact
from domain.permissions import Permission

DEVICE_KIND = "trusted_device"
DEVICE_USED_KIND = "trusted_device_used"
"""When a device last stood in for a factor: apart, so that a use never revives a revoked one."""
SCOPE_SETTING = "require2FAScope"
_STAFF = frozenset({Permission.CAN_MODERATE.value, Permission.CAN_ACCESS_ADMIN.value})


class KeptDevice(msgspec.Struct, frozen=True, kw_only=True):
    """What the vault keeps of a trusted device, under the hash of its token."""

    device: UUID
    label: str
    created_at: datetime


def load_factors(log: EventLogPort | Unit, account: UUID) -> Factors:
    """The account's factors, also before the first fact about them."""
    return log.load(factors.factors_id(account), factors.evolve) or Factors(account=account)


def record_factors(
    unit: Unit, state: Factors, facts: Sequence[Fact], *, by_operator: bool = False
) -> None:
    """Add facts about factors to what `unit` saves; what was kept of devices they end goes.

    The member himself is their actor, also where he is not signed in yet; the operator is none.
    """
    actor = None if by_operator else state.account
    unit.record(factors.factors_id(state.account), state.version, facts, actor=actor)
    ended = {fact.device for fact in facts if isinstance(fact, factors.DeviceDistrusted)}
    if ended:
        for hashed, value in unit.log.vault_list(DEVICE_KIND, state.account).items():
            if msgspec.json.decode(value, type=KeptDevice).device in ended:
                unit.erase(DEVICE_KIND, state.account, hashed)
                unit.erase(DEVICE_USED_KIND, state.account, hashed)


def is_demanded(scope: object, permissions: AbstractSet[str]) -> bool:
    """Whether the site's `require2FAScope` concerns a member with these permissions."""
    return scope == "all" or (scope == "staff" and not _STAFF.isdisjoint(permissions))


def is_demanded_of_caller(unit: Unit) -> bool:
    """Whether the site wants a second factor of the caller."""
    return is_demanded(load_site(unit).setting(SCOPE_SETTING), unit.actor.permissions)
