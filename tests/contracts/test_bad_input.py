"""Bad and missing things asked of routes whose own tests are about something else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import uploaded

NO_NUMBER = "not-an-id"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/auth/passkey", {"response": "no assertion"}),
        ("POST", "/api/auth/2fa/passkey-options", {"challengeToken": "short"}),
        ("POST", "/api/auth/2fa/passkey-verify", {"response": 7}),
    ],
)
def test_sign_in_routes_explain_bad_input(
    anonymous: Browser, method: str, path: str, body: dict[str, Any]
) -> None:
    explained(anonymous, method, path, body)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/me/2fa/totp/disable", {"code": "12"}),
        ("POST", "/api/me/2fa/recovery-codes/regenerate", {"code": "12"}),
        ("GET", "/api/invites?page=0", None),
        ("GET", "/api/invites?limit=0", None),
    ],
)
def test_routes_of_members_explain_bad_input(
    alice: Browser, method: str, path: str, body: dict[str, Any] | None
) -> None:
    explained(alice, method, path, body)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"/api/admin/roles/{'x' * 500}", {"name": "Curators"}),
        ("PUT", f"/api/admin/roles/{UUID(int=7)}", {"name": 7}),
        ("DELETE", f"/api/admin/roles/{'x' * 500}", None),
        ("DELETE", f"/api/admin/invites/{NO_NUMBER}", None),
        ("DELETE", f"/api/admin/categories/{NO_NUMBER}", None),
        ("PUT", f"/api/admin/categories/{NO_NUMBER}", {"name": "Films"}),
        ("DELETE", f"/api/forum/categories/{NO_NUMBER}", None),
        ("DELETE", f"/api/forum/topics/{NO_NUMBER}", None),
        ("DELETE", f"/api/forum/posts/{NO_NUMBER}", None),
        ("PUT", f"/api/forum/topics/{NO_NUMBER}/pin", {"pinned": True}),
    ],
)
def test_routes_of_administrators_explain_bad_input(
    admin: Browser, method: str, path: str, body: dict[str, Any] | None
) -> None:
    explained(admin, method, path, body)


def test_approve_torrent_explains_bad_input(alice: Browser, mona: Browser, api: Api) -> None:
    info_hash = uploaded(alice)["infoHash"]
    facts = len(api.topics())
    for body in ({"message": 7}, {"message": "x" * 100_000}, {"message": "a\x00b"}):
        explained(mona, "POST", f"/api/mod/torrents/{info_hash}/approve", body)
    assert len(api.topics()) == facts


def explained(browser: Browser, method: str, path: str, body: dict[str, Any] | None) -> None:
    reply = browser.request(method, path, json=body)
    assert reply.status_code == 400, reply.text
    assert reply.json()["data"]["code"] == "invalid"
    assert reply.json()["message"]


def test_a_category_that_is_not_there_cannot_be_removed(admin: Browser) -> None:
    assert admin.delete(f"/api/admin/categories/{UUID(int=7)}").status_code == 404
