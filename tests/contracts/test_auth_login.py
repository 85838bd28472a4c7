"""Contract of challenge, login, logout and status."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from domain.sessions import ABSOLUTE_LIFE
from tests.kit.api import Api
from tests.kit.browser import PASSWORD, Browser, proof_for, salt_of, verifier_of

CHALLENGE, LOGIN = "/api/auth/challenge", "/api/auth/login"


def code_of(reply: Any) -> str:
    return str(reply.json()["data"]["code"])


def with_cookie(api: Api, value: str) -> Browser:
    browser = api.browser()
    browser.client.cookies.set("trackarr-session", value)
    return browser


def test_issue_login_challenge_gives_salt_and_iterations(admin: Browser) -> None:
    reply = admin.get(CHALLENGE, params={"username": " root "})
    assert reply.status_code == 200
    assert set(reply.json()) == {"salt", "challenge", "iterations"}
    assert reply.json()["salt"] == salt_of("root")
    assert reply.json()["iterations"] == 600_000


def test_issue_login_challenge_tells_unknown_names_nothing(api: Api, admin: Browser) -> None:
    known = api.browser().get(CHALLENGE, params={"username": "root"}).json()
    unknown = [
        api.browser().get(CHALLENGE, params={"username": name}).json()
        for name in ("nobody", "nobody", "someone", "\0", "ü" * 100)
    ]
    assert unknown[0]["salt"] == unknown[1]["salt"] != unknown[2]["salt"]
    for answer in unknown:
        assert set(answer) == set(known)
        assert len(answer["salt"]) == len(known["salt"])
        assert answer["iterations"] == known["iterations"]


def test_issue_login_challenge_wants_a_name(anonymous: Browser) -> None:
    for params in ({}, {"username": ""}, {"username": "  "}):
        reply = anonymous.get(CHALLENGE, params=params)
        assert (reply.status_code, reply.json()["message"]) == (400, "Username is required")
    assert anonymous.get(CHALLENGE, params={"username": "x" * 101}).status_code == 400


def test_log_in_opens_a_session(api: Api, admin: Browser) -> None:
    browser = api.browser()
    reply = browser.log_in("root")
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert (body["success"], body["requires2FA"]) == (True, False)
    assert body["user"]["username"] == "root"
    assert set(body["user"]) == {
        "id",
        "username",
        "isAdmin",
        "isModerator",
        "uploaded",
        "downloaded",
    }
    assert browser.get("/api/me").json()["id"] == body["user"]["id"]
    assert browser.cookie != admin.cookie
    assert api.topics()[-1] == "session.opened.1"


def test_log_in_knows_a_name_in_any_case(api: Api, admin: Browser) -> None:
    body = {**api.browser().login_body("root"), "username": "ROOT"}
    assert api.browser().post(LOGIN, json=body).status_code == 200


def test_log_in_refuses_unknown_name_and_wrong_proof_alike(api: Api, admin: Browser) -> None:
    head = api.log.head()
    wrong = api.browser().log_in("root", "another password")
    unknown = api.browser().log_in("nobody")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.json()["message"] == "Invalid credentials"
    assert set(wrong.headers) == set(unknown.headers)
    assert api.log.head() == head


def test_log_in_takes_a_challenge_once(api: Api, admin: Browser) -> None:
    body = api.browser().login_body("root")
    assert api.browser().post(LOGIN, json=body).status_code == 200
    again = api.browser().post(LOGIN, json=body)
    assert (again.status_code, code_of(again)) == (401, "challenge_invalid")


def test_log_in_spends_the_challenge_on_a_wrong_proof(api: Api, admin: Browser) -> None:
    body = api.browser().login_body("root")
    assert api.browser().post(LOGIN, json={**body, "proof": "0" * 64}).status_code == 401
    again = api.browser().post(LOGIN, json=body)
    assert (again.status_code, code_of(again)) == (401, "challenge_invalid")


def test_of_many_logins_with_one_challenge_one_gets_in(api: Api, admin: Browser) -> None:
    body = api.browser().login_body("root")
    barrier = Barrier(10)

    def run(_: int) -> int:
        browser = api.browser()
        barrier.wait()
        return browser.post(LOGIN, json=body).status_code

    with ThreadPoolExecutor(10) as threads:
        assert sorted(threads.map(run, range(10))) == [200] + [401] * 9


def test_log_in_refuses_a_challenge_of_another_name(api: Api, admin: Browser) -> None:
    stranger = api.browser().get(CHALLENGE, params={"username": "nobody"}).json()
    body = api.browser().login_body("root")
    verifier = verifier_of(PASSWORD, salt_of("root"), stranger["iterations"])
    proof = proof_for(verifier, stranger["challenge"])
    swapped = {**body, "challenge": stranger["challenge"], "proof": proof}
    reply = api.browser().post(LOGIN, json=swapped)
    assert (reply.status_code, code_of(reply)) == (401, "credentials_invalid")
    invented = {**body, "challenge": "ab" * 32}
    reply = api.browser().post(LOGIN, json=invented)
    assert (reply.status_code, code_of(reply)) == (401, "challenge_invalid")


BAD_FIELDS: list[tuple[str, object]] = [
    ("username", ""),
    ("username", "x" * 101),
    ("username", 5),
    ("challenge", "ab"),
    ("challenge", "x" * 65),
    ("proof", "0" * 63),
    ("proof", None),
]


def test_log_in_refuses_a_bad_field(api: Api, admin: Browser) -> None:
    body = api.browser().login_body("root")
    for field, value in BAD_FIELDS:
        reply = api.browser().post(LOGIN, json={**body, field: value})
        assert reply.status_code == 400, field
        assert reply.json()["message"].startswith(f"{field}: ")


def test_log_in_answers_a_proof_that_is_no_ascii(api: Api, admin: Browser) -> None:
    body = {**api.browser().login_body("root"), "proof": "é" * 64}
    assert api.browser().post(LOGIN, json=body).status_code == 401


def test_log_out_ends_the_session_wherever_its_cookie_was_copied(api: Api, alice: Browser) -> None:
    copied = alice.cookie
    assert copied is not None
    thief = with_cookie(api, copied)
    assert thief.get("/api/me").status_code == 200
    reply = alice.post("/api/auth/logout")
    assert (reply.status_code, reply.json()) == (200, {"success": True})
    assert "trackarr-session=" in reply.headers["set-cookie"]
    assert "max-age=0" in reply.headers["set-cookie"].lower()
    assert alice.cookie is None
    assert thief.get("/api/me").status_code == 401
    assert with_cookie(api, copied).post("/api/auth/logout").status_code == 401
    assert api.topics()[-1] == "session.closed.1"


def test_log_out_leaves_other_sessions_open(api: Api, alice: Browser) -> None:
    other = api.browser()
    other.log_in("alice")
    alice.post("/api/auth/logout")
    assert other.get("/api/me").status_code == 200


def test_log_out_needs_a_session(anonymous: Browser) -> None:
    reply = anonymous.post("/api/auth/logout")
    assert (reply.status_code, reply.json()["message"]) == (401, "Authentication required")


def test_a_session_ends_with_its_age(api: Api, alice: Browser) -> None:
    assert alice.get("/api/me").status_code == 200
    assert alice.cookie is not None
    api.services.sessions.forget(api.services.cookie.open(alice.cookie) or b"")
    api.clock.ahead = ABSOLUTE_LIFE
    assert alice.get("/api/me").status_code == 401


def test_a_forged_cookie_is_nobody(api: Api, alice: Browser) -> None:
    genuine = alice.cookie
    assert genuine is not None
    sealed = bytearray(urlsafe_b64decode(genuine + "=" * (-len(genuine) % 4)))
    sealed[20] ^= 1
    flipped = urlsafe_b64encode(sealed).decode().rstrip("=")
    unknown = api.services.cookie.seal(b"u" * 32)
    for value in (flipped, genuine[:-4], genuine + "AAAA", unknown, "x", "", "é", "a" * 5000):
        browser = api.browser()
        raw = {"cookie": f"trackarr-session={value}".encode()}
        assert browser.get("/api/me", headers=raw).status_code == 401, value
        status = browser.get("/api/auth/status", headers=raw)
        assert (status.status_code, status.json()["user"]) == (200, None)


def test_show_auth_status_of_nobody_before_and_after_the_first_account(
    api: Api, anonymous: Browser
) -> None:
    assert anonymous.get("/api/auth/status").json() == {
        "needsSetup": True,
        "registrationOpen": True,
        "inviteEnabled": False,
        "user": None,
        "locale": None,
        "theme": None,
        "require2FAScope": "off",
    }
    api.browser().register("root")
    status = anonymous.get("/api/auth/status").json()
    assert (status["needsSetup"], status["user"]) == (False, None)


def test_show_auth_status_of_a_member(alice: Browser) -> None:
    status = alice.get("/api/auth/status").json()
    assert status["user"]["username"] == "alice"
    assert (status["user"]["isAdmin"], status["user"]["isModerator"]) == (False, False)
    assert (status["locale"], status["theme"]) == ("en", "dark")
