"""A new password for a member who lost his, or never had one here: the operator's doing."""

from __future__ import annotations

from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.factors import load_factors, record_factors
from application.password_proofs import VERIFIER_ID, VERIFIER_KIND, Verifier
from application.sessions import record_close_sessions
from domain import users
from domain.factor_rules import distrust_devices


class ResetPassword(msgspec.Struct, frozen=True, kw_only=True):
    """Replace a member's password, end his sessions and trust in devices; factors stay."""

    account: UUID
    salt: str
    verifier: str


def handle_reset_password(unit: Unit, command: ResetPassword) -> None:
    """Replace it. Raises `AccountNotFound`."""
    account = unit.load(command.account, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    facts = users.change_password(account, proven=account.password_changes)
    unit.record(account.id, account.version, facts)
    verifier = Verifier(
        salt=command.salt,
        verifier=command.verifier,
        changes=account.password_changes + len(facts),
    )
    unit.put(VERIFIER_KIND, account.id, VERIFIER_ID, msgspec.json.encode(verifier))
    record_close_sessions(unit, account.id, reason="password reset")
    state = load_factors(unit, account.id)
    record_factors(unit, state, distrust_devices(state, reason="password reset"), by_operator=True)


HANDLERS: dict[type, Handler] = {ResetPassword: handle_reset_password}
