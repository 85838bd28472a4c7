"""Contract of authenticator codes, recovery codes, half sessions and the demand for a factor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from application.factors import DEVICE_USED_KIND, load_factors
from application.site import ChangeSettings
from interfaces.http.models import instant_text
from tests.contracts.test_passwords import PATH as PASSWORD_PATH
from tests.contracts.test_passwords import change
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.browser import PASSWORD, Browser
from tests.kit.factors import AuthenticatorApp, enabled, set_up

VERIFY = "/api/auth/2fa/verify-totp"
ME_2FA = "/api/me/2fa"


def half(api: Api, name: str = "alice") -> Browser:
    """A browser that proved the password and not more."""
    browser = api.browser()
    reply = browser.log_in(name)
    assert (reply.status_code, reply.json()["requires2FA"]) == (200, True), reply.text
    return browser


def wrong_code(app: AuthenticatorApp) -> str:
    right = {app.code(step) for step in (-1, 0, 1)}
    return next(code for code in ("000000", "111111", "222222", "333333") if code not in right)


@pytest.fixture
def app(api: Api, alice: Browser) -> AuthenticatorApp:
    return enabled(api, alice)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/status"),
        ("POST", "/totp/setup"),
        ("POST", "/totp/enable"),
        ("POST", "/totp/disable"),
        ("POST", "/recovery-codes/regenerate"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions/01890a5d-ac96-774b-bcce-b302099a8057"),
        ("PUT", "/trust-devices"),
    ],
)
def test_enrolment_needs_a_whole_session(
    api: Api, app: AuthenticatorApp, method: str, path: str
) -> None:
    body = {"code": "123456", "enabled": True}
    for caller in (api.browser(), half(api)):
        reply = caller.request(method, ME_2FA + path, json=body)
        assert (reply.status_code, reply.json()["data"]["code"]) == (401, "unauthenticated")


def test_set_up_totp_gives_secret_and_codes_that_do_not_count_yet(api: Api, alice: Browser) -> None:
    body = alice.post(f"{ME_2FA}/totp/setup").json()
    assert body["uri"].startswith("otpauth://totp/Trackarr:alice?secret=" + body["secret"])
    assert len(set(body["recoveryCodes"])) == 10
    status = alice.get(f"{ME_2FA}/status").json()
    assert (status["totpEnabled"], status["recoveryCodesRemaining"]) == (False, 0)
    assert api.browser().log_in("alice").json()["requires2FA"] is False


def test_enable_totp_makes_sign_in_ask_for_a_code(api: Api, app: AuthenticatorApp) -> None:
    browser = half(api)
    assert browser.get("/api/me").status_code == 401
    assert browser.get("/api/auth/status").json()["user"] is None
    reply = browser.post(VERIFY, json={"code": app.code()})
    assert reply.status_code == 200, reply.text
    assert reply.json()["user"]["username"] == "alice"
    assert browser.get("/api/me").status_code == 200
    assert browser.client.cookies.get("trackarr-2fa") is None
    assert "totp.enabled.1" in api.topics()


def test_enable_totp_refuses_what_does_not_fit(api: Api, alice: Browser) -> None:
    path = f"{ME_2FA}/totp/enable"
    assert alice.post(path, json={"code": "12345"}).status_code == 400
    assert alice.post(path, json={"code": "123456"}).json()["data"]["code"] == "totp_not_prepared"
    app = set_up(api, alice)
    reply = alice.post(path, json={"code": wrong_code(app)})
    assert (reply.status_code, reply.json()["data"]["code"]) == (401, "totp_code_invalid")
    assert alice.post(path, json={"code": app.code()}).status_code == 200
    assert alice.post(path, json={"code": app.code(1)}).status_code == 409
    assert alice.post(f"{ME_2FA}/totp/setup").status_code == 409


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (0, 200), (1, 200), (2, 401)])
def test_verify_totp_allows_one_step(
    api: Api, app: AuthenticatorApp, steps: int, status: int
) -> None:
    assert half(api).post(VERIFY, json={"code": app.code(steps)}).status_code == status


def test_verify_totp_takes_a_code_once_and_none_before_it(api: Api, app: AuthenticatorApp) -> None:
    code, before = app.code(1), app.code()
    signed_in = half(api)
    assert signed_in.post(VERIFY, json={"code": code}).status_code == 200
    for used in (code, before):
        reply = half(api).post(VERIFY, json={"code": used})
        assert (reply.status_code, reply.json()["data"]["code"]) == (401, "totp_code_invalid")
    reply = signed_in.post(f"{ME_2FA}/totp/disable", json={"code": code})
    assert (reply.status_code, reply.json()["data"]["code"]) == (401, "totp_code_invalid")


def test_verify_totp_takes_the_challenge_token_too(api: Api, app: AuthenticatorApp) -> None:
    answer = api.browser().log_in("alice").json()
    assert answer["methods"] == ["totp", "recovery"]
    body = {"challengeToken": answer["challengeToken"], "code": app.code()}
    other = api.browser()
    assert other.post(VERIFY, json=body).status_code == 200
    assert other.get("/api/me").status_code == 200
    again = api.browser().post(VERIFY, json={**body, "code": app.code(1)})
    assert (again.status_code, again.json()["data"]["code"]) == (401, "half_session_invalid")


def test_verify_totp_needs_a_half_session(api: Api, alice: Browser) -> None:
    for caller in (api.browser(), alice):
        assert caller.post(VERIFY, json={"code": "123456"}).status_code == 401
        body = {"challengeToken": "A" * 43, "code": "123456"}
        assert caller.post(VERIFY, json=body).status_code == 401


@pytest.mark.parametrize(
    "body",
    [{}, {"code": "12345"}, {"code": "123456", "recoveryCode": "ABCD-EFGHJK"}, {"code": 123456}],
)
def test_verify_totp_refuses_a_bad_body(api: Api, app: AuthenticatorApp, body: object) -> None:
    assert half(api).post(VERIFY, json=body).status_code == 400


def test_verify_totp_gives_five_attempts(api: Api, app: AuthenticatorApp) -> None:
    browser = half(api)
    for _ in range(5):
        reply = browser.post(VERIFY, json={"code": wrong_code(app)})
        assert reply.json()["data"]["code"] == "totp_code_invalid"
    reply = browser.post(VERIFY, json={"code": app.code()})
    assert (reply.status_code, reply.json()["data"]["code"]) == (401, "half_session_invalid")


def test_verify_totp_counts_attempts_of_the_account(api: Api, app: AuthenticatorApp) -> None:
    # Enabling was one attempt already.
    for _ in range(3):
        browser = half(api)
        for _ in range(3):
            browser.post(VERIFY, json={"code": wrong_code(app)})
    reply = half(api).post(VERIFY, json={"code": app.code()})
    assert (reply.status_code, reply.json()["data"]["code"]) == (429, "too_many_codes")
    assert int(reply.headers["retry-after"]) >= 1


def test_of_many_with_one_code_exactly_one_gets_in(api: Api, app: AuthenticatorApp) -> None:
    code = app.code()
    browsers = [half(api) for _ in range(6)]
    barrier = Barrier(len(browsers))

    def run(browser: Browser) -> int:
        barrier.wait()
        return browser.post(VERIFY, json={"code": code}).status_code

    with ThreadPoolExecutor(len(browsers)) as threads:
        assert sorted(threads.map(run, browsers)) == [200] + [401] * 5
    assert api.topics().count("totp.code_accepted.1") == 1


def test_a_half_session_ends_by_logout_and_by_password_change(
    api: Api, alice: Browser, app: AuthenticatorApp
) -> None:
    gone, late = half(api), half(api)
    cookie = gone.client.cookies.get("trackarr-2fa")
    assert gone.post("/api/auth/logout").status_code == 200
    gone.client.cookies.set("trackarr-2fa", cookie or "")
    assert gone.post(VERIFY, json={"code": app.code()}).status_code == 401
    assert alice.put(PASSWORD_PATH, json=change(alice)).status_code == 200
    assert late.post(VERIFY, json={"code": app.code()}).status_code == 401


def test_a_recovery_code_works_once(api: Api, app: AuthenticatorApp, alice: Browser) -> None:
    body = {"recoveryCode": app.recovery_codes[0].lower().replace("-", "")}
    assert half(api).post(VERIFY, json=body).status_code == 200
    reply = half(api).post(VERIFY, json=body)
    assert (reply.status_code, reply.json()["data"]["code"]) == (401, "recovery_code_invalid")
    assert alice.get(f"{ME_2FA}/status").json()["recoveryCodesRemaining"] == 9
    assert half(api).post(VERIFY, json={"recoveryCode": app.recovery_codes[1]}).status_code == 200


def test_regenerate_recovery_codes_replaces_them(
    api: Api, app: AuthenticatorApp, alice: Browser
) -> None:
    path = f"{ME_2FA}/recovery-codes/regenerate"
    assert alice.post(path, json={"code": wrong_code(app)}).status_code == 401
    fresh = alice.post(path, json={"code": app.code()}).json()["recoveryCodes"]
    assert len(set(fresh) - set(app.recovery_codes)) == 10
    old = {"recoveryCode": app.recovery_codes[0]}
    assert half(api).post(VERIFY, json=old).status_code == 401
    assert half(api).post(VERIFY, json={"recoveryCode": fresh[0]}).status_code == 200


def test_disable_totp_lets_the_password_do_again(
    api: Api, app: AuthenticatorApp, alice: Browser
) -> None:
    path = f"{ME_2FA}/totp/disable"
    assert alice.post(path, json={"code": app.code()}).json() == {"enabled": False}
    assert api.browser().log_in("alice").json()["requires2FA"] is False
    assert api.log.vault_list("totp", account_id(alice)) == {}
    assert alice.post(path, json={"code": app.code(1)}).status_code == 409


def test_disable_totp_by_recovery_code_leaves_no_secret(
    api: Api, app: AuthenticatorApp, alice: Browser
) -> None:
    body = {"recoveryCode": app.recovery_codes[0]}
    assert alice.post(f"{ME_2FA}/totp/disable", json=body).status_code == 200
    assert api.log.vault_list("totp", account_id(alice)) == {}


def test_changes_want_a_fresh_sign_in(api: Api, app: AuthenticatorApp, alice: Browser) -> None:
    api.clock.ahead = timedelta(minutes=10, seconds=1)
    assert alice.get(f"{ME_2FA}/status").json()["freshAuth"] is False
    for path in ("totp/disable", "recovery-codes/regenerate"):
        reply = alice.post(f"{ME_2FA}/{path}", json={"code": app.code()})
        assert reply.status_code == 401
        assert reply.json()["data"]["code"] == "fresh_authentication_required"


@pytest.mark.parametrize(("scope", "shut_out"), [("off", False), ("staff", False), ("all", True)])
def test_the_site_may_demand_a_second_factor(
    api: Api, alice: Browser, admin: Browser, scope: str, shut_out: bool
) -> None:
    for browser in (alice, admin):
        api.services.sessions.forget_account(account_id(browser))
    api.dispatch(ChangeSettings(changes={"require2FAScope": scope}))
    reply = alice.get("/api/me")
    assert reply.status_code == (403 if shut_out else 200)
    assert admin.get("/api/me").status_code == (200 if scope == "off" else 403)
    status = alice.get("/api/auth/status").json()
    assert (status["require2FAScope"], status["user"]["requires2FASetup"]) == (scope, shut_out)
    app = enabled(api, alice)
    assert alice.get("/api/me").status_code == 200
    last = alice.post(f"{ME_2FA}/totp/disable", json={"code": app.code()})
    assert last.status_code == (409 if shut_out else 200)


def test_a_demand_acts_on_the_next_request(alice: Browser, admin: Browser) -> None:
    assert alice.get("/api/me").status_code == 200
    changed = admin.put("/api/admin/settings", json={"require2FAScope": "all"})
    assert changed.status_code == 200
    assert alice.get("/api/me").status_code == 403


def test_no_secret_is_in_events(api: Api, app: AuthenticatorApp, alice: Browser) -> None:
    half(api).post(VERIFY, json={"recoveryCode": app.recovery_codes[0]})
    told = repr([each.envelope.fact for each in api.log.read(0, 1000)[0]])
    assert app.secret not in told
    assert not any(code in told for code in app.recovery_codes)
    assert load_factors(api.log, account_id(alice)).recovery_codes == 9


# Trusted devices


def trusting(api: Api, app: AuthenticatorApp, steps: int = 0) -> Browser:
    browser = half(api)
    browser.client.headers["user-agent"] = "Test browser"
    body = {"code": app.code(steps), "trust_device": True}
    assert browser.post(VERIFY, json=body).status_code == 200
    return browser


def skips(browser: Browser, password: str = PASSWORD) -> bool:
    """Whether this browser signs in without a second factor."""
    reply = browser.log_in("alice", password)
    assert reply.status_code == 200, reply.text
    return reply.json()["requires2FA"] is False


def test_a_trusted_device_needs_no_code_for_30_days(api: Api, app: AuthenticatorApp) -> None:
    browser = trusting(api, app)
    assert skips(browser)
    assert not skips(api.browser())
    listed = browser.get(f"{ME_2FA}/sessions").json()["devices"]
    assert [each["label"] for each in listed] == ["Test browser"]
    api.clock.ahead = timedelta(days=30, seconds=1)
    assert not skips(browser)


def test_a_trusted_device_tells_when_it_last_stood_in(api: Api, app: AuthenticatorApp) -> None:
    browser = trusting(api, app)
    path = f"{ME_2FA}/sessions"
    assert browser.get(path).json()["devices"][0]["lastUsedAt"] is None
    api.clock.ahead = timedelta(hours=5)
    begun = instant_text(api.clock())
    assert skips(browser)
    listed = browser.get(path).json()["devices"][0]
    assert listed["lastUsedAt"] >= begun
    assert browser.delete(f"{path}/{listed['id']}").status_code == 200
    account = account_id(browser)
    assert api.log.vault_list(DEVICE_USED_KIND, account) == {}


def test_a_device_is_trusted_for_its_own_member_only(
    api: Api, app: AuthenticatorApp, admin: Browser
) -> None:
    enabled(api, admin)
    browser = trusting(api, app)
    assert browser.log_in("root").json()["requires2FA"] is True


def test_revoke_trusted_device_ends_it(api: Api, app: AuthenticatorApp, admin: Browser) -> None:
    browser = trusting(api, app)
    device = browser.get(f"{ME_2FA}/sessions").json()["devices"][0]["id"]
    assert admin.delete(f"{ME_2FA}/sessions/{device}").status_code == 404
    assert browser.delete(f"{ME_2FA}/sessions/no-id").status_code == 400
    reply = browser.delete(f"{ME_2FA}/sessions/{device}")
    assert (reply.status_code, reply.json()) == (200, {"revoked": device})
    assert browser.delete(f"{ME_2FA}/sessions/{device}").status_code == 404
    assert not skips(browser)


def test_switch_device_trust_decides_and_off_ends_all(
    api: Api, app: AuthenticatorApp, alice: Browser
) -> None:
    path = f"{ME_2FA}/trust-devices"
    assert alice.put(path, json={"enabled": "yes"}).status_code == 400
    assert alice.put(path, json={"enabled": True}).json() == {"enabled": True}
    assert alice.get(f"{ME_2FA}/status").json()["trustDevicesEnabled"] is True
    browser = half(api)
    assert browser.post(VERIFY, json={"code": app.code()}).status_code == 200
    assert skips(browser)
    assert alice.put(path, json={"enabled": False}).status_code == 200
    assert not skips(browser)


def test_password_change_ends_trusted_devices(
    api: Api, app: AuthenticatorApp, alice: Browser
) -> None:
    browser = trusting(api, app)
    assert alice.put(PASSWORD_PATH, json=change(alice)).status_code == 200
    assert not skips(browser, "another long password")


def test_a_change_of_factors_ends_trusted_devices(api: Api, app: AuthenticatorApp) -> None:
    browser = trusting(api, app)
    code = {"code": app.code(1)}
    assert browser.post(f"{ME_2FA}/totp/disable", json=code).status_code == 200
    enabled(api, browser)
    assert not skips(browser)
