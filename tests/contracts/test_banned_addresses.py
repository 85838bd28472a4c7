"""Contract of `/api/admin/banned-ips`, and what a ban does to its address."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from interfaces.http.models import instant_text
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.domain import A_TIME

PATH = "/api/admin/banned-ips"
BEHIND = "127.0.0.1"


def ban(browser: Browser, ip: str, **more: Any) -> Any:
    return browser.post(PATH, json={"ip": ip, "reason": "spam", **more})


def listed(browser: Browser, **params: Any) -> list[str]:
    return [item["ip"] for item in browser.get(PATH, params=params).json()["items"]]


def test_banned_addresses_are_for_staff(
    anonymous: Browser, alice: Browser, mona: Browser, admin: Browser
) -> None:
    for method, path in (("GET", PATH), ("POST", PATH), ("DELETE", f"{PATH}/203.0.113.9")):
        body = {"ip": "203.0.113.9", "reason": "spam"} if method == "POST" else None
        assert anonymous.request(method, path, json=body).status_code == 401
        assert alice.request(method, path, json=body).status_code == 403
        assert mona.request(method, path, json=body).status_code == 200
        assert admin.request(method, path, json=body).status_code == 200


def test_ban_address_lists_it_and_unban_address_removes_it(api: Api, mona: Browser) -> None:
    reply = ban(mona, "2001:DB8::/32")
    assert reply.status_code == 200
    made = reply.json()
    assert made.pop("success") is True
    assert (made["ip"], made["reason"], made["automatic"]) == ("2001:db8::/32", "spam", False)
    assert made["expiresAt"] is None
    page = mona.get(PATH).json()
    assert page["items"] == [made]
    assert (page["total"], page["page"], page["pageSize"]) == (1, 1, 25)
    assert page["stats"] == {"total": 1, "today": 1, "week": 1, "manual": 1, "automatic": 0}
    for path in (f"{PATH}/2001:db8::/32", f"{PATH}/2001%3Adb8%3A%3A%2F32"):
        ban(mona, "2001:db8::/32")
        assert mona.delete(path).json() == {"success": True, "removed": True}
        assert mona.delete(path).json() == {"success": True, "removed": False}
    assert listed(mona) == []
    assert api.topics().count("address.banned.1") == 2


def test_ban_address_again_changes_reason_and_end_and_keeps_its_beginning(
    api: Api, mona: Browser
) -> None:
    first = ban(mona, "203.0.113.9").json()
    api.clock.ahead = timedelta(hours=1)
    ends = instant_text(api.clock() + timedelta(days=2))
    again = ban(mona, "203.0.113.9", reason="more spam", expires_at=ends).json()
    assert (again["createdAt"], again["expiresAt"]) == (first["createdAt"], ends)
    assert mona.get(PATH).json()["items"][0]["reason"] == "more spam"
    assert ban(mona, "203.0.113.9", reason="more spam", expiresAt=ends).status_code == 200
    assert api.topics().count("address.banned.1") == 2
    api.clock.ahead = timedelta(days=3)
    assert listed(mona) == []
    assert mona.get(PATH).json()["stats"]["total"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid"),
        ({"ip": "203.0.113.9"}, "invalid"),
        ({"ip": "203.0.113.9", "reason": ""}, "invalid"),
        ({"ip": "203.0.113.9", "reason": "x" * 501}, "invalid"),
        ({"ip": "somewhere", "reason": "x"}, "address_invalid"),
        ({"ip": "203.0.113.9/24", "reason": "x"}, "address_invalid"),
        ({"ip": "0.0.0.0/0", "reason": "x"}, "address_invalid"),
        ({"ip": "203.0.113.9", "reason": "x", "expiresAt": instant_text(A_TIME)}, "ban_end_passed"),
        ({"ip": "203.0.113.9", "reason": "x", "expiresAt": "tomorrow"}, "invalid"),
    ],
)
def test_ban_address_explains_bad_input(mona: Browser, body: dict[str, Any], code: str) -> None:
    reply = mona.post(PATH, json=body)
    assert (reply.status_code, reply.json()["data"]["code"]) == (400, code)
    assert listed(mona) == []


def test_unban_address_explains_bad_input(mona: Browser) -> None:
    reply = mona.delete(f"{PATH}/somewhere")
    assert (reply.status_code, reply.json()["data"]["code"]) == (400, "address_invalid")


def test_list_banned_addresses_searches_sorts_and_pages(mona: Browser) -> None:
    for number, ip in enumerate(("203.0.113.0/24", "10.1.2.3", "2001:db8::7")):
        ban(mona, ip, reason=f"reason {number}")
    assert listed(mona) == ["2001:db8::7", "10.1.2.3", "203.0.113.0/24"]
    assert listed(mona, dir="asc", pageSize=1, page=2) == ["10.1.2.3"]
    assert listed(mona, sort="ip", dir="asc") == ["10.1.2.3", "203.0.113.0/24", "2001:db8::7"]
    assert listed(mona, search="REASON 2") == ["2001:db8::7"]
    assert listed(mona, search="203.0.113.77") == ["203.0.113.0/24"]
    assert listed(mona, search="%") == []
    assert mona.get(PATH, params={"search": "10.1"}).json()["total"] == 1
    for params in ({"sort": "reason"}, {"dir": "up"}, {"page": 0}, {"pageSize": 101}):
        assert mona.get(PATH, params=params).status_code == 400


@pytest.fixture
def proxied(api: Api) -> Api:
    """The application behind a trusted proxy, looking for new bans at each request."""
    return api.configured(trusted_proxies=(f"{BEHIND}/32",), bans_reread_seconds=0.0)


def call(api: Api, forwarded: str, path: str = "/api/stats/public", peer: str = BEHIND) -> int:
    browser = api.browser()
    browser.client._transport.client = (peer, 50000)  # type: ignore[attr-defined]
    return browser.get(path, headers={"X-Forwarded-For": forwarded}).status_code


def test_a_banned_address_is_refused_everywhere_until_it_is_unbanned(
    proxied: Api, mona: Browser
) -> None:
    assert call(proxied, "203.0.113.9") == 200
    ban(mona, "203.0.113.0/24")
    assert call(proxied, "203.0.113.9") == 403
    assert call(proxied, "::ffff:203.0.113.9") == 403
    assert call(proxied, "203.0.113.9", "/api/me") == 403
    assert call(proxied, "203.0.113.9", "/api/health") == 200
    assert call(proxied, "203.0.114.9") == 200
    mona.delete(f"{PATH}/203.0.113.0/24")
    assert call(proxied, "203.0.113.9") == 200


def test_a_ban_with_an_end_ends(proxied: Api, mona: Browser) -> None:
    ban(mona, "203.0.113.9", expiresAt=instant_text(proxied.clock() + timedelta(hours=1)))
    assert call(proxied, "203.0.113.9") == 403
    proxied.clock.ahead = timedelta(hours=2)
    assert call(proxied, "203.0.113.9") == 200


def test_addresses_are_believed_from_trusted_proxies_only(proxied: Api, mona: Browser) -> None:
    ban(mona, "203.0.113.9")
    # What a client writes stands left of what the proxy adds.
    assert call(proxied, "203.0.113.9, 198.51.100.1") == 200
    assert call(proxied, "198.51.100.1, 203.0.113.9") == 403
    assert call(proxied, "198.51.100.1", peer="203.0.113.9") == 403
    assert call(proxied, "203.0.113.9", peer="198.51.100.1") == 200


def test_ban_address_refuses_ones_own(proxied: Api, mona: Browser) -> None:
    browser = proxied.browser()
    browser.client._transport.client = (BEHIND, 50000)  # type: ignore[attr-defined]
    browser.client.cookies = mona.client.cookies
    for ip in ("198.51.100.7", "198.51.100.0/24"):
        reply = browser.post(
            PATH, json={"ip": ip, "reason": "x"}, headers={"X-Forwarded-For": "198.51.100.7"}
        )
        assert (reply.status_code, reply.json()["data"]["code"]) == (400, "own_address_ban")
        assert "your own address" in reply.json()["message"]
