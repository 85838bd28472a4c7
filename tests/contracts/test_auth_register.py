"""Contract of the proof of work and registration."""

from __future__ import annotations

from tests.kit.api import Api
from tests.kit.browser import Browser


def test_register_account_makes_the_first_one_administrator_and_closes(
    api: Api, anonymous: Browser
) -> None:
    assert anonymous.get("/api/auth/status").json()["needsSetup"] is True
    reply = anonymous.register("Root_1")
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["success"] is True
    assert body["isFirstUser"] is True
    assert body["user"]["isAdmin"] is True
    status = anonymous.get("/api/auth/status").json()
    assert status["needsSetup"] is False
    assert status["registrationOpen"] is False
    assert status["user"]["username"] == "Root_1"
    me = anonymous.get("/api/me").json()
    print(me)
    refused = api.browser().register("second")
    assert refused.status_code == 403
    assert refused.json()["data"]["code"] == "registration_closed"
