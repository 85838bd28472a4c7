"""Contract of security keys: registration, as second factor, as the only factor."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from httpx2 import Response

from application.site import ChangeSettings
from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.authenticator import PRESENT, VERIFIED, Authenticator
from tests.kit.browser import Browser

CHALLENGE = "/api/me/2fa/passkey/register-challenge"
REGISTER = "/api/me/2fa/passkey/register-verify"
OPTIONS, VERIFY = "/api/auth/2fa/passkey-options", "/api/auth/2fa/passkey-verify"
FIRST = "/api/auth/passkey"


def register(browser: Browser, key: Authenticator, name: str = "blue key") -> Response:
    made = key.create(browser.post(CHALLENGE).json())
    return browser.post(REGISTER, json={"name": name, "response": made})


@pytest.fixture
def key(alice: Browser) -> Authenticator:
    made = Authenticator()
    reply = register(alice, made)
    assert reply.status_code == 200, reply.text
    return made


def half(api: Api, name: str = "alice") -> Browser:
    browser = api.browser()
    assert browser.log_in(name).json()["methods"] == ["passkey"]
    return browser


def second(browser: Browser, key: Authenticator, **more: Any) -> Response:
    answer = key.get(browser.post(OPTIONS, json={}).json())
    return browser.post(VERIFY, json={"response": answer, **more})


def first(browser: Browser, key: Authenticator) -> Response:
    return browser.post(FIRST, json={"response": key.get(browser.get(FIRST).json())})


def refused(reply: Response) -> bool:
    return (reply.status_code, reply.json()["data"].get("code")) == (401, "security_key_refused")


def test_registering_and_removing_need_a_session(anonymous: Browser, api: Api) -> None:
    assert anonymous.post(CHALLENGE).status_code == 401
    assert anonymous.post(REGISTER, json={"name": "x", "response": {}}).status_code == 401
    assert anonymous.delete(f"/api/me/2fa/passkey/{uuid4()}").status_code == 401
    for path in (OPTIONS, VERIFY):
        assert anonymous.post(path, json={"response": {}}).status_code == 401


def test_register_security_key_shows_it(api: Api, alice: Browser, key: Authenticator) -> None:
    shown = alice.get("/api/me/2fa/status").json()["passkeys"]
    assert [(each["name"], each["lastUsedAt"]) for each in shown] == [("blue key", None)]
    assert "security_key.registered.1" in api.topics()


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_register_security_key_refuses_a_bad_name(alice: Browser, name: str) -> None:
    assert register(alice, Authenticator(), name).status_code == 400


@pytest.mark.parametrize(
    "answer", [{}, {"response": 5}, {"response": {"clientDataJSON": "e30"}}, {"id": "x"}]
)
def test_an_answer_that_is_none_is_refused(
    api: Api, alice: Browser, key: Authenticator, answer: dict[str, Any]
) -> None:
    assert refused(alice.post(REGISTER, json={"name": "x", "response": answer}))
    assert refused(api.browser().post(FIRST, json={"response": answer}))
    assert refused(half(api).post(VERIFY, json={"response": answer}))


@pytest.mark.parametrize(
    "wrong", [{"origin": "http://evil.test"}, {"rp_id": "evil.test"}, {"flags": 0}]
)
def test_register_security_key_refuses_a_wrong_site(alice: Browser, wrong: dict[str, Any]) -> None:
    assert refused(register(alice, Authenticator(**wrong)))


def test_register_security_key_refuses_a_known_one(
    alice: Browser, admin: Browser, key: Authenticator
) -> None:
    for browser in (alice, admin):
        reply = register(browser, key)
        assert (reply.status_code, reply.json()["data"]["code"]) == (409, "security_key_known")


def test_register_security_key_takes_ten(alice: Browser, key: Authenticator) -> None:
    for _ in range(9):
        assert register(alice, Authenticator()).status_code == 200
    reply = register(alice, Authenticator())
    assert (reply.status_code, reply.json()["data"]["code"]) == (409, "too_many_security_keys")


def test_register_security_key_is_bound_to_the_session(api: Api, alice: Browser) -> None:
    options = alice.post(CHALLENGE).json()
    other = api.browser()
    other.log_in("alice")
    answer = Authenticator().create(options)
    assert refused(other.post(REGISTER, json={"name": "x", "response": answer}))


def test_security_key_changes_want_a_fresh_sign_in(api: Api, alice: Browser) -> None:
    api.clock.ahead = timedelta(minutes=10, seconds=1)
    for reply in (alice.post(CHALLENGE), alice.delete(f"/api/me/2fa/passkey/{uuid4()}")):
        assert reply.json()["data"]["code"] == "fresh_authentication_required"


def test_a_key_passes_the_second_factor(api: Api, key: Authenticator) -> None:
    browser = half(api)
    assert second(browser, key, trust_device=True).status_code == 200
    assert browser.get("/api/me").status_code == 200
    assert browser.get("/api/me/2fa/status").json()["passkeys"][0]["lastUsedAt"]
    assert browser.log_in("alice").json()["requires2FA"] is False


def test_the_second_factor_needs_presence_alone(api: Api, key: Authenticator) -> None:
    key.flags = PRESENT
    assert second(half(api), key).status_code == 200
    key.flags = VERIFIED
    assert refused(second(half(api), key))


@pytest.mark.parametrize("way", [first, second])
@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "http://evil.test"},
        {"rp_id": "evil.test"},
        {"flags": 0},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"handle": uuid4().bytes},
        {"credential": b"unknown" * 4},
    ],
)
def test_a_wrong_proof_is_refused(
    api: Api, key: Authenticator, way: Any, wrong: dict[str, Any]
) -> None:
    browser = half(api)
    assert refused(way(browser, replace(key, **wrong)))
    assert browser.get("/api/me").status_code == 401
    assert way(browser, key).status_code == 200


def test_the_first_factor_needs_no_password(api: Api, key: Authenticator) -> None:
    browser = api.browser()
    reply = first(browser, key)
    assert (reply.status_code, reply.json()["user"]["username"]) == (200, "alice")
    assert browser.get("/api/me").status_code == 200
    session = [e.envelope.fact for e in api.log.read(0, 1000)[0]][-1]
    assert session.method == "security key"


@pytest.mark.parametrize("wrong", [{"flags": PRESENT}, {"handle": b""}])
def test_the_first_factor_needs_user_and_handle(
    api: Api, key: Authenticator, wrong: dict[str, Any]
) -> None:
    assert refused(first(api.browser(), replace(key, **wrong)))


def test_a_challenge_counts_once(api: Api, key: Authenticator) -> None:
    browser = api.browser()
    options = browser.get(FIRST).json()
    assert browser.post(FIRST, json={"response": key.get(options)}).status_code == 200
    assert refused(api.browser().post(FIRST, json={"response": key.get(options)}))


def test_a_challenge_of_another_session_is_refused(api: Api, key: Authenticator) -> None:
    one, other = half(api), half(api)
    options = one.post(OPTIONS, json={}).json()
    assert refused(other.post(VERIFY, json={"response": key.get(options)}))
    options = one.post(OPTIONS, json={}).json()
    assert refused(api.browser().post(FIRST, json={"response": key.get(options)}))


def test_another_members_key_passes_no_second_factor(api: Api, key: Authenticator) -> None:
    bob, theirs = member(api, "bob"), Authenticator()
    assert register(bob, theirs).status_code == 200
    assert refused(second(half(api), theirs))


def test_a_counter_that_does_not_rise_is_refused_and_told(
    api: Api, alice: Browser, key: Authenticator
) -> None:
    key.counter = 6
    assert second(half(api), key).status_code == 200
    key.step = 0
    assert refused(second(half(api), key))
    key.counter = 3
    assert refused(second(half(api), key))
    assert api.topics().count("security_key.suspected.1") == 2
    assert alice.get("/api/me/2fa/status").json()["passkeys"][0]["suspected"] is True
    key.counter = 8
    assert second(half(api), key).status_code == 200
    assert alice.get("/api/me/2fa/status").json()["passkeys"][0]["suspected"] is False


def test_a_key_without_a_counter_works_again_and_again(api: Api, alice: Browser) -> None:
    key = Authenticator(step=0)
    assert register(alice, key).status_code == 200
    assert [second(half(api), key).status_code for _ in range(3)] == [200] * 3


def test_remove_security_key_ends_it(
    api: Api, alice: Browser, admin: Browser, key: Authenticator
) -> None:
    listed = alice.get("/api/me/2fa/status").json()["passkeys"][0]["id"]
    path = f"/api/me/2fa/passkey/{listed}"
    assert admin.delete(path).status_code == 404
    assert alice.delete("/api/me/2fa/passkey/nothing").status_code == 400
    api.dispatch(ChangeSettings(changes={"require2FAScope": "all"}))
    api.services.sessions.forget_account(account_id(alice))
    assert alice.delete(path).json()["data"]["code"] == "last_factor"
    api.dispatch(ChangeSettings(changes={"require2FAScope": "off"}))
    assert alice.delete(path).json() == {"deleted": listed}
    assert refused(first(api.browser(), key))
    assert api.browser().log_in("alice").json()["requires2FA"] is False
    assert register(alice, key).status_code == 200


def test_show_passkey_tells_a_member_his_announce_key(alice: Browser, anonymous: Browser) -> None:
    assert len(alice.get(FIRST).json()["passkey"]) == 32
    told = anonymous.get(FIRST).json()
    assert "passkey" not in told
    assert (told["userVerification"], told["allowCredentials"]) == ("required", [])
