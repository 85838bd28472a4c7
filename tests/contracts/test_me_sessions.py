"""Contract of `GET/DELETE /api/me/sessions` and `DELETE /api/me/sessions/:id`."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from domain.sessions import ABSOLUTE_LIFE
from tests.kit.api import Api
from tests.kit.browser import Browser

PATH = "/api/me/sessions"


@pytest.fixture
def other(api: Api, alice: Browser) -> Browser:
    """A second browser of alice."""
    browser = api.browser()
    assert browser.log_in("alice").status_code == 200
    return browser


def ids(browser: Browser, *, current: bool) -> list[str]:
    shown = browser.get(PATH).json()["sessions"]
    return [each["id"] for each in shown if each["current"] is current]


def test_list_sessions_shows_ones_own_newest_first(
    alice: Browser, other: Browser, admin: Browser
) -> None:
    shown = alice.get(PATH).json()["sessions"]
    assert [each["current"] for each in shown] == [False, True]
    assert set(shown[0]) == {"id", "openedAt", "lastSeen", "current"}
    assert ids(other, current=True) == ids(alice, current=False)
    assert len(admin.get(PATH).json()["sessions"]) == 1


def test_list_sessions_leaves_out_what_has_ended_by_its_age(
    api: Api, alice: Browser, other: Browser
) -> None:
    api.clock.ahead = ABSOLUTE_LIFE + timedelta(minutes=1)
    assert alice.log_in("alice").status_code == 200
    assert [each["current"] for each in alice.get(PATH).json()["sessions"]] == [True]


def test_revoke_session_ends_it_at_once(api: Api, alice: Browser, other: Browser) -> None:
    assert other.get("/api/me").status_code == 200
    (session,) = ids(alice, current=False)
    reply = alice.delete(f"{PATH}/{session}")
    assert (reply.status_code, reply.json()) == (200, {"revoked": session})
    assert other.get("/api/me").status_code == 401
    assert alice.get("/api/me").status_code == 200
    assert api.topics()[-1] == "session.closed.1"
    again = alice.delete(f"{PATH}/{session}")
    assert (again.status_code, again.json()["data"]["code"]) == (404, "session_not_found")


def test_revoke_session_may_end_the_one_that_asks(alice: Browser, other: Browser) -> None:
    (session,) = ids(alice, current=True)
    assert alice.delete(f"{PATH}/{session}").status_code == 200
    assert alice.cookie is None
    assert other.get("/api/me").status_code == 200


def test_revoke_session_knows_no_session_of_another(alice: Browser, admin: Browser) -> None:
    (session,) = ids(alice, current=True)
    theirs = admin.delete(f"{PATH}/{session}")
    nobodys = admin.delete(f"{PATH}/{uuid4()}")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json()["data"] == nobodys.json()["data"]
    assert alice.get("/api/me").status_code == 200
    assert admin.delete(f"{PATH}/seven").status_code == 400


def test_revoke_other_sessions_spares_the_one_that_asks(
    api: Api, alice: Browser, other: Browser, admin: Browser
) -> None:
    third = api.browser()
    third.log_in("alice")
    assert other.get("/api/me").status_code == 200
    assert alice.delete(PATH).json() == {"revoked": 2}
    assert [each.get("/api/me").status_code for each in (alice, other, third)] == [200, 401, 401]
    assert admin.get("/api/me").status_code == 200
    assert alice.delete(PATH).json() == {"revoked": 0}


@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("DELETE", ""), ("DELETE", "/x")])
def test_sessions_need_a_session(anonymous: Browser, method: str, tail: str) -> None:
    path = f"{PATH}/{uuid4()}" if tail else PATH
    assert anonymous.request(method, path).status_code == 401


def test_list_sessions_tells_no_token(alice: Browser) -> None:
    text = alice.get(PATH).text.lower()
    assert "token" not in text
    assert "hash" not in text
