"""Contract of `GET` and `PUT /api/admin/settings`."""

from __future__ import annotations

from domain.site_settings import DEFAULTS
from tests.kit.accounts import grant
from tests.kit.api import Api
from tests.kit.browser import Browser

PATH = "/api/admin/settings"


def test_show_settings_gives_every_setting(admin: Browser) -> None:
    reply = admin.get(PATH)
    assert reply.status_code == 200
    assert reply.json() == {**DEFAULTS, "registrationOpen": False}


def test_change_settings_changes_a_subset(api: Api, admin: Browser) -> None:
    reply = admin.put(PATH, json={"siteTitle": "Häfen", "registrationOpen": True})
    wanted = {**DEFAULTS, "siteTitle": "Häfen", "registrationOpen": True}
    assert (reply.status_code, reply.json()) == (200, {"success": True, **wanted})
    assert reply.headers["x-log-position"] == str(api.log.head())
    assert "x-stale" not in reply.headers
    assert admin.get(PATH).json() == wanted
    assert api.browser().get("/api/auth/status").json()["registrationOpen"] is True
    assert api.browser().register("alice").status_code == 200


def test_change_settings_records_who_did_it(api: Api, admin: Browser) -> None:
    reply = admin.put(PATH, json={"siteTitle": "Harbour"})
    newest = api.log.read(0, 1000)[0][-1].envelope
    assert newest.fact.changes == {"siteTitle": "Harbour"}
    assert str(newest.meta.actor) == admin.get("/api/me").json()["id"]
    assert str(newest.meta.correlation) == reply.headers["x-correlation-id"]


def test_change_settings_without_a_change_records_nothing(api: Api, admin: Browser) -> None:
    head = api.log.head()
    for body in ({}, {"siteTitle": "Trackarr"}):
        reply = admin.put(PATH, json=body)
        assert (reply.status_code, reply.json()["success"]) == (200, True)
    assert api.log.head() == head


def test_change_settings_refuses_all_of_a_bad_request(api: Api, admin: Browser) -> None:
    head = api.log.head()
    for body, code, said in (
        ({"siteTitle": "x", "nonsense": 1}, "setting_unknown", "nonsense: "),
        ({"siteTitle": "x", "__proto__": {}}, "setting_unknown", "__proto__: "),
        ({"siteTitle": "x", "registrationOpen": "yes"}, "setting_invalid", "registrationOpen: "),
        ({"siteTitle": "x", "defaultInvites": 1e3}, "setting_invalid", "defaultInvites: "),
        ({"siteTitle": "x", "starterUpload": -1}, "setting_invalid", "starterUpload: "),
        ({"siteTitle": "x", "starterUpload": 10**30}, "setting_invalid", "starterUpload: "),
        ({"siteTitle": None}, "setting_invalid", "siteTitle: "),
        ([], "invalid", "body: "),
        ("siteTitle", "invalid", "body: "),
        (None, "invalid", "body: "),
    ):
        reply = admin.put(PATH, json=body)
        assert (reply.status_code, reply.json()["data"]["code"]) == (400, code), body
        assert reply.json()["message"].startswith(said), body
    assert api.log.head() == head
    assert admin.get(PATH).json()["siteTitle"] == DEFAULTS["siteTitle"]


def test_settings_are_for_administrators(anonymous: Browser, alice: Browser, mona: Browser) -> None:
    for caller, status, message in (
        (anonymous, 401, "Authentication required"),
        (alice, 403, "Admin access required"),
        (mona, 403, "Admin access required"),
    ):
        for reply in (caller.get(PATH), caller.put(PATH, json={"siteTitle": "x"})):
            assert (reply.status_code, reply.json()["message"]) == (status, message)


def test_a_repeated_change_gives_the_first_answer_again(api: Api, admin: Browser) -> None:
    key = {"idempotency-key": "change-1"}
    first = admin.put(PATH, json={"siteTitle": "One"}, headers=key)
    admin.put(PATH, json={"siteTitle": "Two"})
    head = api.log.head()
    again = admin.put(PATH, json={"siteTitle": "One"}, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-log-position"] == first.headers["x-log-position"]
    assert "idempotency-replayed" not in first.headers
    assert api.log.head() == head
    assert admin.get(PATH).json()["siteTitle"] == "Two"


def test_a_key_with_another_body_or_a_bad_key_is_refused(admin: Browser) -> None:
    key = {"idempotency-key": "change-1"}
    admin.put(PATH, json={"siteTitle": "One"}, headers=key)
    other = admin.put(PATH, json={"siteTitle": "Two"}, headers=key)
    assert (other.status_code, other.json()["data"]["code"]) == (409, "idempotency_key_reused")
    for bad in ("", "x" * 129, "a b"):
        reply = admin.put(PATH, json={"siteTitle": "Two"}, headers={"idempotency-key": bad})
        assert (reply.status_code, reply.json()["data"]["code"]) == (400, "bad_idempotency_key")
    assert admin.get(PATH).json()["siteTitle"] == "One"


def test_a_key_belongs_to_its_caller(api: Api, admin: Browser, mona: Browser) -> None:
    grant(api, mona, "administrator")
    mona.client.cookies.clear()
    mona.log_in("mona")
    key = {"idempotency-key": "change-1"}
    admin.put(PATH, json={"siteTitle": "One"}, headers=key)
    reply = mona.put(PATH, json={"siteTitle": "Two"}, headers=key)
    assert (reply.status_code, reply.json()["siteTitle"]) == (200, "Two")


def test_change_settings_takes_client_lists_and_explains_bad_ones(admin: Browser) -> None:
    for text in ("-TR, -qB -lt A2-1-36-0-", ""):
        reply = admin.put(PATH, json={"allowedClients": text})
        assert (reply.status_code, reply.json()["allowedClients"]) == (200, text)
    reply = admin.put(PATH, json={"deniedClients": "-XL, -"})
    assert (reply.status_code, reply.json()["data"]["code"]) == (400, "setting_invalid")
    assert reply.json()["message"].startswith("deniedClients: must list peer id prefixes of 2 to")
