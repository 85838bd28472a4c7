"""Contract of `POST /api/admin/users/:id/ban` and `…/unban`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.account_bans import EndBan
from application.site import ChangeSettings
from interfaces.http.models import instant_text
from projections.access import account_entries
from projections.users import list_ended_bans
from tests.kit.accounts import account_id, grant, member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tracker.wire import ACCOUNT_MAY_ANNOUNCE


@pytest.fixture
def alice_id(alice: Browser) -> UUID:
    return account_id(alice)


def ban(browser: Browser, account: UUID, **body: Any) -> Any:
    return browser.post(f"/api/admin/users/{account}/ban", json={"reason": "spam", **body})


def unban(browser: Browser, account: UUID) -> Any:
    return browser.post(f"/api/admin/users/{account}/unban")


def code_of(reply: Any) -> str:
    code: str = reply.json()["data"]["code"]
    return code


def may_announce(api: Api, account: UUID) -> bool:
    with api.services.reads.connection() as connection, connection.transaction():
        row = connection.execute(
            "SELECT number FROM access_3.accounts WHERE id = %s", [account]
        ).fetchone()
        assert row is not None
        (entry,) = (each for each in account_entries(connection) if each.number == row[0])
    return bool(entry.flags & ACCOUNT_MAY_ANNOUNCE)


def test_a_banned_member_is_out_at_once_and_back_when_unbanned(
    api: Api, alice: Browser, mona: Browser, alice_id: UUID
) -> None:
    assert ban(mona, alice_id).json() == {"success": True}
    assert alice.get("/api/me").status_code == 401
    refused = alice.log_in("alice")
    assert (refused.status_code, code_of(refused)) == (403, "account_banned")
    wrong = alice.log_in("alice", "another password")
    assert (wrong.status_code, code_of(wrong)) == (401, "credentials_invalid")
    assert not may_announce(api, alice_id)
    assert unban(mona, alice_id).json() == {"success": True}
    assert unban(mona, alice_id).status_code == 200
    assert may_announce(api, alice_id)
    assert alice.log_in("alice").status_code == 200
    assert api.topics().count("account.unbanned.1") == 1


def test_a_timed_ban_ends_by_itself(
    api: Api, alice: Browser, mona: Browser, alice_id: UUID
) -> None:
    assert ban(mona, alice_id, duration=3).status_code == 200
    api.clock.ahead = timedelta(days=2, hours=23)
    assert alice.log_in("alice").status_code == 403
    api.clock.ahead = timedelta(days=3)
    assert alice.log_in("alice").status_code == 200
    with api.services.reads.connection() as connection:
        assert list_ended_bans(connection, api.clock(), 10) == [alice_id]
    assert not may_announce(api, alice_id)
    api.dispatch(EndBan(account=alice_id))
    assert may_announce(api, alice_id)
    with api.services.reads.connection() as connection:
        assert list_ended_bans(connection, api.clock(), 10) == []
    # A ban that was over no longer keeps others from a new one, whoever had issued it.
    assert ban(mona, alice_id, duration=1).status_code == 200


def test_the_last_address_is_banned_along_and_stays_so(
    api: Api, admin: Browser, mona: Browser
) -> None:
    api.dispatch(ChangeSettings(changes={"registrationOpen": True}))
    carl = Browser(api.app, address="203.0.113.5")
    assert carl.register("carl").status_code == 200
    account = account_id(carl)
    assert ban(mona, account, duration=7).status_code == 200
    (row,) = mona.get("/api/admin/banned-ips").json()["items"]
    assert (row["ip"], row["automatic"]) == ("203.0.113.5", True)
    assert row["reason"] == "Banned user: carl. Reason: spam"
    assert row["expiresAt"] is not None
    assert unban(mona, account).status_code == 200
    assert len(mona.get("/api/admin/banned-ips").json()["items"]) == 1


def test_the_address_of_the_last_request_is_banned_and_not_that_of_the_sign_in(
    api: Api, alice: Browser, alice_id: UUID, mona: Browser
) -> None:
    api.clock.ahead = timedelta(hours=1)
    moved = Browser(api.app, address="203.0.113.8")
    moved.client.cookies.update(alice.client.cookies)
    assert moved.get("/api/me").status_code == 200
    assert ban(mona, alice_id).status_code == 200
    (row,) = mona.get("/api/admin/banned-ips").json()["items"]
    assert row["ip"] == "203.0.113.8"


@pytest.mark.parametrize(
    ("before", "days", "replaced"),
    [(None, None, False), (1, None, True), (1, 7, True), (30, 7, False), (-1, 7, True)],
)
def test_an_address_ban_that_ends_sooner_gives_way_to_the_members(
    api: Api,
    alice_id: UUID,
    mona: Browser,
    before: int | None,
    days: int | None,
    *,
    replaced: bool,
) -> None:
    address = "203.0.113.8"
    body: dict[str, Any] = {"ip": address, "reason": "by hand"}
    if before is not None:
        body["expiresAt"] = instant_text(api.clock() + timedelta(days=abs(before)))
    moved = Browser(api.app, address=address)
    assert moved.log_in("alice").status_code == 200
    assert mona.post("/api/admin/banned-ips", json=body).status_code == 200
    if before == -1:
        api.clock.ahead = timedelta(days=2)
    assert ban(mona, alice_id, **({"duration": days} if days else {})).status_code == 200
    (row,) = mona.get("/api/admin/banned-ips").json()["items"]
    assert row["automatic"] is replaced


def test_nobody_bans_his_own_address_along(api: Api, admin: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"registrationOpen": True}))
    here = "203.0.113.6"
    carl, boss = Browser(api.app, address=here), Browser(api.app, address=here)
    assert carl.register("carl").status_code == 200
    assert boss.log_in("root").status_code == 200
    assert ban(boss, account_id(carl)).status_code == 200
    assert boss.get("/api/admin/banned-ips").json()["items"] == []


def test_ranks_are_kept(
    api: Api, admin: Browser, mona: Browser, alice: Browser, alice_id: UUID
) -> None:
    for caller, account, code in (
        (mona, account_id(admin), "administrator_ban"),
        (mona, account_id(mona), "own_ban"),
        (admin, account_id(admin), "own_ban"),
    ):
        assert code_of(ban(caller, account)) == code
    max_ = member(api, "max")
    grant(api, max_, "moderator")
    assert code_of(ban(mona, account_id(max_))) == "moderator_ban"
    assert ban(admin, alice_id).status_code == 200
    assert code_of(unban(mona, alice_id)) == "administrators_ban"
    assert code_of(ban(mona, alice_id, duration=1)) == "administrators_ban"
    assert unban(admin, alice_id).status_code == 200
    assert ban(admin, account_id(max_)).status_code == 200
    assert max_.get("/api/mod/torrents/pending").status_code == 401


def test_a_banned_givers_codes_let_nobody_in(
    api: Api, alice: Browser, mona: Browser, alice_id: UUID
) -> None:
    api.dispatch(ChangeSettings(changes={"inviteEnabled": True}))
    code = alice.post("/api/invites").json()["invite"]["code"]
    assert ban(mona, alice_id).status_code == 200
    refused = api.browser().register("bob", invite=code)
    assert (refused.status_code, code_of(refused)) == (400, "invitation_invalid")
    assert unban(mona, alice_id).status_code == 200
    assert api.browser().register("bob", invite=code).status_code == 200


def test_bans_ask_who_is_there_and_what_is_meant(
    anonymous: Browser, alice: Browser, mona: Browser, alice_id: UUID
) -> None:
    assert ban(anonymous, alice_id).status_code == unban(anonymous, alice_id).status_code == 401
    assert ban(alice, alice_id).status_code == unban(alice, alice_id).status_code == 403
    assert ban(mona, uuid4()).status_code == unban(mona, uuid4()).status_code == 404
    for body in (
        {"reason": ""},
        {"reason": "x" * 501},
        {"duration": 0},
        {"duration": 3651},
    ):
        assert ban(mona, alice_id, **body).status_code == 400, body
    assert mona.post(f"/api/admin/users/{alice_id}/ban").status_code == 400
    assert mona.post("/api/admin/users/seven/unban").status_code == 400
