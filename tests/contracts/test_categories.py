"""Contract of the category tree."""

from __future__ import annotations

import threading
from typing import Any

from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import torrent_file, upload, uploaded

NOBODY = "00000000-0000-4000-8000-000000000000"


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
        {"name": "Movies", "newznabId": 200_000},
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


def edit(caller: Browser, category: str, **fields: Any) -> Any:
    return caller.put(f"/api/admin/categories/{category}", json=fields)


def remove(caller: Browser, category: str) -> Any:
    return caller.delete(f"/api/admin/categories/{category}")


def seed(caller: Browser) -> Any:
    return caller.post("/api/admin/categories/seed")


def test_changing_the_tree_is_for_administrators(
    api: Api, admin: Browser, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    movies = create(admin, name="Movies").json()["id"]
    before = api.topics()
    for caller, status in ((anonymous, 401), (alice, 403), (mona, 403)):
        assert edit(caller, movies, name="Films").status_code == status
        assert remove(caller, movies).status_code == status
        assert seed(caller).status_code == status
    assert api.topics() == before


def test_edit_category_renames_it_and_keeps_what_is_not_sent(
    api: Api, admin: Browser, anonymous: Browser
) -> None:
    movies = create(admin, name="Movies", newznabId=2000, type="movie", icon="film").json()
    child = create(admin, name="HD", parentId=movies["id"]).json()
    edited = edit(admin, movies["id"], name="Films", newznabId=102_000, isAdult=True)
    assert edited.status_code == 200
    assert edited.json() == {
        **{name: value for name, value in movies.items() if name != "createdAt"},
        "name": "Films",
        "slug": "films",
        "newznabId": 102_000,
        "isAdult": True,
    }
    tree = anonymous.get("/api/categories").json()
    assert (tree[0]["slug"], tree[0]["isAdult"], tree[0]["icon"]) == ("films", True, "film")
    assert tree[0]["subcategories"][0]["slug"] == "movies-hd"
    renamed = edit(admin, child["id"], name="Full HD").json()
    assert renamed["slug"] == "films-full-hd"
    cleared = edit(admin, movies["id"], name="Films", newznabId=None, icon=None, type=None).json()
    assert (cleared["newznabId"], cleared["icon"], cleared["type"]) == (None, None, None)
    before = api.topics()
    assert edit(admin, movies["id"], name="Films").status_code == 200
    assert api.topics() == before
    assert create(admin, name="Movies").status_code == 201
    taken = edit(admin, movies["id"], name="Movies")
    assert (taken.status_code, taken.json()["data"]["code"]) == (409, "category_slug_taken")


def test_edit_category_explains_bad_input(api: Api, admin: Browser) -> None:
    movies = create(admin, name="Movies").json()["id"]
    for fields in (
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\0b"},
        {"name": "Movies", "newznabId": 999},
        {"name": "Movies", "newznabId": 200_000},
        {"name": "Movies", "type": "song"},
        {"name": "Movies", "icon": "x" * 51},
        {"name": "Movies", "isAdult": "perhaps"},
    ):
        assert edit(admin, movies, **fields).status_code == 400, fields
    assert edit(admin, "movies", name="Films").status_code == 400
    missing = edit(admin, NOBODY, name="Films")
    assert (missing.status_code, missing.json()["data"]["code"]) == (404, "category_not_found")
    assert "category.edited.1" not in api.topics()


def test_remove_category_refuses_while_something_belongs_to_it(
    api: Api, admin: Browser, alice: Browser, anonymous: Browser
) -> None:
    movies = create(admin, name="Movies").json()["id"]
    child = create(admin, name="HD", parentId=movies).json()["id"]
    refused = remove(admin, movies)
    assert (refused.status_code, refused.json()["data"]["code"]) == (409, "category_in_use")
    assert refused.json()["data"]["children"] == 1
    torrent = uploaded(alice, categoryId=child)["infoHash"]
    assert remove(admin, child).json()["data"]["torrents"] == 1
    assert alice.patch(f"/api/torrents/{torrent}", json={"categoryId": None}).status_code == 200
    assert remove(admin, child).status_code == 200
    assert remove(admin, movies).status_code == 200
    assert anonymous.get("/api/categories").json() == []
    again = remove(admin, movies)
    assert (again.status_code, again.json()["data"]["code"]) == (404, "category_not_found")
    assert remove(admin, "movies").status_code == 400
    assert upload_into(alice, child) == "category_unknown"
    assert create(admin, name="Movies").status_code == 201


def upload_into(caller: Browser, category: str) -> str:
    return str(upload(caller, torrent_file("Other"), categoryId=category).json()["data"]["code"])


def test_seed_categories_creates_only_what_is_missing(
    api: Api, admin: Browser, anonymous: Browser
) -> None:
    own = create(admin, name="Movies", newznabId=2000, icon="mine").json()
    assert seed(admin).json() == {"success": True, "created": 27}
    tree = {row["slug"]: row for row in anonymous.get("/api/categories").json()}
    assert sorted(tree) == ["audio", "books", "games", "movies", "other", "software", "tv", "xxx"]
    assert tree["movies"]["id"] == own["id"]
    assert [row["slug"] for row in tree["movies"]["subcategories"]] == [
        "movies-bluray",
        "movies-hd",
        "movies-sd",
        "movies-uhd",
    ]
    numbers = {row["name"]: row["newznabId"] for row in tree["tv"]["subcategories"]}
    assert numbers == {
        "Anime": 5070,
        "Documentary": 5080,
        "HD": 5040,
        "SD": 5030,
        "UHD/4K": 5045,
    }
    assert (tree["xxx"]["isAdult"], tree["tv"]["isAdult"]) == (True, False)
    assert (tree["books"]["type"], tree["audio"]["type"]) == ("book", None)
    assert seed(admin).json()["created"] == 0
    assert remove(admin, tree["other"]["id"]).status_code == 200
    assert seed(admin).json()["created"] == 1
    assert api.topics().count("category.created.1") == 29


def test_seed_categories_leaves_a_renamed_one_as_it_is(api: Api, admin: Browser) -> None:
    seed(admin)
    tree = {row["slug"]: row for row in admin.get("/api/categories").json()}
    assert edit(admin, tree["movies"]["id"], name="Films").status_code == 200
    assert remove(admin, tree["movies"]["subcategories"][0]["id"]).status_code == 200
    assert seed(admin).json() == {"success": True, "created": 1}
    after = {row["slug"]: row for row in admin.get("/api/categories").json()}
    assert after["films"]["id"] == tree["movies"]["id"]
    assert "films-bluray" in [row["slug"] for row in after["films"]["subcategories"]]
    assert seed(admin).json()["created"] == 0
    # The read model goes on.
    assert create(admin, name="Maps").json()["slug"] == "maps"


def test_two_who_seed_at_once_make_one_tree(api: Api, admin: Browser) -> None:
    made: list[Any] = []
    ready = threading.Barrier(2)
    callers = [api.browser() for _ in range(2)]
    for caller in callers:
        assert caller.log_in("root").status_code == 200

    def send(caller: Browser) -> None:
        ready.wait(10)
        made.append(seed(caller))

    threads = [threading.Thread(target=send, args=[caller]) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(reply.json()["created"] for reply in made) == [0, 28]
    assert api.topics().count("category.created.1") == 28
