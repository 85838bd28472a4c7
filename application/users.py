"""Registering accounts."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

import msgspec

from application.bus import Handler, TakenErrors, Unit
from application.invitations import use_invitation
from application.password_proofs import VERIFIER_ID, VERIFIER_KIND, Verifier
from application.roles import appoint_administrator
from application.sessions import OpenSession, record_open_session
from application.site import load_site
from domain import passkeys, site, users
from domain.errors import Forbidden
from domain.kernel import Fact
from domain.permissions import ADMINISTRATOR


class KekWrapper(Protocol):
    """Wraps the key-encryption key under the panic password (design, section 8)."""

    def wrap(self, password: str) -> None: ...


class SetUpCodeRequired(Forbidden):
    """The first account needs the code the operator was shown."""

    code = "set_up_code_required"
    message = "The first account needs the set-up code that `trackarr up` printed."


class RegisterAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Make an account and sign it in.

    `may_found` says whether the caller may make the first account of the site. `verifier` is
    password-blind. `kid` is the id of the key that passkeys are made under now. `session` and `token_hash` are of the session to open.
    """

    account: UUID
    username: str
    kid: int
    verifier: Verifier
    invite: str | None
    may_found: bool
    session: UUID
    token_hash: str
    address: str | None = None


class RotateAnnounceKey(msgspec.Struct, frozen=True, kw_only=True):
    """Replace the caller's announce key; `seen` is the epoch of the key he wants to be rid of."""

    seen: int


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The account that was made; `is_first` when it founded the site."""

    account: UUID
    number: int
    username: str
    is_first: bool
    roles: frozenset[str]
    starter_upload: int


def handle_register_account(unit: Unit, command: RegisterAccount) -> Registered:
    """Make it. Raises `UsernameInvalid`, `UsernameTaken`, `SetUpCodeRequired`, and the refusals
    of `require_open_registration` and `use_invitation`.
    """
    users.require_username(command.username)
    current = load_site(unit)
    is_first = current.founder is None
    if is_first and not command.may_found:
        raise SetUpCodeRequired()
    if not is_first:
        _let_in(unit, command, current)
    if unit.claim_owner(users.username_claim(command.username)) is not None:
        raise users.UsernameTaken()
    starter = current.setting("starterUpload")
    invites = users.FOUNDER_INVITES if is_first else current.setting("defaultInvites")
    facts = users.register_account(
        unit.log.next_account_number(),
        command.username,
        kid=command.kid,
        starter_upload=int(starter or 0),
        invites=int(invites or 0),
    )
    account = _recorded(unit, command, facts, current if is_first else None)
    return Registered(
        account=command.account,
        number=account.number,
        username=account.username,
        is_first=is_first,
        roles=account.roles,
        starter_upload=int(starter or 0),
    )


def _let_in(unit: Unit, command: RegisterAccount, current: site.Site) -> None:
    """A code counts only while the site works with invitations, also when anyone may come in."""
    by_invitation = current.setting("inviteEnabled") is True
    if by_invitation and command.invite is not None:
        use_invitation(unit, command.invite, command.account)
    users.require_open_registration(
        is_open=current.setting("registrationOpen") is True,
        by_invitation=by_invitation,
        invited=command.invite is not None,
    )


def _recorded(
    unit: Unit, command: RegisterAccount, facts: list[Fact], found: site.Site | None
) -> users.Account:
    """Record the newcomer with all that goes with him; `found` is the site he founds, if so."""
    account = users.account_after(command.account, facts)
    if found is not None:
        # The claim in SiteFounded decides a race: one append of this kind can ever succeed.
        unit.record(
            site.SITE, found.version, site.found_site(found, command.account), actor=command.account
        )
        granted = users.grant_role(account, ADMINISTRATOR, reason="first account of the site")
        appoint_administrator(unit, command.account, actor=command.account)
        facts = [*facts, *granted]
        account = users.account_after(command.account, facts)
    unit.record(command.account, 0, facts, actor=command.account)
    unit.put(VERIFIER_KIND, command.account, VERIFIER_ID, msgspec.json.encode(command.verifier))
    opening = OpenSession(
        account=command.account,
        session=command.session,
        token_hash=command.token_hash,
        method="registration",
        address=command.address,
    )
    record_open_session(unit, opening)
    return account


def handle_rotate_announce_key(unit: Unit, command: RotateAnnounceKey) -> int:
    """Replace it; the new epoch. Raises `AccountNotFound`, `AnnounceKeyRotatedMeanwhile`."""
    account = unit.load(unit.actor.account, users.evolve)
    if account is None:
        raise users.AccountNotFound()
    facts = passkeys.rotate_announce_key(account.announce_epoch, seen=command.seen)
    unit.record(account.id, account.version, facts)
    return command.seen + len(facts)


HANDLERS: dict[type, Handler] = {
    RegisterAccount: handle_register_account,
    RotateAnnounceKey: handle_rotate_announce_key,
}
TAKEN: TakenErrors = {
    "account.username": users.UsernameTaken,
    "site.first_account": users.RegistrationClosed,
}
