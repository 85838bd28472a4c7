"""Contract of the category tree."""

from __future__ import annotations

import threading
from typing import Any

from tests.kit.api import Api
from tests.kit.browser import Browser


def create(caller: Browser, **fields: Any) -> Any:
    return caller.post("/api/admin/categories", json=fields)


def test_create_category_is_for_administrators(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    for caller, status in ((anonymous, 401), (alice, 403), (mona, 403)):
        assert create(caller, name="Movies").status_code == status
    assert "category.created.1" not in api.topics()


def test_list_categories_gives_the_tree_by_name(admin: Browser, anonymous: Browser) -> None:
    assert anonymous.get("/api/categories").json() == []
    television = create(admin, name="TV", newznabId=5000, type="tv", icon="tv").json()
    movies = create(admin, name="Movies", newznabId=2000)
    assert movies.status_code == 201
    assert movies.json()["slug"] == "movies"
    uhd = create(admin, name="UHD / 4K", parentId=movies.json()["id"], newznabId=2045).json()
    hd = create(admin, name="HD", slug="hd", parentId=movies.json()["id"]).json()
    assert (uhd["slug"], hd["slug"]) == ("movies-uhd-4k", "movies-hd")
    tree = anonymous.get("/api/categories").json()
    assert [row["name"] for row in tree] == ["Movies", "TV"]
    assert tree[0]["subcategories"] == [hd, uhd]
    assert tree[1] == {**television, "subcategories": []}
    assert tree[1]["type"] == "tv"
    assert tree[1]["newznabId"] == 5000


def test_create_category_refuses_bad_input(api: Api, admin: Browser) -> None:
    for fields in (
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"name": "电影"},
        {"name": "Movies", "newznabId": 999},
        {"name": "Movies", "newznabId": 10_000},
        {"name": "Movies", "type": "song"},
        {"name": "Movies", "parentId": "x"},
        {"name": "Movies", "icon": "x" * 51},
    ):
        assert create(admin, **fields).status_code == 400, fields
    assert "category.created.1" not in api.topics()


def test_create_category_below_nothing_or_too_deep(admin: Browser) -> None:
    root = create(admin, name="Movies").json()["id"]
    child = create(admin, name="HD", parentId=root).json()["id"]
    deep = create(admin, name="Deeper", parentId=child)
    assert (deep.status_code, deep.json()["data"]["code"]) == (400, "category_too_deep")
    for nobody in ("00000000-0000-4000-8000-000000000000", admin.get("/api/me").json()["id"]):
        missing = create(admin, name="Lost", parentId=nobody)
        assert (missing.status_code, missing.json()["data"]["code"]) == (404, "category_not_found")


def test_every_slug_that_is_given_out_finds_its_torrents(admin: Browser) -> None:
    root = create(admin, name="p" * 99).json()
    child = create(admin, name="c" * 100, parentId=root["id"])
    assert len(child.json()["slug"]) == 200
    for slug in (root["slug"], child.json()["slug"]):
        assert admin.get("/api/torrents", params={"category": slug}).status_code == 200
    longer = create(admin, name="\ufb03" * 100)
    assert (longer.status_code, longer.json()["data"]["field"]) == (400, "slug")


def test_create_category_with_a_taken_slug_is_a_conflict(api: Api, admin: Browser) -> None:
    assert create(admin, name="Movies").status_code == 201
    again = create(admin, name="MOVIES!")
    assert (again.status_code, again.json()["data"]["code"]) == (409, "category_slug_taken")
    statuses: list[int] = []
    ready = threading.Barrier(2)

    def send() -> None:
        caller = api.browser()
        assert caller.log_in("root").status_code == 200
        ready.wait(10)
        statuses.append(create(caller, name="Race").status_code)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [201, 409]
    assert api.topics().count("category.created.1") == 2
