"""How often one caller may ask: each bucket, who shares one, and what Redis' absence means."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from interfaces.http.app import create_app
from interfaces.http.operator_token import OPERATOR_HEADER
from interfaces.http.rate_limits import (
    PAUSES,
    Asker,
    Bucket,
    LimitsUnavailable,
    RateLimited,
    RateLimiter,
    bucket_of,
)
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.browser import Browser

TOKEN = "t" * 64
ADDRESS = "203.0.113.7"


@pytest.fixture
def limiter(api: Api) -> RateLimiter:
    """A limiter whose key is its own, so that tests on one Redis do not meet."""
    return RateLimiter(api.redis, secrets.token_bytes(32), lambda: 10)


@pytest.fixture
def limited(api: Api, limiter: RateLimiter, admin: Browser) -> Api:
    """The founded site with its limits on; `root` is registered already."""
    settings = replace(
        api.services.settings, operator_token=TOKEN, trusted_proxies=("127.0.0.1/32", "::1/128")
    )
    services = replace(api.services, limiter=limiter, settings=settings)
    return replace(api, app=create_app(services), services=services)


def times(limiter: RateLimiter, bucket: Bucket, asker: Asker, most: int = 300) -> int:
    """How many requests pass before one is refused."""
    for count in range(most):
        try:
            limiter.admit(bucket, asker)
        except RateLimited:
            return count
    raise AssertionError(f"{most} requests passed")


@pytest.mark.parametrize(
    ("bucket", "staff", "passed"),
    [
        (Bucket.READ, False, 100),
        (Bucket.MUTATION, False, 10),
        (Bucket.MUTATION, True, 60),
        (Bucket.CREDENTIAL, False, 5),
        (Bucket.CHALLENGE, False, 30),
    ],
)
def test_each_bucket_has_its_size(
    limiter: RateLimiter, bucket: Bucket, staff: bool, passed: int
) -> None:
    asker = Asker(address=ADDRESS, account="a", is_staff=staff)
    assert times(limiter, bucket, asker) == passed


def test_changes_are_counted_by_member_and_all_else_by_address(limiter: RateLimiter) -> None:
    one, two = Asker(address=ADDRESS, account="1"), Asker(address=ADDRESS, account="2")
    assert times(limiter, Bucket.MUTATION, one) == 10
    assert times(limiter, Bucket.MUTATION, two) == 10
    assert times(limiter, Bucket.MUTATION, Asker(address=ADDRESS)) == 10
    assert times(limiter, Bucket.CREDENTIAL, one) == 5
    assert times(limiter, Bucket.CREDENTIAL, two) == 0
    assert times(limiter, Bucket.CREDENTIAL, Asker(address="203.0.113.8")) == 5


def test_an_ipv6_client_is_his_whole_network(limiter: RateLimiter) -> None:
    first, second = Asker(address="2001:db8:1:2::1"), Asker(address="2001:db8:1:2:ffff::9")
    assert times(limiter, Bucket.CREDENTIAL, first) == 5
    assert times(limiter, Bucket.CREDENTIAL, second) == 0
    assert times(limiter, Bucket.CREDENTIAL, Asker(address="2001:db8:1:3::1")) == 5
    mapped = Asker(address="::ffff:203.0.113.9")
    assert times(limiter, Bucket.CREDENTIAL, mapped) == 5
    assert times(limiter, Bucket.CREDENTIAL, Asker(address="203.0.113.9")) == 0


def test_a_caller_who_goes_on_is_paused_longer_each_time(api: Api, limiter: RateLimiter) -> None:
    asker = Asker(address=ADDRESS)
    seen = []
    for _ in range(2):
        waits = [_wait(limiter, asker) for _ in range(5 + 30 + 1)]
        seen.append(waits[-1])
        # Even what has room left is refused now.
        with pytest.raises(RateLimited):
            limiter.admit(Bucket.READ, asker)
        (pause,) = api.redis.keys("limit:pause:*")
        api.redis.delete(pause)
    assert seen[0] in range(PAUSES[0] - 5, PAUSES[0] + 1)
    assert seen[1] in range(PAUSES[1] - 5, PAUSES[1] + 1)
    for key in api.redis.keys("limit:*") + api.redis.keys("LIMITS*"):
        assert ADDRESS.encode() not in key
        assert api.redis.ttl(key) > 0


def _wait(limiter: RateLimiter, asker: Asker) -> int:
    try:
        limiter.admit(Bucket.CREDENTIAL, asker)
    except RateLimited as refused:
        return int(refused.data["retry_after"])
    return 0


def test_an_account_is_guarded_whatever_address_tries(limiter: RateLimiter) -> None:
    for _ in range(5):
        limiter.admit_attempt("Alice")
    with pytest.raises(RateLimited):
        limiter.admit_attempt("alice")
    limiter.admit_attempt("bob")


def test_without_redis_credentials_are_refused_and_reads_pass() -> None:
    away = Redis(host="127.0.0.1", port=1, socket_connect_timeout=1)
    limiter = RateLimiter(away, b"k" * 32, lambda: 10)
    limiter.admit(Bucket.READ, Asker(address=ADDRESS))
    limiter.admit(Bucket.MUTATION, Asker(address=ADDRESS))
    with pytest.raises(LimitsUnavailable):
        limiter.admit(Bucket.CREDENTIAL, Asker(address=ADDRESS))
    with pytest.raises(LimitsUnavailable):
        limiter.admit_attempt("alice")
    away.close()


def test_login_is_refused_after_five_attempts_with_a_time_to_wait(limited: Api) -> None:
    browser = Browser(limited.app, address="127.0.0.1")
    wrong = {"username": "nobody", "challenge": "0" * 64, "proof": "0" * 64}
    answers = [browser.post("/api/auth/login", json=wrong) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    refused = answers[-1]
    assert refused.json()["data"]["code"] == "rate_limited"
    assert refused.json()["message"] == "Rate limit exceeded"
    assert 1 <= int(refused.headers["Retry-After"]) <= 300
    assert refused.headers["Retry-After"] == str(refused.json()["data"]["retryAfter"])
    # Another address is another caller, but the account has had its attempts.
    other = Browser(limited.app, {"X-Forwarded-For": "198.51.100.4"}, address="127.0.0.1")
    assert other.post("/api/auth/login", json={**wrong, "username": "else"}).status_code == 401
    assert other.post("/api/auth/login", json=wrong).status_code == 429


def test_a_changed_password_is_an_attempt_of_the_account(
    limited: Api, limiter: RateLimiter
) -> None:
    browser = limited.browser()
    assert browser.log_in("root").status_code == 200
    for _ in range(4):
        limiter.admit_attempt("ROOT")
    wrong = {
        "challenge": "0" * 64,
        "currentProof": "0" * 64,
        "newSalt": "A" * 44,
        "newVerifier": "A" * 44,
    }
    refused = browser.put("/api/auth/password", json=wrong)
    assert (refused.status_code, refused.json()["data"]["code"]) == (429, "rate_limited")


def test_the_operator_and_health_are_not_counted(limited: Api) -> None:
    wrong = {"username": "nobody", "challenge": "0" * 64, "proof": "0" * 64}
    operator = limited.browser(**{OPERATOR_HEADER: TOKEN})
    names = [{**wrong, "username": f"n{number}"} for number in range(7)]
    answers = {operator.post("/api/auth/login", json=body).status_code for body in names}
    assert answers == {401}
    stranger = limited.browser(**{OPERATOR_HEADER: "t" * 63 + "u"})
    statuses = [stranger.post("/api/auth/login", json=body).status_code for body in names]
    assert statuses == [401] * 5 + [429] * 2
    assert {limited.browser().get("/api/health").status_code for _ in range(101)} == {200}


def test_a_member_may_make_ten_changes_a_minute(limited: Api) -> None:
    browser = limited.browser()
    assert browser.log_in("root").status_code == 200
    path = f"/api/users/{account_id(browser)}/follow"
    assert {browser.post(path).status_code for _ in range(60)} == {400}
    assert browser.post(path).status_code == 429
    assert browser.get("/api/me").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "signed_in", "bucket"),
    [
        ("GET", "/api/torrents", False, Bucket.READ),
        ("HEAD", "/api/torrents", False, Bucket.READ),
        ("DELETE", "/api/me/sessions", True, Bucket.MUTATION),
        ("POST", "/api/auth/logout", True, Bucket.MUTATION),
        ("GET", "/api/auth/status", False, Bucket.READ),
        ("POST", "/api/auth/register", False, Bucket.CREDENTIAL),
        ("POST", "/api/auth/passkey", False, Bucket.CREDENTIAL),
        ("POST", "/api/auth/passkey", True, Bucket.MUTATION),
        ("GET", "/api/auth/passkey", True, Bucket.READ),
        ("GET", "/api/auth/passkey", False, Bucket.CHALLENGE),
        ("GET", "/api/health", False, None),
    ],
)
def test_bucket_of_knows_each_kind(method: str, path: str, signed_in: bool, bucket: Any) -> None:
    assert bucket_of(method, path, signed_in=signed_in) is bucket
