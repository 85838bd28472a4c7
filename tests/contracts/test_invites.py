"""Contract of `/api/invites` and `/api/admin/invites`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from application.invitations import ExpireInvitation
from application.site import ChangeSettings
from projections.invitations import list_overdue
from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.browser import Browser

MINE = "/api/invites"
ALL = "/api/admin/invites"
RACERS = 30


@pytest.fixture(autouse=True)
def by_invitation(api: Api, admin: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"inviteEnabled": True, "registrationOpen": False}))


def given(browser: Browser, **body: Any) -> dict[str, Any]:
    reply = browser.post(MINE, json=body)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()["invite"]
    return made


def code_of(reply: Any) -> str:
    code: str = reply.json()["data"]["code"]
    return code


def test_give_invite_opens_registration_for_one(api: Api, alice: Browser) -> None:
    made = given(alice)
    assert len(made["code"]) == 32
    shown = alice.get(MINE).json()
    assert shown["remaining"] == 1
    (row,) = shown["invites"]
    assert (row["code"], row["status"], row["usedByUser"]) == (made["code"], "active", None)
    assert row["expiresAt"] == made["expiresAt"]
    without = api.browser().register("bob")
    assert (without.status_code, code_of(without)) == (403, "invitation_required")
    assert api.browser().register("bob", inviteCode=made["code"].lower()).status_code == 200
    again = api.browser().register("eve", invite=made["code"])
    assert (again.status_code, code_of(again)) == (400, "invitation_invalid")
    (row,) = alice.get(MINE).json()["invites"]
    assert (row["code"], row["status"]) == (None, "used")
    assert row["usedByUser"]["username"] == "bob"
    assert row["usedAt"] is not None


def test_give_invite_says_how_long_and_spends_the_quota(alice: Browser) -> None:
    assert given(alice, expiresInDays=None)["expiresAt"] is None
    assert given(alice, expiresInDays=90)["expiresAt"] is not None
    spent = alice.post(MINE)
    assert (spent.status_code, code_of(spent)) == (403, "no_invites_left")
    for days in (0, 2, "7 days", -1):
        assert alice.post(MINE, json={"expiresInDays": days}).status_code == 400


def test_give_invite_repeated_gives_the_same_code(alice: Browser) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (alice.post(MINE, headers=headers).json() for _ in range(2))
    assert first == second
    assert alice.get(MINE).json()["remaining"] == 1


def test_invitations_are_refused_while_they_are_disabled(
    api: Api, alice: Browser, admin: Browser
) -> None:
    api.dispatch(ChangeSettings(changes={"inviteEnabled": False}))
    for reply in (alice.post(MINE), admin.post(f"{ALL}/generate")):
        assert (reply.status_code, code_of(reply)) == (403, "invitations_disabled")


def test_revoke_invite_gives_it_back_once(api: Api, alice: Browser, mona: Browser) -> None:
    made = given(alice)
    path = f"{MINE}/{made['id']}"
    foreign = mona.delete(path)
    assert (foreign.status_code, code_of(foreign)) == (404, "invitation_not_found")
    assert alice.delete(path).json() == {"success": True, "refunded": True}
    assert alice.get(MINE).json()["remaining"] == 2
    again = alice.delete(path)
    assert (again.status_code, code_of(again)) == (409, "invitation_ended")
    assert alice.get(MINE).json()["remaining"] == 2
    refused = api.browser().register("bob", invite=made["code"])
    assert (refused.status_code, code_of(refused)) == (400, "invitation_invalid")
    used = given(alice)
    assert api.browser().register("bob", invite=used["code"]).status_code == 200
    late = alice.delete(f"{MINE}/{used['id']}")
    assert (late.status_code, code_of(late)) == (409, "invitation_used")
    assert alice.delete(f"{MINE}/{uuid4()}").status_code == 404
    assert alice.delete(f"{MINE}/seven").status_code == 400


def test_an_overdue_invitation_counts_as_expired_at_once_and_comes_back(
    api: Api, alice: Browser, admin: Browser
) -> None:
    made = given(alice, expiresInDays=1)
    api.clock.ahead = timedelta(days=1)
    late = api.browser().register("bob", invite=made["code"])
    assert (late.status_code, code_of(late)) == (403, "invitation_expired")
    (row,) = alice.get(MINE).json()["invites"]
    assert (row["status"], row["code"]) == ("expired", None)
    counts = admin.get(ALL).json()["counts"]
    assert (counts["active"], counts["expired"]) == (0, 1)
    with api.services.reads.connection() as connection:
        (overdue,) = list_overdue(connection, api.clock(), 10)
    api.dispatch(ExpireInvitation(invitation=overdue))
    with api.services.reads.connection() as connection:
        assert list_overdue(connection, api.clock(), 10) == []
    assert alice.get(MINE).json()["remaining"] == 2
    assert admin.get(ALL).json()["counts"] == counts
    assert [row["id"] for row in admin.get(ALL, params={"status": "expired"}).json()["data"]] == [
        made["id"]
    ]


def test_one_code_lets_one_newcomer_in_whoever_races(api: Api, alice: Browser) -> None:
    code = given(alice)["code"]
    bodies = []
    for number in range(RACERS):
        browser = api.browser()
        bodies.append((browser, browser.registration(f"racer{number}", invite=code)))
    barrier = Barrier(RACERS)

    def run(racer: tuple[Browser, dict[str, Any]]) -> int:
        barrier.wait()
        reply: int = racer[0].post("/api/auth/register", json=racer[1]).status_code
        return reply

    with ThreadPoolExecutor(RACERS) as pool:
        answers = list(pool.map(run, bodies))
    assert sorted(answers) == [200, *([400] * (RACERS - 1))]
    assert api.topics().count("invitation.used.1") == 1
    assert sum("racer" in name for name in usernames(api)) == 1


def usernames(api: Api) -> list[str]:
    with api.services.reads.connection() as connection:
        return [row[0] for row in connection.execute("SELECT username FROM users_1.accounts")]


def test_list_all_invites_filters_and_hides_codes(api: Api, alice: Browser, admin: Browser) -> None:
    first, second = given(alice), given(admin)
    assert api.browser().register("bob", invite=first["code"]).status_code == 200
    page = admin.get(ALL).json()
    assert [row["id"] for row in page["data"]] == [second["id"], first["id"]]
    assert page["counts"] == {"total": 2, "active": 1, "used": 1, "expired": 0, "revoked": 0}
    assert page["pagination"]["total"] == 2
    preview = page["data"][0]["codePreview"]
    assert preview == f"{second['code'][:8]}…{second['code'][-4:]}"
    assert page["data"][1]["codePreview"] is None
    assert second["code"] not in admin.get(ALL).text
    for params, wanted in (
        ({"status": "used"}, [first["id"]]),
        ({"search": "BOB"}, [first["id"]]),
        ({"search": "roo"}, [second["id"]]),
        ({"search": second["code"]}, []),
        ({"search": "%"}, []),
        ({"page": 2, "limit": 1}, [first["id"]]),
        ({"status": "revoked"}, []),
    ):
        assert [row["id"] for row in admin.get(ALL, params=params).json()["data"]] == wanted
    for params in ({"status": "lost"}, {"limit": 51}, {"page": 0}):
        assert admin.get(ALL, params=params).status_code == 400


def test_generate_invites_uses_nobodys_quota(api: Api, admin: Browser) -> None:
    before = admin.get(MINE).json()["remaining"]
    made = admin.post(f"{ALL}/generate", json={"count": 3, "expiresInDays": 30}).json()
    assert len(set(made["codes"])) == 3
    assert made["expiresAt"] is not None
    assert admin.post(f"{ALL}/generate").json()["expiresAt"] is None
    assert admin.get(MINE).json()["remaining"] == before
    assert api.browser().register("bob", invite=made["codes"][2]).status_code == 200
    unused = admin.get(ALL, params={"status": "active"}).json()["data"][0]["id"]
    assert admin.delete(f"{ALL}/{unused}").json() == {"success": True, "refunded": False}
    assert admin.get(MINE).json()["remaining"] == before
    for body in ({"count": 0}, {"count": 51}, {"expiresInDays": 366}, {"expiresInDays": 0}):
        assert admin.post(f"{ALL}/generate", json=body).status_code == 400


def test_grant_invites_raises_what_a_member_may_give(admin: Browser, alice: Browser) -> None:
    asked = {"userId": str(account_id(alice)), "count": 5}
    assert admin.post(f"{ALL}/grant", json=asked).json() == {"success": True, "invitesRemaining": 7}
    assert alice.get("/api/me").json()["invitesRemaining"] == 7
    assert admin.post(f"{ALL}/grant", json={**asked, "userId": str(uuid4())}).status_code == 404
    for wrong in ({"count": 0}, {"count": 101}, {"userId": "seven"}):
        assert admin.post(f"{ALL}/grant", json={**asked, **wrong}).status_code == 400


def test_revoke_any_invite_refunds_its_giver(admin: Browser, alice: Browser) -> None:
    made = given(alice)
    assert admin.delete(f"{ALL}/{made['id']}").json() == {"success": True, "refunded": True}
    assert alice.get(MINE).json()["remaining"] == 2
    assert admin.delete(f"{ALL}/{made['id']}").status_code == 409
    assert admin.delete(f"{ALL}/{uuid4()}").status_code == 404


def test_show_invite_tree_leads_up_and_down(api: Api, admin: Browser, mona: Browser) -> None:
    bob, eve = api.browser(), api.browser()
    assert bob.register("bob", invite=given(admin)["code"]).status_code == 200
    assert eve.register("eve", invite=given(bob)["code"]).status_code == 200
    tree = mona.get(f"{ALL}/tree", params={"userId": str(account_id(bob))}).json()
    assert tree["user"]["username"] == "bob"
    assert [(row["username"], row["invited"]) for row in tree["inviters"]] == [("root", 1)]
    assert [(row["username"], row["invited"]) for row in tree["invited"]] == [("eve", 0)]
    leaf = mona.get(f"{ALL}/tree", params={"userId": str(account_id(eve))}).json()
    assert [row["username"] for row in leaf["inviters"]] == ["bob", "root"]
    assert (leaf["invited"], leaf["pagination"]["total"]) == ([], 0)
    assert mona.get(f"{ALL}/tree", params={"userId": str(uuid4())}).status_code == 404
    assert mona.get(f"{ALL}/tree", params={"userId": "seven"}).status_code == 400
    assert mona.get(f"{ALL}/tree").status_code == 400


def test_invitations_ask_who_is_there(api: Api, anonymous: Browser, mona: Browser) -> None:
    plain = member(api, "carl")
    any_id = uuid4()
    mine = (("GET", MINE), ("POST", MINE), ("DELETE", f"{MINE}/{any_id}"))
    admins = (
        ("GET", ALL),
        ("POST", f"{ALL}/generate"),
        ("POST", f"{ALL}/grant"),
        ("DELETE", f"{ALL}/{any_id}"),
    )
    tree = f"{ALL}/tree?userId={any_id}"
    for method, path in (*mine, *admins, ("GET", tree)):
        assert anonymous.request(method, path).status_code == 401, path
    for method, path in (*admins, ("GET", tree)):
        assert plain.request(method, path).status_code == 403, path
    for method, path in admins:
        assert mona.request(method, path).status_code == 403, path
