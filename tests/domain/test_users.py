"""Accounts: names, registration gates, roles."""

from __future__ import annotations

import pytest

from domain import users
from domain.permissions import ADMINISTRATOR, MODERATOR, Permission
from domain.roles import RoleBook, permissions_of
from domain.users import (
    AccountPasswordChanged,
    AccountRegistered,
    AccountRoleGranted,
    AccountRoleWithdrawn,
)
from tests.kit.domain import AN_ID, folded, given, refuses_foreign_facts

REGISTERED = AccountRegistered(number=7, username="Alice", kid=4, starter_upload=5, invites=2)
MADE_MODERATOR = AccountRoleGranted(role=MODERATOR, reason="helps", automatic=False)


def test_register_account_records_number_name_and_what_he_starts_with() -> None:
    assert users.register_account(7, "Alice", kid=4, starter_upload=5, invites=2) == [REGISTERED]


@pytest.mark.parametrize("name", ["abc", "A-b_9", "x" * 20, "007"])
def test_require_username_lets_ordinary_names_pass(name: str) -> None:
    assert users.require_username(name) == name


@pytest.mark.parametrize(
    "name", ["", "ab", "x" * 21, "a b", "abc\n", "naïve", "аlice", "a.b", "abc\0", "a/b"]
)
def test_register_account_refuses_a_name_with_other_characters(name: str) -> None:
    with pytest.raises(users.UsernameInvalid):
        users.register_account(1, name, kid=1, starter_upload=0, invites=0)


def test_a_name_is_claimed_whatever_its_case() -> None:
    assert REGISTERED.claims() == (users.username_claim("aLICE"),)
    assert users.username_claim("alice") != users.username_claim("alice2")


def test_an_account_holds_the_permissions_of_its_roles() -> None:
    account = folded(users.evolve, REGISTERED)
    assert account is not None
    assert (account.id, account.number, account.username) == (AN_ID, 7, "Alice")
    assert permissions_of(account.roles, RoleBook()) == frozenset()
    moderator = folded(users.evolve, REGISTERED, MADE_MODERATOR)
    assert moderator is not None
    rights = permissions_of(moderator.roles, RoleBook())
    assert rights == {"canModerate", "canUploadWithoutModeration"}
    every = {permission.value for permission in Permission}
    assert permissions_of([ADMINISTRATOR], RoleBook()) == every
    assert permissions_of(["some-role-id"], RoleBook()) == frozenset()


def test_account_after_folds_facts_not_recorded_yet() -> None:
    facts = [REGISTERED, MADE_MODERATOR]
    assert users.account_after(AN_ID, facts) == folded(users.evolve, *facts)
    with pytest.raises(TypeError):
        users.account_after(AN_ID, [])


def test_an_account_refuses_foreign_facts() -> None:
    refuses_foreign_facts(users.evolve, REGISTERED)


def test_grant_role_records_it_once() -> None:
    given(users.evolve, REGISTERED).when(users.grant_role, MODERATOR, reason="helps").then(
        MADE_MODERATOR
    )
    given(users.evolve, REGISTERED, MADE_MODERATOR).when(
        users.grant_role, MODERATOR, reason="again"
    ).then()


def test_grant_role_by_hand_keeps_what_a_rule_gave() -> None:
    by_rule = AccountRoleGranted(role="r", reason="rule", automatic=True)
    by_hand = AccountRoleGranted(role="r", reason="helps", automatic=False)
    given(users.evolve, REGISTERED, by_rule).when(users.grant_role, "r", reason="helps").then(
        by_hand
    )
    given(users.evolve, REGISTERED, by_hand).when(
        users.grant_role, "r", reason="rule", automatic=True
    ).then()
    given(users.evolve).when(users.grant_role, MODERATOR, reason="helps").then_refused(
        users.AccountNotFound
    )


def test_withdraw_role_by_rule_takes_only_what_a_rule_gave() -> None:
    by_rule = AccountRoleGranted(role="r", reason="rule", automatic=True)
    by_hand = AccountRoleGranted(role="r", reason="helps", automatic=False)
    given(users.evolve, REGISTERED, by_rule).when(users.withdraw_role, "r", automatic=True).then(
        AccountRoleWithdrawn(role="r", automatic=True)
    )
    given(users.evolve, REGISTERED, by_rule, by_hand).when(
        users.withdraw_role, "r", automatic=True
    ).then()
    given(users.evolve, REGISTERED, by_hand).when(users.withdraw_role, "r").then(
        AccountRoleWithdrawn(role="r", automatic=False)
    )
    given(users.evolve, REGISTERED).when(users.withdraw_role, "r").then_refused(users.RoleNotHeld)


@pytest.mark.parametrize(
    ("is_open", "by_invitation", "invited", "refusal"),
    [
        (True, False, False, None),
        (True, False, True, None),
        (True, True, False, None),
        (True, True, True, None),
        (False, True, True, None),
        (False, True, False, users.InvitationRequired),
        (False, False, True, users.RegistrationClosed),
        (False, False, False, users.RegistrationClosed),
    ],
)
def test_require_open_registration_follows_both_settings(
    is_open: bool, by_invitation: bool, invited: bool, refusal: type[Exception] | None
) -> None:
    asked = {"is_open": is_open, "by_invitation": by_invitation, "invited": invited}
    if refusal is None:
        users.require_open_registration(**asked)
    else:
        with pytest.raises(refusal):
            users.require_open_registration(**asked)


def test_change_password_counts_and_refuses_a_proof_of_the_one_before() -> None:
    account = folded(users.evolve, REGISTERED, AccountPasswordChanged())
    assert account is not None
    assert account.password_changes == 1
    assert users.change_password(account, proven=1) == [AccountPasswordChanged()]
    with pytest.raises(users.CurrentPasswordWrong):
        users.change_password(account, proven=0)
