"""Who administers the site: at least one, whatever happens at once."""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import UUID

import msgspec

from domain.errors import Invalid
from domain.kernel import Envelope, Fact

ADMINISTRATORS: Final = UUID("5f1b3c0d-2f7a-5a86-8f0e-7c9d1e4a6b52")
"""One aggregate for all of them, so that two who dismiss each other at once meet here."""


class AdministratorAppointed(Fact, frozen=True):
    """A member became an administrator."""

    TOPIC: ClassVar[str] = "administrator.appointed.1"

    account: UUID


class AdministratorDismissed(Fact, frozen=True):
    """A member is an administrator no longer."""

    TOPIC: ClassVar[str] = "administrator.dismissed.1"

    account: UUID


FACTS: tuple[type[Fact], ...] = (AdministratorAppointed, AdministratorDismissed)


class LastAdministrator(Invalid):
    """A site without an administrator could never get one again."""

    code = "last_administrator"
    message = "The last administrator can't be removed"


class OwnDismissal(Invalid):
    """Nobody shuts himself out of the administration by a slip."""

    code = "own_dismissal"
    message = "You can't take the administrator role from yourself"


class BannedAppointment(Invalid):
    """Who is shut out can't administer: with him alone nobody could."""

    code = "banned_appointment"
    message = "This user is banned; lift the ban first"


class Administrators(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts that administer the site."""

    version: int = 0
    accounts: frozenset[UUID] = frozenset()


def evolve(state: Administrators | None, envelope: Envelope) -> Administrators:
    """The administrators after one more fact."""
    accounts = state.accounts if state else frozenset()
    match envelope.fact:
        case AdministratorAppointed(account=account):
            accounts |= {account}
        case AdministratorDismissed(account=account):
            accounts -= {account}
        case unknown:
            raise TypeError(f"not a fact of administrators: {type(unknown).__name__}")
    return Administrators(version=envelope.originator_version, accounts=accounts)


def appoint(current: Administrators, account: UUID, *, is_banned: bool) -> list[Fact]:
    """Add one; nothing when he is one. Raises `BannedAppointment`."""
    if is_banned:
        raise BannedAppointment()
    return [] if account in current.accounts else [AdministratorAppointed(account=account)]


def dismiss(current: Administrators, account: UUID, *, by: UUID | None) -> list[Fact]:
    """Take one away; nothing when he is none. Raises `LastAdministrator`, `OwnDismissal`.

    `by` is None when the operator does it.
    """
    if account not in current.accounts:
        return []
    if len(current.accounts) == 1:
        raise LastAdministrator()
    if account == by:
        raise OwnDismissal()
    return [AdministratorDismissed(account=account)]
