"""Contract of `GET /api/auth/pow` and `POST /api/auth/register`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

from application.site import ChangeSettings
from interfaces.http.app import create_app
from interfaces.http.cookies import SessionCookie
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser, solve

PATH = "/api/auth/register"


def open_registration(api: Api) -> None:
    api.dispatch(ChangeSettings(changes={"registrationOpen": True}))


def code_of(reply: Any) -> str:
    return str(reply.json()["data"]["code"])


def test_issue_proof_of_work_gives_a_fresh_challenge(anonymous: Browser) -> None:
    first, second = anonymous.get("/api/auth/pow"), anonymous.get("/api/auth/pow")
    assert first.status_code == 200
    assert set(first.json()) == {"challenge", "difficulty", "iterations"}
    assert len(first.json()["challenge"]) == 64
    assert first.json()["challenge"] != second.json()["challenge"]


def test_register_account_makes_the_first_one_administrator_and_closes(
    api: Api, anonymous: Browser
) -> None:
    reply = anonymous.register("Root_1")
    assert reply.status_code == 200, reply.text
    user = reply.json()["user"]
    assert reply.json() == {"success": True, "isFirstUser": True, "user": user}
    assert user == {
        "id": user["id"],
        "username": "Root_1",
        "isAdmin": True,
        "isModerator": False,
        "uploaded": 0,
        "downloaded": 0,
    }
    assert reply.headers["x-log-position"] == str(api.log.head())
    status = anonymous.get("/api/auth/status").json()
    assert (status["needsSetup"], status["registrationOpen"]) == (False, False)
    refused = api.browser().register("second")
    assert (refused.status_code, code_of(refused)) == (403, "registration_closed")


def test_register_account_signs_in_with_a_guarded_cookie(anonymous: Browser) -> None:
    cookie = anonymous.register("root").headers["set-cookie"]
    assert cookie.startswith("trackarr-session=")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"httponly", "max-age=604800", "path=/", "samesite=lax"}
    assert anonymous.get("/api/me").status_code == 200


def test_the_cookie_is_secure_where_the_site_is_https(api: Api) -> None:
    cookie = SessionCookie(bytes(32), secure=True, entropy=api.services.entropy)
    secured = api.configured(public_url="https://tracker.example")
    app = create_app(replace(secured.services, cookie=cookie))
    reply = Browser(app).register("root")
    assert "secure" in reply.headers["set-cookie"].lower()
    assert reply.headers["strict-transport-security"].startswith("max-age=")


def test_register_account_reads_the_older_spelling(api: Api, anonymous: Browser) -> None:
    body = anonymous.registration("root")
    work = body.pop("pow")
    older = {
        "username": "root",
        "authSalt": body["salt"],
        "authVerifier": body["verifier"],
        "inviteCode": "",
        "powChallenge": work["challenge"],
        "powNonce": work["nonce"],
        "powHash": work["hash"],
    }
    assert anonymous.post(PATH, json=older).status_code == 200
    assert api.browser().log_in("root").status_code == 200


def test_register_account_reads_a_nonce_given_as_a_number(anonymous: Browser) -> None:
    body = anonymous.registration("root")
    body["pow"]["nonce"] = int(body["pow"]["nonce"])
    assert anonymous.post(PATH, json=body).status_code == 200


def test_register_account_gives_others_what_the_settings_say(api: Api, admin: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"registrationOpen": True, "starterUpload": 1000}))
    browser = api.browser()
    reply = browser.register("alice")
    assert reply.json()["isFirstUser"] is False
    assert reply.json()["user"]["isAdmin"] is False
    assert reply.json()["user"]["uploaded"] == 1000
    me = browser.get("/api/me").json()
    assert (me["uploaded"], me["bonusUploaded"], me["ratio"]) == (1000, 1000, None)
    assert me["invitesRemaining"] == 2


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"username": "ab"}, "username: "),
    ({"username": "x" * 21}, "username: "),
    ({"username": "no spaces"}, "username: "),
    ({"username": "nul\0"}, "username: "),
    ({"username": 7}, "username: "),
    ({"username": None}, "username: "),
    ({"salt": "short"}, "salt: "),
    ({"salt": "ä" * 44}, "salt: "),
    ({"verifier": "x" * 129}, "verifier: "),
    ({"pow": None}, "pow: "),
    ({"pow": {}}, "pow.challenge: "),
    ({"pow": {"challenge": "x" * 64, "nonce": "1", "hash": "0" * 64}}, "pow.challenge: "),
    ({"pow": {"challenge": "0" * 64, "nonce": "\ud800", "hash": "0" * 64}}, "pow.nonce"),
    ({"pow": {"challenge": "0" * 64, "nonce": "1" * 129, "hash": "0" * 64}}, "pow.nonce"),
    ({"panicPassword": "too short"}, "panicPassword: "),
    ({"panicPassword": "x" * 129}, "panicPassword: "),
    ({"invite": "x" * 65}, "invite: "),
]


def test_register_account_refuses_a_bad_field(api: Api, anonymous: Browser) -> None:
    for change, said in BAD_FIELDS:
        body = json.dumps({**anonymous.registration("root"), **change})
        reply = anonymous.post(PATH, content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 400, change
        assert reply.json()["message"].startswith(said), change
    assert api.log.head() == 0


def test_register_account_names_a_missing_field(anonymous: Browser) -> None:
    for missing in ("username", "salt", "verifier", "pow"):
        body = anonymous.registration("root")
        del body[missing]
        reply = anonymous.post(PATH, json=body)
        assert (reply.status_code, reply.json()["message"]) == (400, f"{missing}: Field required")


def test_register_account_takes_a_proof_of_work_once(api: Api, anonymous: Browser) -> None:
    body = anonymous.registration("root")
    assert anonymous.post(PATH, json=body).status_code == 200
    open_registration(api)
    again = api.browser().post(PATH, json={**body, "username": "alice"})
    assert (again.status_code, code_of(again)) == (400, "proof_of_work_invalid")


def test_register_account_refuses_work_not_done(api: Api, anonymous: Browser) -> None:
    body = anonymous.registration("root")
    digest = body["pow"]["hash"]
    body["pow"]["hash"] = "0" + digest[1:-1] + ("1" if digest[-1] == "0" else "0")
    reply = anonymous.post(PATH, json=body)
    assert (reply.status_code, code_of(reply)) == (400, "proof_of_work_invalid")
    own = {**anonymous.registration("root"), "pow": solve("ab" * 32, 1)}
    assert anonymous.post(PATH, json=own).status_code == 400
    assert api.log.head() == 0


def test_register_account_refuses_a_taken_name_in_any_case(api: Api, alice: Browser) -> None:
    open_registration(api)
    reply = api.browser().register("ALICE")
    assert (reply.status_code, code_of(reply)) == (409, "username_taken")


def test_register_account_by_invitation_refuses_codes_nobody_gave(api: Api, admin: Browser) -> None:
    ignored = api.browser().register("alice", invite="A" * 32)
    assert (ignored.status_code, code_of(ignored)) == (403, "registration_closed")
    api.dispatch(ChangeSettings(changes={"inviteEnabled": True}))
    without = api.browser().register("alice")
    assert (without.status_code, code_of(without)) == (403, "invitation_required")
    unknown = api.browser().register("alice", invite="A" * 32)
    assert (unknown.status_code, code_of(unknown)) == (400, "invitation_invalid")


def test_the_first_account_needs_the_set_up_code(api: Api) -> None:
    guarded = api.configured(setup_code="correct-code")
    for more in ({}, {"setupCode": "wrong"}, {"setupCode": ""}):
        reply = guarded.browser().register("root", **more)
        assert (reply.status_code, code_of(reply)) == (403, "set_up_code_required")
    assert api.log.head() == 0
    assert guarded.browser().register("root", setupCode="correct-code").status_code == 200
    open_registration(api)
    assert guarded.browser().register("alice").status_code == 200


def test_the_first_account_may_set_the_panic_password(api: Api, anonymous: Browser) -> None:
    words = "a long panic password"
    assert anonymous.register("root", panicPassword=words).status_code == 200
    assert api.kek.passwords == [words]
    open_registration(api)
    assert api.browser().register("alice", panicPassword=words).status_code == 200
    assert api.kek.passwords == [words]
    facts = repr([recorded.envelope.fact for recorded in api.log.read(0, 100)[0]])
    assert words not in facts


def test_of_thirty_first_registrations_exactly_one_administers(api: Api) -> None:
    bodies = [
        {**api.browser().registration("racer"), "username": f"racer{number}"}
        for number in range(30)
    ]
    barrier = Barrier(len(bodies))

    def run(body: dict[str, Any]) -> int:
        browser = api.browser()
        barrier.wait()
        return browser.post(PATH, json=body).status_code

    with ThreadPoolExecutor(len(bodies)) as threads:
        statuses = sorted(threads.map(run, bodies))
    assert statuses == [200] + [403] * 29
    assert api.topics().count("account.role_granted.1") == 1


def test_of_thirty_registrations_of_one_name_exactly_one_gets_it(api: Api, admin: Browser) -> None:
    open_registration(api)
    bodies = [api.browser().registration("alice") for _ in range(30)]
    barrier = Barrier(len(bodies))

    def run(body: dict[str, Any]) -> int:
        browser = api.browser()
        barrier.wait()
        return browser.post(PATH, json=body).status_code

    with ThreadPoolExecutor(len(bodies)) as threads:
        statuses = sorted(threads.map(run, bodies))
    assert statuses == [200] + [409] * 29
    assert api.topics().count("account.registered.1") == 2


def test_a_signed_in_member_registers_another_as_himself_not(api: Api, admin: Browser) -> None:
    """The newcomer's facts carry the newcomer as actor, whoever's cookie came along."""
    alice = member(api, "alice")
    open_registration(api)
    made = alice.register("carol").json()["user"]["id"]
    newest = api.log.read(0, 100)[0][-1].envelope
    assert str(newest.meta.actor) == made
    assert alice.get("/api/me").json()["username"] == "carol"
