"""Accounts: registered under a name nobody else has, with the roles they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from domain.account_bans import AccountBanned, AccountUnbanned, Ban
from domain.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from domain.kernel import Claim, Envelope, Fact
from domain.passkeys import FIRST_EPOCH, AccountAnnounceKeyRotated

USERNAME = re.compile(r"[A-Za-z0-9_-]{3,20}")
FOUNDER_INVITES = 10
"""Invitations the first account may give (behaviour of the reference)."""


class AccountRegistered(Fact, frozen=True):
    """A newcomer made an account.

    `number` is dense and uint32, for the tracker. `kid` is the id of the key his passkeys are
    made under. `starter_upload` is the upload credit in
    bytes, `invites` the invitations he may give, both by the settings of that moment. All
    passkey epochs start at 1.
    """

    TOPIC: ClassVar[str] = "account.registered.1"

    number: int
    username: str
    kid: int
    starter_upload: int
    invites: int

    def claims(self) -> tuple[Claim, ...]:
        return (username_claim(self.username),)


class AccountRoleGranted(Fact, frozen=True):
    """An account was given a role: a built-in one by its word, any other by its id.

    `automatic` when the role's rule gave it, and may take it again.
    """

    TOPIC: ClassVar[str] = "account.role_granted.1"

    role: str
    reason: str
    automatic: bool


class AccountRoleWithdrawn(Fact, frozen=True):
    """A role was taken from an account; `automatic` when the role's rule took it."""

    TOPIC: ClassVar[str] = "account.role_withdrawn.1"

    role: str
    automatic: bool


class AccountPasswordChanged(Fact, frozen=True):
    """A member replaced his password; nothing signs in any more by the one before."""

    TOPIC: ClassVar[str] = "account.password_changed.1"


class AccountInvitesGranted(Fact, frozen=True):
    """An account may give so many invitations more."""

    TOPIC: ClassVar[str] = "account.invites_granted.1"

    amount: int


class AccountInviteSpent(Fact, frozen=True):
    """An account gave one of the invitations it may give."""

    TOPIC: ClassVar[str] = "account.invite_spent.1"

    invitation: UUID


class AccountInviteRefunded(Fact, frozen=True):
    """An invitation came back unused; the account may give it again."""

    TOPIC: ClassVar[str] = "account.invite_refunded.1"

    invitation: UUID


FACTS: tuple[type[Fact], ...] = (
    AccountRegistered,
    AccountRoleGranted,
    AccountRoleWithdrawn,
    AccountPasswordChanged,
    AccountInvitesGranted,
    AccountInviteSpent,
    AccountInviteRefunded,
)


class UsernameInvalid(Invalid):
    """The name is too short, too long, or has characters a name can't have."""

    code = "username_invalid"
    message = "username: must be 3 to 20 letters, digits, hyphens or underscores"


class UsernameTaken(Conflict):
    """Another account has that name, perhaps in other case."""

    code = "username_taken"
    message = "Username already taken"


class RegistrationClosed(Forbidden):
    """New accounts are not accepted now."""

    code = "registration_closed"
    message = "Registration is closed"


class InvitationRequired(Forbidden):
    """New accounts need an invitation."""

    code = "invitation_required"
    message = "Registration needs an invitation"


class NoInvitesLeft(Forbidden):
    """All the invitations he may give are given."""

    code = "no_invites_left"
    message = "No invites remaining"


class AccountNotFound(NotFound):
    """No such account."""

    code = "account_not_found"
    message = "User not found"


class CurrentPasswordWrong(Unauthenticated):
    """The password in force was not proven."""

    code = "current_password_wrong"
    message = "Current password is incorrect"


class RoleNotHeld(NotFound):
    """The account does not hold that role."""

    code = "role_not_held"
    message = "User does not have this role"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account as decisions see it. Sizes are bytes, `invites` is what he may still give.

    `automatic_roles` are those a rule gave. `password_changes` counts how often he replaced his
    password: what was proven or opened under another count is void. `announce_epoch` is the one
    his announce key is of.
    """

    id: UUID
    version: int
    number: int
    username: str
    invites: int
    roles: frozenset[str] = frozenset()
    automatic_roles: frozenset[str] = frozenset()
    password_changes: int = 0
    announce_epoch: int = FIRST_EPOCH
    ban: Ban | None = None

    def is_banned(self, at: datetime) -> bool:
        """Whether he is shut out at `at`."""
        return self.ban is not None and self.ban.holds(at)


def evolve(state: Account | None, envelope: Envelope) -> Account:
    """The account after one more fact."""
    return _after(state, envelope.originator_id, envelope.originator_version, envelope.fact)


def account_after(account: UUID, facts: Sequence[Fact]) -> Account:
    """A new account as its first facts make it. Raises TypeError when it has none."""
    state: Account | None = None
    for version, fact in enumerate(facts, 1):
        state = _after(state, account, version, fact)
    if state is None:
        raise TypeError("an account begins with a fact")
    return state


def _after(state: Account | None, account: UUID, version: int, fact: Fact) -> Account:
    match fact, state:
        case AccountRegistered(), None:
            return Account(
                id=account,
                version=version,
                number=fact.number,
                username=fact.username,
                invites=fact.invites,
            )
        case AccountRoleGranted() | AccountRoleWithdrawn(), Account():
            changed: dict[str, object] = _role_changes(state, fact)
        case AccountPasswordChanged(), Account():
            changed = {"password_changes": state.password_changes + 1}
        case AccountBanned(until=until, by_administrator=by_administrator), Account():
            changed = {"ban": Ban(until=until, by_administrator=by_administrator)}
        case AccountUnbanned(), Account():
            changed = {"ban": None}
        case AccountAnnounceKeyRotated(epoch=epoch), Account():
            changed = {"announce_epoch": epoch}
        case AccountInvitesGranted(amount=amount), Account():
            changed = {"invites": state.invites + amount}
        case AccountInviteSpent() | AccountInviteRefunded(), Account():
            change = 1 if isinstance(fact, AccountInviteRefunded) else -1
            changed = {"invites": state.invites + change}
        case unknown, _:
            raise TypeError(f"not a fact of an account here: {type(unknown).__name__}")
    return msgspec.structs.replace(state, version=version, **changed)


def _role_changes(
    state: Account, fact: AccountRoleGranted | AccountRoleWithdrawn
) -> dict[str, object]:
    roles, by_rule = state.roles - {fact.role}, state.automatic_roles - {fact.role}
    if isinstance(fact, AccountRoleGranted):
        roles |= {fact.role}
        by_rule |= {fact.role} if fact.automatic else frozenset()
    return {"roles": roles, "automatic_roles": by_rule}


def username_claim(username: str) -> Claim:
    """The name as claimed: two names that differ in case only are one."""
    return Claim("account.username", username.casefold())


def require_username(username: str) -> str:
    """`username` if an account may have it. Raises `UsernameInvalid`."""
    if not USERNAME.fullmatch(username):
        raise UsernameInvalid()
    return username


def require_open_registration(*, is_open: bool, by_invitation: bool, invited: bool) -> None:
    """Let a newcomer in, or raise `RegistrationClosed` or `InvitationRequired`."""
    if is_open or (by_invitation and invited):
        return
    raise InvitationRequired() if by_invitation else RegistrationClosed()


def register_account(
    number: int, username: str, *, kid: int, starter_upload: int, invites: int
) -> list[Fact]:
    """A new account. Raises `UsernameInvalid`."""
    return [
        AccountRegistered(
            number=number,
            username=require_username(username),
            kid=kid,
            starter_upload=starter_upload,
            invites=invites,
        )
    ]


def grant_role(
    account: Account | None, role: str, *, reason: str, automatic: bool = False
) -> list[Fact]:
    """Give a role; nothing when he holds it. One a rule gave becomes his own when given by hand.

    Raises `AccountNotFound`.
    """
    if account is None:
        raise AccountNotFound()
    if role in account.roles and (automatic or role not in account.automatic_roles):
        return []
    return [AccountRoleGranted(role=role, reason=reason, automatic=automatic)]


def withdraw_role(account: Account | None, role: str, *, automatic: bool = False) -> list[Fact]:
    """Take a role; a rule takes only what a rule gave.

    Raises `AccountNotFound`, `RoleNotHeld`.
    """
    if account is None:
        raise AccountNotFound()
    if role not in account.roles:
        raise RoleNotHeld()
    if automatic and role not in account.automatic_roles:
        return []
    return [AccountRoleWithdrawn(role=role, automatic=automatic)]


def change_password(account: Account, *, proven: int) -> list[Fact]:
    """Replace the password; `proven` is the count of changes under which it was proven.

    Raises `CurrentPasswordWrong` when it was changed since.
    """
    if account.password_changes != proven:
        raise CurrentPasswordWrong()
    return [AccountPasswordChanged()]


def grant_invites(account: Account | None, amount: int) -> list[Fact]:
    """Let an account give more invitations. Raises `AccountNotFound`."""
    if account is None:
        raise AccountNotFound()
    return [AccountInvitesGranted(amount=amount)]


def spend_invite(account: Account, invitation: UUID) -> list[Fact]:
    """Take one from what he may give. Raises `NoInvitesLeft`."""
    if account.invites <= 0:
        raise NoInvitesLeft()
    return [AccountInviteSpent(invitation=invitation)]


def refund_invite(invitation: UUID) -> list[Fact]:
    """Let him give it again."""
    return [AccountInviteRefunded(invitation=invitation)]
