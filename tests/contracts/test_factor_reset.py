"""What the operator's reset of a member's second factors does at the door."""

from __future__ import annotations

from uuid import uuid4

import pytest

from application.factor_reset import ResetFactors
from application.factors import DEVICE_KIND, load_factors
from application.password_resets import ResetPassword
from application.security_keys import KEY_KIND
from application.totp import TOTP_KIND
from domain.factors import DeviceDistrusted
from domain.users import AccountNotFound
from tests.contracts.test_security_keys import FIRST, register
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.authenticator import Authenticator
from tests.kit.browser import Browser
from tests.kit.factors import enabled


def reset(api: Api, browser: Browser) -> bool:
    done: bool = api.dispatch(ResetFactors(account=account_id(browser), reason="lost his phone"))
    return done


def test_a_reset_takes_every_factor_and_ends_every_session(api: Api, alice: Browser) -> None:
    app, key = enabled(api, alice), Authenticator()
    assert register(alice, key).status_code == 200
    other = api.browser()
    assert other.log_in("alice").json()["requires2FA"] is True
    trusting = {"code": app.code(), "trust_device": True}
    assert other.post("/api/auth/2fa/verify-totp", json=trusting).status_code == 200
    account = account_id(alice)
    assert reset(api, alice)
    # Where no process is told, what it remembers is believed for a second.
    api.services.sessions.forget_all()
    assert [each.get("/api/me").status_code for each in (alice, other)] == [401, 401]
    for kind in (TOTP_KIND, KEY_KIND, DEVICE_KIND):
        assert api.log.vault_list(kind, account) == {}
    state = load_factors(api.log, account)
    assert (state.any, state.devices, state.recovery_codes) == (False, {}, 0)
    assert api.browser().log_in("alice").json()["requires2FA"] is False
    again = api.browser()
    answer = key.get(again.get(FIRST).json())
    assert again.post(FIRST, json={"response": answer}).status_code == 401


def test_a_reset_tells_auditors_why_and_that_no_member_did_it(api: Api, alice: Browser) -> None:
    enabled(api, alice)
    before = len(api.topics())
    reset(api, alice)
    recorded = api.log.read(before, 100)[0]
    told = [each.envelope for each in recorded if "session" not in each.envelope.fact.TOPIC]
    assert [each.fact.TOPIC for each in told] == ["factors.reset.1", "totp.disabled.1"]
    assert getattr(told[0].fact, "reason") == "lost his phone"  # noqa: B009 (of that fact alone)
    assert {each.meta.actor for each in told} == {None}


def test_who_has_no_factor_keeps_his_sessions(api: Api, alice: Browser) -> None:
    before = api.topics()
    assert not reset(api, alice)
    assert api.topics() == before
    api.services.sessions.forget_all()
    assert alice.get("/api/me").status_code == 200


def test_a_member_may_set_up_factors_again_after_a_reset(api: Api, alice: Browser) -> None:
    key = Authenticator()
    assert register(alice, key).status_code == 200
    reset(api, alice)
    home = api.browser()
    home.log_in("alice")
    assert register(home, key).status_code == 200
    enabled(api, home)


def test_nobody_is_no_member(api: Api, admin: Browser) -> None:
    with pytest.raises(AccountNotFound):
        api.dispatch(ResetFactors(account=uuid4(), reason="x"))


def test_a_new_password_by_the_operator_ends_trust_and_is_no_members_doing(
    api: Api, alice: Browser
) -> None:
    app, other = enabled(api, alice), api.browser()
    assert other.log_in("alice").json()["requires2FA"] is True
    trusting = {"code": app.code(), "trust_device": True}
    assert other.post("/api/auth/2fa/verify-totp", json=trusting).status_code == 200
    account, before = account_id(alice), len(api.topics())
    assert len(load_factors(api.log, account).devices) == 1
    api.dispatch(ResetPassword(account=account, salt="00" * 16, verifier="00" * 32))
    told = [each.envelope for each in api.log.read(before, 100)[0]]
    (ended,) = [each for each in told if each.fact.TOPIC == DeviceDistrusted.TOPIC]
    assert ended.meta.actor is None
    assert getattr(ended.fact, "reason") == "password reset"  # noqa: B009 (of that fact alone)
    assert {each.meta.actor for each in told} == {None}
    assert load_factors(api.log, account).devices == {}
    assert api.log.vault_list(DEVICE_KIND, account) == {}
