"""Contract of the role routes of `/api/admin`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.roles import GrantRole
from application.site import ChangeSettings
from domain.users import FOUNDER_INVITES
from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded

ROLES = "/api/admin/roles"
AUTO = {
    "name": "Veteran",
    "assignmentMode": "auto",
    "rules": {
        "combinator": "or",
        "conditions": [
            {"field": "approvedUploads", "comparator": "gte", "value": 1},
            {"field": "uploadedBytes", "comparator": "gt", "value": 1000},
        ],
    },
}


def code_of(reply: Any) -> str:
    code: str = reply.json()["data"]["code"]
    return code


def created(admin: Browser, **body: Any) -> dict[str, Any]:
    reply = admin.post(ROLES, json={"name": "Helper", **body})
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


def held_path(account: UUID) -> str:
    return f"/api/admin/users/{account}/roles"


def held(admin: Browser, account: UUID) -> list[str]:
    return [role["name"] for role in admin.get(held_path(account)).json()]


def test_create_role_shows_it_with_the_built_in_ones(admin: Browser) -> None:
    made = created(admin, color="#ABCDEF", permissions=["canAudit"], priority=7)
    assert (made["color"], made["permissions"], made["priority"]) == ("#abcdef", ["canAudit"], 7)
    assert made["builtIn"] is False
    listed = admin.get(ROLES).json()
    assert [role["name"] for role in listed] == ["Administrator", "Helper", "Moderator"]
    assert listed[1] == made
    assert listed[2]["permissions"] == ["canModerate", "canUploadWithoutModeration"]
    older = created(admin, name="Trusted", canUploadWithoutModeration=True)
    assert older["permissions"] == ["canUploadWithoutModeration"]
    again = admin.post(ROLES, json={"name": "HELPER"})
    assert (again.status_code, code_of(again)) == (409, "role_name_taken")


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 51},
        {"color": "red"},
        {"priority": 1001},
        {"permissions": ["canFly"]},
        {"assignmentMode": "auto"},
        {"assignmentMode": "sometimes"},
        {
            "assignmentMode": "auto",
            "rules": {"conditions": [{"field": "hnrCount", "comparator": "lt", "value": 1}]},
        },
        {"rules": {"conditions": [{"field": "luck", "comparator": "lt", "value": 1}]}},
    ],
)
def test_create_role_refuses_bad_input(admin: Browser, body: dict[str, Any]) -> None:
    assert admin.post(ROLES, json={"name": "Helper", **body}).status_code == 400


def test_a_role_acts_on_the_next_request_and_so_does_its_change(
    admin: Browser, alice: Browser
) -> None:
    account = account_id(alice)
    role = created(admin, permissions=["canModerate"])
    assert alice.get("/api/mod/torrents/pending").status_code == 403
    given = admin.post(held_path(account), json={"roleId": role["id"]})
    assert [each["name"] for each in given.json()] == ["Helper"]
    assert given.json()[0]["assignedManually"] is True
    assert alice.get("/api/mod/torrents/pending").status_code == 200
    assert alice.get("/api/me").json()["roles"][0]["name"] == "Helper"
    path = f"{held_path(account)}/{role['id']}"
    assert admin.delete(path).json() == {"success": True}
    assert alice.get("/api/mod/torrents/pending").status_code == 403
    missing = admin.delete(path)
    assert (missing.status_code, code_of(missing)) == (404, "role_not_held")


def test_edit_role_and_remove_role_reach_all_who_hold_it(
    api: Api, admin: Browser, alice: Browser
) -> None:
    role = created(admin)
    path = f"{ROLES}/{role['id']}"
    admin.post(held_path(account_id(alice)), json={"roleId": role["id"]})
    # Her rights are remembered for a second from here; a change of the role must not wait for it.
    assert alice.get("/api/me").status_code == 200
    edited = admin.put(path, json={"name": "Uploader", "canUploadWithoutModeration": True})
    assert (edited.status_code, edited.json()["name"]) == (200, "Uploader")
    assert held(admin, account_id(alice)) == ["Uploader"]
    assert uploaded(alice, "At once")["moderationStatus"] == "accepted"
    assert admin.delete(path).json() == {"success": True}
    assert uploaded(alice, "Not any more")["moderationStatus"] == "pending"
    assert held(admin, account_id(alice)) == []
    for reply in (admin.put(path, json={"name": "X"}), admin.delete(path)):
        assert (reply.status_code, code_of(reply)) == (404, "role_not_found")
    built_in = admin.put(f"{ROLES}/moderator", json={"name": "X"})
    assert (built_in.status_code, code_of(built_in)) == (403, "built_in_role")


def test_rules_give_and_take_roles_but_never_what_was_given_by_hand(
    api: Api, admin: Browser, alice: Browser, mona: Browser
) -> None:
    role, account = created(admin, **AUTO), account_id(alice)
    accepted(mona, alice)
    done = admin.post(f"{ROLES}/recompute").json()
    assert (done["attached"], done["detached"], done["complete"]) == (1, 0, True)
    assert done["considered"] == 3
    assert admin.get(held_path(account)).json()[0]["assignedManually"] is False
    assert admin.post(f"{ROLES}/recompute").json()["attached"] == 0
    admin.post(held_path(account_id(mona)), json={"roleId": role["id"]})
    stricter = {**AUTO, "rules": {"conditions": [
        {"field": "totalUploads", "comparator": "gt", "value": 5},
        {"field": "accountAgeDays", "comparator": "gte", "value": 0},
    ]}}  # fmt: skip
    assert admin.put(f"{ROLES}/{role['id']}", json=stricter).status_code == 200
    done = admin.post(f"{ROLES}/recompute").json()
    assert (done["attached"], done["detached"]) == (0, 1)
    assert held(admin, account) == []
    assert "Veteran" in held(admin, account_id(mona))
    assert admin.post(f"/api/admin/users/{account}/ban", json={"reason": "x"}).is_success
    loose = {**AUTO, "rules": {"conditions": [
        {"field": "ratio", "comparator": "gte", "value": 0},
        {"field": "downloadedBytes", "comparator": "lt", "value": 1},
        {"field": "completedSeeds", "comparator": "eq", "value": 0},
    ], "combinator": "or"}}  # fmt: skip
    assert admin.put(f"{ROLES}/{role['id']}", json=loose).status_code == 200
    assert admin.post(f"{ROLES}/recompute").json()["attached"] == 1
    assert held(admin, account) == []


def test_the_older_route_sets_the_built_in_roles(admin: Browser, alice: Browser) -> None:
    path = f"/api/admin/users/{account_id(alice)}/role"
    made = admin.put(path, json={"isModerator": True})
    assert [role["name"] for role in made.json()] == ["Moderator"]
    assert alice.get("/api/mod/torrents/pending").status_code == 200
    assert admin.put(path, json={"isModerator": False, "isAdmin": True}).status_code == 200
    assert held(admin, account_id(alice)) == ["Administrator"]
    for body in ({"isAdmin": "yes"}, {"isRoot": True}):
        assert admin.put(path, json=body).status_code == 400
    own = admin.put(f"/api/admin/users/{account_id(admin)}/role", json={"isAdmin": False})
    assert (own.status_code, code_of(own)) == (400, "own_dismissal")


def test_nobody_gives_what_he_lacks(api: Api, admin: Browser, alice: Browser) -> None:
    desk = created(admin, name="Desk", permissions=["canAccessAdmin"])
    admin.post(held_path(account_id(alice)), json={"roleId": desk["id"]})
    mona = member(api, "mona")
    for reply in (
        alice.post(held_path(account_id(mona)), json={"roleId": "administrator"}),
        alice.post(ROLES, json={"name": "Mine", "permissions": ["canAudit"]}),
        alice.delete(f"{held_path(account_id(admin))}/administrator"),
        alice.put(f"/api/admin/users/{account_id(admin)}/role", json={"isAdmin": False}),
    ):
        assert (reply.status_code, code_of(reply)) == (403, "beyond_own_rights")
    given = alice.post(held_path(account_id(mona)), json={"roleId": desk["id"]})
    assert given.status_code == 200


def test_a_banned_member_is_not_made_administrator(
    api: Api, admin: Browser, alice: Browser
) -> None:
    """With him as the only one left nobody could administer the site."""
    account = account_id(alice)
    assert admin.post(f"/api/admin/users/{account}/ban", json={"reason": "test"}).status_code == 200
    older = admin.put(
        f"/api/admin/users/{account}/role", json={"isAdmin": True, "isModerator": True}
    )
    for reply in (admin.post(held_path(account), json={"roleId": "administrator"}), older):
        assert (reply.status_code, code_of(reply)) == (400, "banned_appointment")
    assert held(admin, account) == []


def test_two_administrators_who_dismiss_each_other_leave_one(api: Api, admin: Browser) -> None:
    for round_ in range(3):
        rival = member(api, f"rival{round_}")
        api.dispatch(GrantRole(account=account_id(rival), role="administrator", reason="trusted"))
        assert rival.log_in(f"rival{round_}").status_code == 200
        pair = [admin, rival]
        paths = [f"{held_path(account_id(each))}/administrator" for each in reversed(pair)]
        barrier = Barrier(2)

        def dismiss(number: int, paths: list[str] = paths, pair: list[Browser] = pair,
                    barrier: Barrier = barrier) -> int:  # fmt: skip
            barrier.wait()
            return int(pair[number].delete(paths[number]).status_code)

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(dismiss, range(2)))
        assert answers.count(200) == 1, answers
        assert {answer for answer in answers if answer != 200} <= {400, 403}
        with api.services.reads.connection() as connection:
            row = connection.execute(
                "SELECT count(*) FROM users_1.accounts WHERE is_admin"
            ).fetchone()
        assert row == (1,)
        admin = pair[answers.index(200)]


def test_roles_ask_who_is_there_and_what_is_meant(
    api: Api, admin: Browser, anonymous: Browser, alice: Browser, mona: Browser
) -> None:
    api.dispatch(ChangeSettings(changes={"defaultInvites": FOUNDER_INVITES}))
    account, role = account_id(alice), uuid4()
    body = {"name": "Helper", "roleId": "moderator"}
    routes = [
        ("GET", ROLES),
        ("POST", ROLES),
        ("PUT", f"{ROLES}/{role}"),
        ("DELETE", f"{ROLES}/{role}"),
        ("POST", f"{ROLES}/recompute"),
        ("GET", held_path(account)),
        ("POST", held_path(account)),
        ("DELETE", f"{held_path(account)}/moderator"),
        ("PUT", f"/api/admin/users/{account}/role"),
    ]
    for method, path in routes:
        sent = {} if method in {"GET", "DELETE"} else {"json": body}
        assert anonymous.request(method, path, **sent).status_code == 401, path
        assert mona.request(method, path, **sent).status_code == 403, path
    nobody = uuid4()
    assert admin.get(held_path(nobody)).status_code == 404
    assert admin.post(held_path(nobody), json={"roleId": "moderator"}).status_code == 404
    assert admin.post(held_path(account), json={"roleId": str(role)}).status_code == 404
    assert admin.delete(f"{held_path(nobody)}/moderator").status_code == 404
    assert admin.put(f"/api/admin/users/{nobody}/role", json={}).status_code == 404
    assert admin.get(held_path(account).replace(str(account), "seven")).status_code == 400
    assert admin.post(held_path(account), json={}).status_code == 400
