"""Contract of `GET /api/torrents`: what its filters, words and orders find."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from interfaces.http.paging import Page
from interfaces.http.torrent_json import FavoriteJson, TorrentDetailJson, TorrentJson
from interfaces.http.torrent_replies import TorrentReply
from interfaces.http.torrents import TorrentDetailReply
from projections import torrent_lists
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.corpus import sample
from tests.kit.torrents import accepted, upload, uploaded


def found(browser: Browser, **params: Any) -> list[str]:
    reply = browser.get("/api/torrents", params=params)
    assert reply.status_code == 200, reply.text
    return [row["name"] for row in reply.json()["data"]]


def total(browser: Browser, **params: Any) -> tuple[int, bool]:
    told = browser.get("/api/torrents", params=params).json()["pagination"]
    return told["total"], told["totalExact"]


def category(admin: Browser, name: str, **more: Any) -> str:
    reply = admin.post("/api/admin/categories", json={"name": name, **more})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def test_list_torrents_finds_words_in_every_writing(mona: Browser, anonymous: Browser) -> None:
    titles = {
        "film": "Amélie.2001.1080p.BluRay",
        "love": "Последний Город ЛЮБОВЬ",
        "tale": "東京物語 1953",
        "tv": "TV Special 8",
        "mtv": "MTV Unplugged",
        "quote": 'The "Big" Night 100%_real',
    }
    for word, name in titles.items():
        uploaded(mona, word, name=name)
    for asked, names in (
        ("AMÉLIE", ["film"]),
        ("amelie.2001.bluray", ["film"]),
        ("mel", ["film"]),
        ("любовь город", ["love"]),
        ("юбо", ["love"]),
        ("東京", ["tale"]),
        ("物", ["tale"]),
        ("東物", []),
        ("東京物語", ["tale"]),
        ("tv", ["tv"]),
        ("8", ["tv"]),
        ("mtv", ["mtv"]),
        ("tv special", ["tv"]),
        ('"big night"', ["quote"]),
        ('"night big"', []),
        ('"', []),
        ("night big", ["quote"]),
        ("100%", ["quote"]),
        ("%%%", []),
        ("__", []),
        ("\\", []),
        ("' OR 1=1 --", []),
    ):
        assert found(anonymous, q=asked) == [titles[name] for name in names], asked
        assert total(anonymous, q=asked) == (len(names), True), asked
    many = " ".join(["night"] * 8 + ["nowhere"])
    assert found(anonymous, q=many) == []
    assert found(anonymous, q="night big the 100 real a1 b2 c3 d4") == []


def test_list_torrents_finds_a_hash_only_for_those_who_may_see_it(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    hidden = uploaded(alice, "Waiting")["infoHash"]
    both = upload(mona, sample("hybrid-single")).json()["data"]
    for known in (both["infoHash"], both["infoHashV2"], both["infoHashV2"][:40].upper()):
        assert len(found(anonymous, q=known)) == 1, known
    assert found(anonymous, q=both["infoHashV2"][:63] + "x") == []
    assert found(anonymous, q="0" * 64) == []
    assert found(anonymous, q=hidden) == found(member(api, "bob"), q=hidden) == []
    assert found(alice, q=hidden) == found(mona, q=hidden) == ["Waiting"]


def test_list_torrents_filters_by_every_tag_named(
    mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    for name, tags in (("A", ["One"]), ("B", ["One", "Two Words"]), ("C", ["Two Words"])):
        uploaded(mona, name, tags=tags)
    uploaded(alice, "Waiting", tags=["One"])
    for asked, names in (
        ("one", ["B", "A"]),
        ("One", ["B", "A"]),
        ("two-words", ["C", "B"]),
        ("one,two-words", ["B"]),
        (" two-words , one ", ["B"]),
        ("one,unknown", []),
        ("unknown", []),
        ("★", []),
    ):
        for word in ("tags", "tag"):
            for sort in ("recent", "seeders", "size"):
                assert sorted(found(anonymous, **{word: asked}, sort=sort)) == sorted(names), asked
        assert found(anonymous, tags=asked) == names
        assert total(anonymous, tags=asked) == (len(names), True), asked
    assert found(alice, tags="one") == found(mona, tags="one") == ["Waiting", "B", "A"]
    assert total(alice, tags="one") == total(mona, tags="one") == (3, True)
    assert found(anonymous, tags="one", order="asc") == ["A", "B"]
    assert found(anonymous, tags="one", q="B") == ["B"]


def test_list_torrents_filters_by_media_id(mona: Browser, anonymous: Browser) -> None:
    uploaded(mona, "Film", imdbId="tt0133093", tmdbId="movie/603")
    uploaded(mona, "Series", tmdbId="tv/603", tvdbId="81189")
    uploaded(mona, "Bare", tmdbId="603")
    assert found(anonymous, imdbid="tt0133093") == ["Film"]
    assert found(anonymous, imdbid="https://www.imdb.com/title/TT0133093/") == ["Film"]
    assert found(anonymous, tmdbid="603") == ["Bare", "Series", "Film"]
    assert found(anonymous, tmdbid="tv/603") == ["Bare", "Series"]
    assert found(anonymous, tvdbid="81189", q="series") == ["Series"]
    assert total(anonymous, tvdbid="81189") == (1, True)
    assert found(anonymous, tvdbid="1") == []
    assert anonymous.get("/api/torrents?imdbid=nonsense").status_code == 400


def test_adult_categories_are_shown_to_members_who_asked_for_them(
    admin: Browser, alice: Browser, anonymous: Browser
) -> None:
    adult = category(admin, "After dark", isAdult=True)
    child = category(admin, "Later still", parentId=adult)
    hashes = [
        uploaded(admin, name, categoryId=chosen, tags=["night"])["infoHash"]
        for name, chosen in (("Adult", adult), ("Child", child))
    ]
    uploaded(admin, "Plain", tags=["night"])
    for params in ({}, {"q": "a"}, {"tags": "night"}, {"sort": "seeders"}, {"sort": "name"}):
        seen = [name for name in ("Plain",) if not params.get("q")]
        for browser in (anonymous, alice):
            assert found(browser, **params) == seen, params
            assert total(browser, **params) == (len(seen), True), params
    assert found(alice, category=adult) == []
    assert total(alice, category=adult) == (0, True)
    for info_hash in hashes:
        told = anonymous.get(f"/api/torrents/{info_hash}").json()
        assert told["gatedAdult"] is True
        assert set(told) == {"gatedAdult", "infoHash", "category"}
        assert set(told["category"]) == {"id", "name", "slug"}
    alice.post(f"/api/torrents/{hashes[0]}/favorite")
    assert alice.get("/api/me/favorites").json()["data"] == []
    assert alice.patch("/api/me", json={"showAdultContent": True}).status_code == 200
    assert found(alice) == ["Plain", "Child", "Adult"]
    assert found(alice, category=adult) == ["Child", "Adult"]
    assert total(alice) == (3, True)
    assert len(alice.get("/api/me/favorites").json()["data"]) == 1
    assert alice.get(f"/api/torrents/{hashes[0]}").json()["name"] == "Adult"


def test_list_torrents_sorts_by_comments_and_shows_them_on_the_page(
    mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    hashes = {name: uploaded(mona, name)["infoHash"] for name in ("A", "B", "C")}
    for name, amount in (("B", 2), ("C", 1)):
        for number in range(amount):
            path = f"/api/torrents/{hashes[name]}/comments"
            assert alice.post(path, json={"content": f"Word {number}"}).status_code == 201
    assert found(anonymous, sort="comments") == ["B", "C", "A"]
    page = anonymous.get(f"/api/torrents/{hashes['B']}").json()
    assert [comment["content"] for comment in page["comments"]] == ["Word 1", "Word 0"]
    assert page["commentCount"] == 2
    for comment in page["comments"]:
        assert alice.delete(f"/api/torrents/comments/{comment['id']}").status_code == 200
    assert found(anonymous, sort="comments") == ["C", "B", "A"]
    assert anonymous.get(f"/api/torrents/{hashes['B']}").json()["comments"] == []


def test_the_catalogue_is_what_it_declares(mona: Browser, alice: Browser) -> None:
    info_hash = accepted(mona, alice, "Film")
    mona.post(f"/api/torrents/{info_hash}/comments", json={"content": "Good."})
    page = alice.get("/api/torrents")
    Page[TorrentReply].model_validate_json(page.content, strict=True)
    detail = alice.get(f"/api/torrents/{info_hash}")
    TorrentDetailReply.model_validate_json(detail.content, strict=True)
    for declared, encoded, body in (
        (TorrentReply, TorrentJson, page.json()["data"][0]),
        (TorrentDetailReply, TorrentDetailJson, detail.json()),
    ):
        assert set(declared.model_fields) == set(encoded.__struct_fields__)
        names = {field.alias for field in declared.model_fields.values()}
        assert set(body) == names
    assert issubclass(FavoriteJson, TorrentJson)


@pytest.mark.parametrize("most_sorted", [3, 4, 5])
def test_list_torrents_counts_free_filters_up_to_a_bound(
    mona: Browser, anonymous: Browser, monkeypatch: pytest.MonkeyPatch, most_sorted: int
) -> None:
    for number in range(5):
        uploaded(mona, f"Film {number}", tags=["many", "more"])
    monkeypatch.setattr(torrent_lists, "COUNTED", 3)
    monkeypatch.setattr(torrent_lists, "SORTED", most_sorted)
    every = [f"Film {number}" for number in (4, 3, 2, 1, 0)]
    for params in ({"q": "film"}, {"tags": "many,more"}, {"tags": "many", "sort": "name"}):
        assert total(anonymous, **params) == (3, False), params
        assert sorted(found(anonymous, **params)) == sorted(every), params
    assert total(anonymous, q="film 3") == (1, True)
    for params in ({"q": "film"}, {"q": "film", "sort": "seeders"}, {"tags": "many,more"}):
        walked: list[str] = []
        after: dict[str, Any] = {}
        while True:
            reply = anonymous.get("/api/torrents", params={**params, "limit": 2, **after}).json()
            walked += [row["name"] for row in reply["data"]]
            if reply["nextCursor"] is None:
                break
            after = {"after": reply["nextCursor"]}
        assert walked == every, params
        paged = [
            name for page in (1, 2, 3) for name in found(anonymous, **params, limit=2, page=page)
        ]
        assert paged == every, params
    assert total(anonymous) == (5, True)


def test_list_torrents_gives_up_a_search_that_takes_too_long(
    api: Api, mona: Browser, anonymous: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded(mona, "Film")
    monkeypatch.setattr(torrent_lists, "LONGEST_SEARCH", "200ms")
    with psycopg.connect(api.app_url) as conn:
        conn.execute("LOCK TABLE torrents_4.search_names IN ACCESS EXCLUSIVE MODE")
        reply = anonymous.get("/api/torrents", params={"q": "film"})
        assert reply.status_code == 503, reply.text
        assert reply.json()["data"]["code"] == "search_too_slow"
        assert "retry-after" in reply.headers
    assert found(anonymous, q="film") == ["Film"]
    assert found(anonymous) == ["Film"]


@pytest.mark.parametrize("most_sorted", [0, 5])
def test_a_search_finds_what_lists_show_at_any_time(
    admin: Browser,
    mona: Browser,
    alice: Browser,
    anonymous: Browser,
    monkeypatch: pytest.MonkeyPatch,
    most_sorted: int,
) -> None:
    monkeypatch.setattr(torrent_lists, "SORTED", most_sorted)
    films, books = category(admin, "Films"), category(admin, "Books")
    place = f"/api/torrents/{uploaded(alice, 'Walden', categoryId=films)['infoHash']}"

    def searched(browser: Browser, **params: Any) -> set[tuple[str, ...]]:
        """In the order of each table a search may walk."""
        sorts = ("recent", "seeders", "name")
        return {tuple(found(browser, q="wald", sort=sort, **params)) for sort in sorts}

    decide = place.replace("/torrents/", "/mod/torrents/")
    assert searched(anonymous) == {()}
    assert searched(alice) == searched(mona) == {("Walden",)}
    assert mona.post(f"{decide}/approve").status_code == 200
    assert searched(anonymous, category=films) == {("Walden",)}
    edited = mona.patch(place, json={"categoryId": books})
    assert edited.status_code == 200, edited.text
    assert searched(anonymous, category=films) == {()}
    assert searched(anonymous, category=books) == {("Walden",)}
    # An uploader's edit goes back to the queue.
    assert alice.patch(place, json={"name": "Woodland"}).status_code == 200
    assert searched(anonymous) == searched(alice) == {()}
    assert found(alice, q="woodl") == ["Woodland"]
    assert found(anonymous, q="woodl") == []
    assert mona.post(f"{decide}/approve").status_code == 200
    assert found(anonymous, q="woodl") == ["Woodland"]


def test_withdrawn_torrents_are_found_nowhere(mona: Browser, anonymous: Browser) -> None:
    info_hash = uploaded(mona, "Film", tags=["night"], imdbId="tt0133093")["infoHash"]
    assert found(anonymous, q="film") == ["Film"]
    assert mona.delete(f"/api/torrents/{info_hash}").status_code == 200
    for params in (
        {},
        {"q": "film"},
        {"q": info_hash},
        {"tags": "night"},
        {"imdbid": "tt0133093"},
        {"sort": "seeders"},
        {"sort": "comments", "order": "asc"},
    ):
        for browser in (mona, anonymous):
            assert found(browser, **params) == [], params
            assert total(browser, **params) == (0, True), params
    assert anonymous.get(f"/api/torrents/{info_hash}").status_code == 404
