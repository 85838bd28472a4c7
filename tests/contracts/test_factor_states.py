"""Whatever a member does with factors, devices and sessions: a model says what signs in where."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.contracts.test_passwords import PATH as PASSWORD_PATH
from tests.kit.accounts import account_id, administrator, member
from tests.kit.api import Api, running_api
from tests.kit.authenticator import Authenticator
from tests.kit.browser import PASSWORD, salt_of, verifier_of
from tests.kit.factors import AuthenticatorApp, enabled
from tests.kit.servers import Database, TestServers
from tests.kit.verified import require_verified

ME_2FA = "/api/me/2fa"


class Factors(RuleBasedStateMachine):
    """One member, a browser that stays signed in, and another that comes and goes."""

    api: Api
    number = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).number += 1
        self.name = f"alice{type(self).number}"
        self.api.clock.ahead += timedelta(minutes=5)
        self.home = member(self.api, self.name)
        self.account = account_id(self.home)
        self.other = self.api.browser()
        self.password = PASSWORD
        self.app: AuthenticatorApp | None = None
        self.key: Authenticator | None = None
        self.key_id = ""
        self.trusted = False
        self.inside = False

    def _next_step(self) -> None:
        """Later, so that codes are new, and attempts of before no longer count."""
        self.api.clock.ahead += timedelta(seconds=60)
        self.api.redis.flushdb()

    @rule()
    def change_password(self) -> None:
        new = "another password" if self.password == PASSWORD else PASSWORD
        asked = self.home.login_body(self.name, self.password)
        salt = salt_of("a new salt")
        body = {
            "challenge": asked["challenge"],
            "currentProof": asked["proof"],
            "newSalt": salt,
            "newVerifier": verifier_of(new, salt, 600_000),
        }
        assert self.home.put(PASSWORD_PATH, json=body).status_code == 200
        self.password, self.trusted, self.inside = new, False, False

    @precondition(lambda self: self.app is None)
    @rule()
    def enable(self) -> None:
        self._refresh()
        self.app = enabled(self.api, self.home)
        self.trusted = False

    @precondition(lambda self: self.app is not None)
    @rule()
    def disable(self) -> None:
        self._refresh()
        assert self.app is not None
        body = {"code": self.app.code()}
        assert self.home.post(f"{ME_2FA}/totp/disable", json=body).status_code == 200
        self.app, self.trusted = None, False

    @precondition(lambda self: self.key is None)
    @rule()
    def register_key(self) -> None:
        self._refresh()
        key = Authenticator()
        made = key.create(self.home.post(f"{ME_2FA}/passkey/register-challenge").json())
        body = {"name": "key", "response": made}
        reply = self.home.post(f"{ME_2FA}/passkey/register-verify", json=body)
        assert reply.status_code == 200, reply.text
        self.key, self.key_id, self.trusted = key, reply.json()["id"], False

    @precondition(lambda self: self.key is not None)
    @rule()
    def remove_key(self) -> None:
        self._refresh()
        assert self.home.delete(f"{ME_2FA}/passkey/{self.key_id}").status_code == 200
        self.key, self.trusted = None, False

    @precondition(lambda self: self.key is not None)
    @rule()
    def sign_in_by_key(self) -> None:
        assert self.key is not None
        options = self.other.get("/api/auth/passkey").json()
        reply = self.other.post("/api/auth/passkey", json={"response": self.key.get(options)})
        assert reply.status_code == 200, reply.text
        self.inside = True

    @precondition(lambda self: self.app is not None)
    @rule()
    def sign_in_by_code_and_trust(self) -> None:
        self._next_step()
        assert self.app is not None
        if self.other.log_in(self.name, self.password).json()["requires2FA"]:
            body = {"code": self.app.code(), "trust_device": True}
            reply = self.other.post("/api/auth/2fa/verify-totp", json=body)
            assert reply.status_code == 200, reply.text
        self.trusted = self.inside = True

    @rule()
    def distrust(self) -> None:
        for device in self.home.get(f"{ME_2FA}/sessions").json()["devices"]:
            path = f"{ME_2FA}/sessions/{device['id']}"
            assert self.home.delete(path).status_code == 200
        self.trusted = False

    @rule()
    def end_other_sessions(self) -> None:
        assert self.home.delete("/api/me/sessions").status_code == 200
        self.inside = False

    @rule()
    def sign_in_by_password(self) -> None:
        """It opens a session where no factor is due, and half a one where one is."""
        methods = (["totp", "recovery"] if self.app else []) + (["passkey"] if self.key else [])
        reply = self.other.log_in(self.name, self.password).json()
        due = bool(methods) and not self.trusted
        assert reply["requires2FA"] is due
        assert reply.get("methods", []) == (methods if due else [])
        self.inside = self.inside or not due

    @invariant()
    def cookies_open_what_the_model_says(self) -> None:
        assert self.home.get("/api/me").status_code == 200
        assert self.other.get("/api/me").status_code == (200 if self.inside else 401)
        devices = self.home.get(f"{ME_2FA}/sessions").json()["devices"]
        assert bool(devices) == self.trusted

    def _refresh(self) -> None:
        """Factors are changed only soon after a proof: changing the password is one."""
        self._next_step()
        if not self.home.get(f"{ME_2FA}/status").json()["freshAuth"]:
            self.change_password()


@pytest.fixture
def machine(
    servers: TestServers, with_read_models: Database, redis_url: str
) -> Iterator[type[Factors]]:
    with (
        servers.database(like=with_read_models) as fresh,
        running_api(fresh.app_url, redis_url) as api,
    ):
        administrator(api)
        yield type("OnApi", (Factors,), {"api": api})
        require_verified(api)


def test_sessions_and_factors_do_as_the_model_says(machine: type[Factors]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            # The first failure as it is: shrinking one on a real log outlasts the timeout.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
