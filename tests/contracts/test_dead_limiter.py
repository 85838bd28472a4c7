"""With Redis away nobody proves who he is uncounted: 503, no session, nothing recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from application.password_proofs import PasswordProofs
from application.store.challenges import RedisChallenges
from application.store.half_sessions import RedisHalfSessions
from interfaces.http.app import create_app
from interfaces.http.rate_limits import RateLimiter
from tests.contracts.test_security_keys import register
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.authenticator import Authenticator
from tests.kit.browser import PASSWORD, Browser, salt_of, verifier_of
from tests.kit.factors import AuthenticatorApp, enabled


@pytest.fixture
def away() -> Iterator[Redis]:
    client = Redis(host="127.0.0.1", port=1, socket_connect_timeout=1)
    yield client
    client.close()


def replaced(api: Api, **services: Any) -> Api:
    made = replace(api.services, **services)
    return replace(api, app=create_app(made), services=made)


@pytest.fixture
def uncounted(api: Api, away: Redis) -> Api:
    """Only the limiter's Redis is away: challenges and half sessions would still work."""
    return replaced(api, limiter=RateLimiter(away, b"k" * 32, lambda: 10))


@pytest.fixture
def bare(api: Api, away: Redis) -> Api:
    """Redis is away for everything."""
    challenges = RedisChallenges(away)
    return replaced(
        api,
        limiter=RateLimiter(away, b"k" * 32, lambda: 10),
        proofs=PasswordProofs(
            api.log, challenges, api.services.entropy, decoy_key=b"d" * 32, difficulty=1
        ),
        challenges=challenges,
        half_sessions=RedisHalfSessions(away),
    )


@pytest.fixture
def key(alice: Browser) -> Authenticator:
    made = Authenticator()
    assert register(alice, made).status_code == 200
    return made


@pytest.fixture
def app(api: Api, alice: Browser, key: Authenticator) -> AuthenticatorApp:
    return enabled(api, alice)


def refused(api: Api, browser: Browser, method: str, path: str, body: dict[str, Any]) -> None:
    """503 that says when to come again; no cookie that opens anything, and no fact."""
    before = api.log.head()
    reply = browser.request(method, path, json=body)
    assert (reply.status_code, reply.json()["data"]["code"]) == (503, "limits_unavailable")
    assert "set-cookie" not in reply.headers
    assert api.log.head() == before


def elsewhere(api: Api, browser: Browser) -> Browser:
    """The same cookies before another application."""
    other = api.browser()
    for cookie in browser.client.cookies.jar:
        other.client.cookies.set(cookie.name, str(cookie.value))
    return other


def test_a_right_password_opens_nothing_uncounted(api: Api, uncounted: Api, admin: Browser) -> None:
    body = api.browser().login_body("root")
    browser = uncounted.browser()
    refused(uncounted, browser, "POST", "/api/auth/login", body)
    assert browser.get("/api/me").status_code == 401
    # The challenge was not even looked at, so it counts once Redis is back.
    assert api.browser().post("/api/auth/login", json=body).status_code == 200


def test_nobody_registers_uncounted(api: Api, uncounted: Api, admin: Browser) -> None:
    assert admin.put("/api/admin/settings", json={"registrationOpen": True}).status_code == 200
    body = api.browser().registration("carol")
    refused(uncounted, uncounted.browser(), "POST", "/api/auth/register", body)
    assert api.browser().post("/api/auth/register", json=body).status_code == 200


def test_no_second_factor_passes_uncounted(
    api: Api, uncounted: Api, app: AuthenticatorApp, key: Authenticator
) -> None:
    half = api.browser()
    assert half.log_in("alice").json()["requires2FA"] is True
    other = elsewhere(uncounted, half)
    options = half.post("/api/auth/2fa/passkey-options", json={}).json()
    proof = {"response": key.get(options)}
    for path, body in (
        ("/api/auth/2fa/verify-totp", {"code": app.code()}),
        ("/api/auth/2fa/verify-totp", {"recoveryCode": app.recovery_codes[0]}),
        ("/api/auth/2fa/passkey-verify", proof),
    ):
        refused(uncounted, other, "POST", path, body)
    assert other.get("/api/me").status_code == 401
    # Not one of the five attempts, the code and the challenge is used up.
    assert half.post("/api/auth/2fa/passkey-verify", json=proof).status_code == 200


def test_no_key_signs_in_uncounted(
    api: Api, uncounted: Api, alice: Browser, key: Authenticator
) -> None:
    proof = {"response": key.get(api.browser().get("/api/auth/passkey").json())}
    refused(uncounted, uncounted.browser(), "POST", "/api/auth/passkey", proof)
    assert api.browser().post("/api/auth/passkey", json=proof).status_code == 200


def test_no_password_is_changed_uncounted(api: Api, uncounted: Api, alice: Browser) -> None:
    asked = alice.login_body("alice")
    salt = salt_of("another salt")
    body = {
        "challenge": asked["challenge"],
        "currentProof": asked["proof"],
        "newSalt": salt,
        "newVerifier": verifier_of("another password", salt, 600_000),
    }
    refused(uncounted, elsewhere(uncounted, alice), "PUT", "/api/auth/password", body)
    assert api.browser().log_in("alice", PASSWORD).status_code == 200


def test_without_redis_at_all_members_stay_signed_in_and_nobody_gets_in(
    bare: Api, alice: Browser
) -> None:
    other = elsewhere(bare, alice)
    assert other.get("/api/me").json()["id"] == str(account_id(alice))
    made_up = {"username": "alice", "challenge": "0" * 64, "proof": "0" * 64}
    refused(bare, bare.browser(), "POST", "/api/auth/login", made_up)
    for path in ("/api/auth/pow", "/api/auth/challenge?username=alice", "/api/auth/passkey"):
        assert bare.browser().get(path).status_code == 503, path
