"""Contract of `POST/DELETE /api/users/:id/follow` and `GET /api/me/following`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded

FOLLOWING = "/api/me/following"


@pytest.fixture
def bert(api: Api, admin: Browser) -> Browser:
    return member(api, "bert")


def path_of(browser: Browser) -> str:
    return f"/api/users/{account_id(browser)}/follow"


def followed(browser: Browser, **params: Any) -> list[str]:
    return [each["username"] for each in browser.get(FOLLOWING, params=params).json()["data"]]


def test_follow_member_counts_once_and_unfollow_member_ends_it(
    api: Api, alice: Browser, bert: Browser, anonymous: Browser
) -> None:
    path, page = path_of(bert), f"/api/users/{account_id(bert)}"
    for _ in range(2):
        reply = alice.post(path)
        assert (reply.status_code, reply.json()) == (200, {"following": True})
    assert api.topics().count("member.followed.1") == 1
    seen = alice.get(page).json()
    assert (seen["followersCount"], seen["viewerFollowing"]) == (1, True)
    seen = anonymous.get(page).json()
    assert (seen["followersCount"], seen["viewerFollowing"]) == (1, False)
    for _ in range(2):
        reply = alice.delete(path)
        assert (reply.status_code, reply.json()) == (200, {"following": False})
    assert alice.get(page).json()["followersCount"] == 0
    assert followed(alice) == []


def test_follow_member_refuses_oneself_and_nobody(alice: Browser) -> None:
    own = alice.post(path_of(alice))
    assert (own.status_code, own.json()["data"]["code"]) == (400, "own_follow")
    missing = alice.post(f"/api/users/{uuid4()}/follow")
    assert (missing.status_code, missing.json()["data"]["code"]) == (404, "account_not_found")
    assert alice.delete(f"/api/users/{uuid4()}/follow").json() == {"following": False}
    for method in ("POST", "DELETE"):
        assert alice.request(method, "/api/users/seven/follow").status_code == 400


def test_follows_need_a_session(anonymous: Browser, bert: Browser) -> None:
    path = path_of(bert)
    for method, each in (("POST", path), ("DELETE", path), ("GET", FOLLOWING)):
        assert anonymous.request(method, each).status_code == 401


def test_list_following_sorts_and_pages(
    alice: Browser, bert: Browser, mona: Browser, admin: Browser
) -> None:
    for each in (mona, admin, bert):
        alice.post(path_of(each))
    assert followed(alice) == ["bert", "root", "mona"]
    assert followed(alice, sort="alpha") == ["bert", "mona", "root"]
    assert followed(alice, sort="alpha", limit=2, page=2) == ["root"]
    assert alice.get(FOLLOWING).json()["pagination"]["total"] == 3
    assert followed(bert) == []
    for params in ({"sort": "size"}, {"limit": 101}, {"page": 0}):
        assert alice.get(FOLLOWING, params=params).status_code == 400


def test_list_following_shows_no_hidden_last_seen_and_no_hidden_upload(
    alice: Browser, bert: Browser, mona: Browser
) -> None:
    bert.patch("/api/me", json={"bio": "Hello", "showLastSeen": False})
    uploaded(bert, "Not yet")
    for follower in (alice, mona):
        follower.post(path_of(bert))
    (row,) = alice.get(FOLLOWING).json()["data"]
    assert set(row) == {
        "id", "username", "displayName", "bio", "memberSince", "lastSeen", "ratio",
        "uploadsCount", "lastUploadAt", "followedAt",
    }  # fmt: skip
    assert (row["bio"], row["lastSeen"], row["lastUploadAt"]) == ("Hello", None, None)
    assert mona.get(FOLLOWING).json()["data"][0]["lastSeen"] is not None
    accepted(mona, bert)
    assert alice.get(FOLLOWING).json()["data"][0]["lastUploadAt"] is not None
    bert.patch("/api/me", json={"showLastSeen": True})
    assert alice.get(FOLLOWING).json()["data"][0]["lastSeen"] is not None
