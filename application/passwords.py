"""Changing one's password."""

from __future__ import annotations

from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.factors import load_factors, record_factors
from application.password_proofs import VERIFIER_ID, VERIFIER_KIND, Verifier
from application.sessions import OpenSession, record_close_sessions, record_open_session
from domain import users
from domain.factor_rules import distrust_devices


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True):
    """Replace the caller's password, end all his sessions and trusted devices, open a new one.

    `proven` is how often the password had been changed when the present one was proven.
    `session` and `token_hash` are of the session to open.
    """

    salt: str
    verifier: str
    proven: int
    session: UUID
    token_hash: str


def handle_change_password(unit: Unit, command: ChangePassword) -> None:
    """Replace it. Raises `AccountNotFound`, and `CurrentPasswordWrong` when it was changed since
    it was proven.
    """
    account = unit.load(unit.actor.account, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    facts = users.change_password(account, proven=command.proven)
    unit.record(account.id, account.version, facts)
    changes = command.proven + len(facts)
    verifier = Verifier(salt=command.salt, verifier=command.verifier, changes=changes)
    unit.put(VERIFIER_KIND, account.id, VERIFIER_ID, msgspec.json.encode(verifier))
    record_close_sessions(unit, account.id, reason="password changed")
    state = load_factors(unit, account.id)
    record_factors(unit, state, distrust_devices(state, reason="password changed"))
    opening = OpenSession(
        account=account.id,
        session=command.session,
        token_hash=command.token_hash,
        method="password",
        password_changes=changes,
    )
    record_open_session(unit, opening)


HANDLERS: dict[type, Handler] = {ChangePassword: handle_change_password}
