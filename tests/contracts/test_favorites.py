"""Contract of `POST/DELETE /api/torrents/:hash/favorite` and `GET /api/me/favorites`."""

from __future__ import annotations

from typing import Any

import psycopg

from interfaces.http.favorites import FavoriteReply
from interfaces.http.paging import Page, write_cursor
from projections.torrent_listing import fill_counts
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded

FAVORITES = "/api/me/favorites"


def path_of(info_hash: str) -> str:
    return f"/api/torrents/{info_hash}/favorite"


def favored(browser: Browser, **params: Any) -> list[str]:
    reply = browser.get(FAVORITES, params=params)
    assert reply.status_code == 200, reply.text
    return [row["name"] for row in reply.json()["data"]]


def test_favorite_torrent_counts_once_and_unfavorite_torrent_ends_it(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    info_hash = accepted(mona, alice, "Film")
    page = f"/api/torrents/{info_hash}"
    for _ in range(2):
        reply = alice.post(path_of(info_hash.upper()))
        assert (reply.status_code, reply.json()) == (200, {"favorited": True})
    assert api.topics().count("torrent.favorited.1") == 1
    for browser, marked in ((alice, True), (mona, False), (anonymous, False)):
        assert browser.get(page).json()["viewerFavorited"] is marked
        (row,) = browser.get("/api/torrents").json()["data"]
        assert row["viewerFavorited"] is marked
    for _ in range(2):
        reply = alice.delete(path_of(info_hash))
        assert (reply.status_code, reply.json()) == (200, {"favorited": False})
    assert api.topics().count("torrent.unfavorited.1") == 1
    assert alice.get(page).json()["viewerFavorited"] is False
    assert favored(alice) == []


def test_favorites_need_a_session(mona: Browser, anonymous: Browser) -> None:
    path = path_of(uploaded(mona)["infoHash"])
    for method, each in (("POST", path), ("DELETE", path), ("GET", FAVORITES)):
        assert anonymous.request(method, each).status_code == 401


def test_favorites_tell_nothing_of_hidden_torrents(api: Api, mona: Browser, alice: Browser) -> None:
    hidden = uploaded(alice, "Waiting")["infoHash"]
    bob = member(api, "bob")
    for unknown in (hidden, "0" * 40, "0" * 64, "junk"):
        for method in ("POST", "DELETE"):
            reply = bob.request(method, path_of(unknown))
            assert reply.status_code == 404, (method, unknown)
            assert reply.json()["data"]["code"] == "torrent_not_found"
    assert alice.post(path_of(hidden)).status_code == 200
    assert favored(alice) == ["Waiting"]


def test_favorites_vanish_with_what_was_hidden_since_and_can_be_taken_back(
    api: Api, mona: Browser, alice: Browser
) -> None:
    info_hash = accepted(mona, alice, "Film")
    bob = member(api, "bob")
    bob.post(path_of(info_hash))
    reply = mona.post(f"/api/mod/torrents/{info_hash}/reject", json={"message": "No."})
    assert reply.status_code == 200, reply.text
    assert favored(bob) == []
    assert bob.get(FAVORITES).json()["pagination"]["total"] == 0
    assert bob.delete(path_of(info_hash)).json() == {"favorited": False}
    assert bob.delete(path_of(info_hash)).status_code == 404


def test_favorites_of_withdrawn_torrents_are_gone(mona: Browser, alice: Browser) -> None:
    info_hash = accepted(mona, alice, "Film")
    alice.post(path_of(info_hash))
    assert alice.delete(f"/api/torrents/{info_hash}").status_code == 200
    assert favored(alice) == []
    assert alice.post(path_of(info_hash)).status_code == 404


def test_list_favorites_sorts_all_of_them_and_walks_by_page_and_cursor(
    api: Api, mona: Browser
) -> None:
    for number, name in enumerate(["Delta", "Alpha", "Charlie", "Bravo", "Echo"]):
        info_hash = uploaded(mona, name)["infoHash"]
        mona.post(path_of(info_hash))
        with psycopg.connect(api.app_url, autocommit=True) as conn:
            conn.execute(
                "INSERT INTO accounting_1.torrent_live"
                " SELECT number, %s, 0 FROM torrents_4.torrents WHERE name = %s",
                [number % 3, name],
            )
            fill_counts(conn)
    orders = {
        "recent": ["Echo", "Bravo", "Charlie", "Alpha", "Delta"],
        "name": ["Alpha", "Bravo", "Charlie", "Delta", "Echo"],
        "seeders": ["Charlie", "Echo", "Alpha", "Bravo", "Delta"],
    }
    for sort, expected in orders.items():
        assert favored(mona, sort=sort) == expected
        assert [
            name for page in (1, 2, 3) for name in favored(mona, sort=sort, limit=2, page=page)
        ] == expected
        walked: list[str] = []
        after: dict[str, Any] = {}
        while True:
            reply = mona.get(FAVORITES, params={"sort": sort, "limit": 2, **after})
            assert Page[FavoriteReply].model_validate_json(reply.content).pagination.total == 5
            walked += [row["name"] for row in reply.json()["data"]]
            if reply.json()["nextCursor"] is None:
                break
            after = {"after": reply.json()["nextCursor"]}
        assert walked == expected
    past = mona.get(FAVORITES, params={"page": 4, "limit": 2}).json()
    assert (past["data"], past["pagination"]["total"]) == ([], 5)
    row = mona.get(FAVORITES).json()["data"][0]
    assert row["favoritedAt"].endswith("Z")
    assert row["viewerFavorited"] is True


def test_list_favorites_refuses_what_it_cannot_answer(alice: Browser) -> None:
    for params in (
        {"sort": "size"},
        {"limit": 101},
        {"limit": 0},
        {"page": 0},
        {"page": 50_000, "limit": 100},
        {"after": "junk"},
        {"after": write_cursor("name", "x", 1)},
    ):
        assert alice.get(FAVORITES, params=params).status_code == 400, params
