"""Who may ban whom, and when a ban is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain import account_bans
from domain.account_bans import AccountUnbanned, Ban
from domain.errors import DomainError
from domain.permissions import ADMINISTRATOR, BUILT_IN, MODERATOR
from domain.roles import RoleBook, permissions_of

MEMBER, STAFF = UUID(int=1), UUID(int=2)
ADMIN, MOD, NOBODY = (
    permissions_of([ADMINISTRATOR], RoleBook()),
    permissions_of([MODERATOR], RoleBook()),
    permissions_of([], RoleBook()),
)
END = datetime(2026, 11, 1, tzinfo=UTC)
BY_ADMIN = Ban(until=None, by_administrator=True)
BY_MOD = Ban(until=END, by_administrator=False)


@pytest.mark.parametrize(
    ("target", "by", "current", "refusal"),
    [
        (NOBODY, MOD, None, None),
        (NOBODY, ADMIN, BY_MOD, None),
        (NOBODY, MOD, BY_MOD, None),
        (MOD, ADMIN, None, None),
        (MOD, MOD, None, account_bans.ModeratorBan),
        (ADMIN, ADMIN, None, account_bans.AdministratorBan),
        (ADMIN, MOD, None, account_bans.AdministratorBan),
        (NOBODY, MOD, BY_ADMIN, account_bans.AdministratorsBan),
    ],
)
def test_ban_account_knows_ranks(
    target: frozenset[str],
    by: frozenset[str],
    current: Ban | None,
    refusal: type[DomainError] | None,
) -> None:
    def ban() -> list[object]:
        return list(
            account_bans.ban_account(
                MEMBER,
                current=current,
                permissions=target,
                by=STAFF,
                by_permissions=by,
                reason="spam",
                until=END,
            )
        )

    if refusal is not None:
        with pytest.raises(refusal):
            ban()
        return
    (fact,) = ban()
    assert isinstance(fact, account_bans.AccountBanned)
    assert (fact.reason.text, fact.until) == ("spam", END)
    assert fact.by_administrator is (by == ADMIN)


def test_ban_account_is_not_for_oneself() -> None:
    with pytest.raises(account_bans.OwnBan):
        account_bans.ban_account(
            STAFF,
            current=None,
            permissions=MOD,
            by=STAFF,
            by_permissions=ADMIN,
            reason="tired",
            until=None,
        )


def test_unban_account_leaves_an_administrators_ban_to_administrators() -> None:
    assert account_bans.unban_account(BY_MOD, MOD) == [AccountUnbanned(expired=False)]
    assert account_bans.unban_account(BY_ADMIN, ADMIN) == [AccountUnbanned(expired=False)]
    assert account_bans.unban_account(None, MOD) == []
    with pytest.raises(account_bans.AdministratorsBan):
        account_bans.unban_account(BY_ADMIN, MOD)


def test_a_ban_is_over_at_its_end_to_the_instant() -> None:
    before = END - timedelta(microseconds=1)
    assert BY_MOD.holds(before)
    assert not BY_MOD.holds(END)
    assert BY_ADMIN.holds(END)
    assert account_bans.end_ban(BY_MOD, before) == []
    assert account_bans.end_ban(BY_MOD, END) == [AccountUnbanned(expired=True)]
    assert account_bans.end_ban(BY_ADMIN, END) == account_bans.end_ban(None, END) == []
    assert set(BUILT_IN) == {ADMINISTRATOR, MODERATOR}
