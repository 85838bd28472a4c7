"""Taking second factors from a member who lost them, for the operator."""

from __future__ import annotations

from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.factors import load_factors, record_factors
from application.security_keys import KEY_KIND
from application.sessions import record_close_sessions
from application.totp import TOTP_KIND
from domain import factor_rules, users


class ResetFactors(msgspec.Struct, frozen=True, kw_only=True):
    """Take every second factor from a member, and end his sessions; `reason` is kept."""

    account: UUID
    reason: str


def handle_reset_factors(unit: Unit, command: ResetFactors) -> bool:
    """Take them; whether he had any. Raises `AccountNotFound`.

    Whoever has his password signs in with it alone from then on, so his sessions end too: one
    that a stranger holds would let that one set up a factor of his own.
    """
    if unit.load(command.account, users.evolve) is None:
        raise users.AccountNotFound()
    state = load_factors(unit, command.account)
    facts = factor_rules.reset_factors(state, reason=command.reason)
    if not facts:
        return False
    record_factors(unit, state, facts, by_operator=True)
    for kind in (TOTP_KIND, KEY_KIND):
        for name in unit.log.vault_list(kind, command.account):
            unit.erase(kind, command.account, name)
    record_close_sessions(unit, command.account, reason="factors reset")
    return True


HANDLERS: dict[type, Handler] = {ResetFactors: handle_reset_factors}
