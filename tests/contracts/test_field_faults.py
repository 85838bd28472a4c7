"""Faults other sign-ins and limiters had in the field, as trials against ours."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from interfaces.http.app import create_app
from interfaces.http.rate_limits import RateLimiter
from tests.contracts.test_security_keys import first, half, register, second
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.authenticator import Authenticator
from tests.kit.browser import Browser
from tests.kit.factors import enabled

VERIFY, DISABLE = "/api/auth/2fa/verify-totp", "/api/me/2fa/totp/disable"


def signed_in_by(api: Api, code: str) -> int:
    browser = api.browser()
    assert browser.log_in("alice").json()["requires2FA"] is True
    return browser.post(VERIFY, json={"code": code}).status_code


def test_a_code_that_signed_in_does_nothing_else(api: Api, alice: Browser) -> None:
    """pyotp issue 61: one code works again and again, here or elsewhere."""
    app = enabled(api, alice)
    code = app.code()
    assert signed_in_by(api, code) == 200
    assert signed_in_by(api, code) == 401
    head = api.log.head()
    for path in (DISABLE, "/api/me/2fa/recovery-codes/regenerate"):
        again = alice.post(path, json={"code": code})
        assert (again.status_code, again.json()["data"]["code"]) == (401, "totp_code_invalid"), path
    assert api.log.head() == head
    assert alice.post(DISABLE, json={"code": app.code(1)}).status_code == 200


def test_a_code_that_failed_elsewhere_is_not_used_up(api: Api, alice: Browser) -> None:
    """The other way round: who is refused for another reason keeps his code."""
    app = enabled(api, alice)
    code = app.code()
    stranger = api.browser()
    assert stranger.post(VERIFY, json={"code": code}).status_code == 401
    assert signed_in_by(api, code) == 200


@pytest.mark.parametrize("way", [first, second])
def test_counters_of_keys_are_believed_when_they_rise(
    api: Api, alice: Browser, way: object
) -> None:
    """py_webauthn issue 55, web_authn_lite PR 10: always 0; and 7, 7, 3, then 8."""
    none, key = Authenticator(step=0), Authenticator(counter=7, step=0)
    assert register(alice, none).status_code == 200
    assert register(alice, key).status_code == 200

    def shows(which: Authenticator, counter: int) -> int:
        which.counter = counter
        if way is first:
            return first(api.browser(), which).status_code
        return second(half(api), which).status_code

    assert [shows(none, 0) for _ in range(3)] == [200] * 3
    assert [shows(key, counter) for counter in (7, 7, 3, 8)] == [200, 401, 401, 200]
    assert api.topics().count("security_key.suspected.1") == 2


def test_codes_follow_a_clock_that_jumps(api: Api, alice: Browser) -> None:
    """valkey issue 2651, etcd issue 6700: an hour ahead, then two hours back.

    Ahead codes work at once. Back none that was passed is believed again, as it could be one
    that was seen; recovery codes and keys go by no clock.
    """
    app = enabled(api, alice)
    api.clock.ahead = timedelta(hours=1)
    assert signed_in_by(api, app.code()) == 200
    api.clock.ahead = timedelta(hours=-1)
    assert signed_in_by(api, app.code()) == 401
    browser = api.browser()
    assert browser.log_in("alice").json()["requires2FA"] is True
    body = {"recoveryCode": app.recovery_codes[0]}
    assert browser.post(VERIFY, json=body).status_code == 200
    api.clock.ahead = timedelta(hours=1, minutes=1)
    assert signed_in_by(api, app.code()) == 200


def test_after_the_time_to_wait_the_same_request_works(
    api: Api, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cross-seed issues 327 and 492: a limit told as another fault, or without a time."""
    limiter = RateLimiter(api.redis, secrets.token_bytes(32), lambda: 10)
    limited = replace(api, app=create_app(replace(api.services, limiter=limiter)))
    browser = limited.browser()
    browser.client.cookies = alice.client.cookies
    path = f"/api/users/{account_id(alice)}/follow"
    assert [browser.post(path).status_code for _ in range(11)] == [400] * 10 + [429]
    refused = browser.post(path)
    wait = refused.headers["Retry-After"]
    assert wait.isdecimal()
    assert 1 <= int(wait) <= 60
    body = refused.json()
    assert body["statusCode"] == 429
    assert (body["data"]["code"], body["data"]["retryAfter"]) == ("rate_limited", int(wait))
    true_time = time.time
    # So many seconds later by the clock the windows go by; the key in Redis is not touched.
    monkeypatch.setattr(time, "time", lambda: true_time() + int(wait))
    assert browser.post(path).status_code == 400
