"""Contract of tags: the list, creating and removing them, and tags uploads bring."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from projections.tags import TagsProjection
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import torrent_file, upload, uploaded

NOBODY = "00000000-0000-4000-8000-000000000000"


def create(caller: Browser, **fields: Any) -> Any:
    return caller.post("/api/admin/tags", json=fields)


def remove(caller: Browser, tag: str) -> Any:
    return caller.delete(f"/api/admin/tags/{tag}")


def listed(caller: Browser, **params: Any) -> dict[str, Any]:
    return {tag["slug"]: tag for tag in caller.get("/api/tags", params=params).json()}


def approve(mona: Browser, info_hash: str) -> None:
    assert mona.post(f"/api/mod/torrents/{info_hash}/approve").status_code == 200


def slugs(caller: Browser, info_hash: str) -> list[str]:
    return [tag["slug"] for tag in caller.get(f"/api/torrents/{info_hash}").json()["tags"]]


def test_changing_tags_is_for_administrators(
    api: Api, admin: Browser, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    made = create(admin, name="Poetry").json()["id"]
    before = api.topics()
    for caller, status in ((anonymous, 401), (alice, 403), (mona, 403)):
        assert create(caller, name="Other").status_code == status
        assert remove(caller, made).status_code == status
    assert api.topics() == before


def test_create_tag_gives_it_a_colour_and_everybody_finds_it(
    admin: Browser, anonymous: Browser
) -> None:
    assert anonymous.get("/api/tags").json() == []
    made = create(admin, name=" Épic Poetry ", color="#AABBCC")
    assert made.status_code == 201
    tag = made.json()
    assert (tag["name"], tag["slug"], tag["color"]) == ("Épic Poetry", "epic-poetry", "#aabbcc")
    assert tag["torrents"] == 0
    grey = create(admin, name="EPUB", slug="epub").json()
    assert grey["color"] == "#6b7280"
    assert anonymous.get("/api/tags").json() == [tag, grey]
    assert list(listed(anonymous, q="Épic")) == ["epic-poetry"]
    assert list(listed(anonymous, q="poetry")) == []
    assert list(listed(anonymous, limit=1)) == ["epic-poetry"]
    for params in ({"limit": 0}, {"limit": 1_001}, {"q": "x" * 31}):
        assert anonymous.get("/api/tags", params=params).status_code == 400
    assert anonymous.get("/api/tags?q=%00").status_code == 200
    again = create(admin, name="epic poetry!")
    assert (again.status_code, again.json()["data"]["code"]) == (409, "tag_exists")


def test_create_tag_answers_the_figures_of_one_in_use(
    api: Api, admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    for name in ("A", "B"):
        approve(mona, uploaded(alice, name, tags=["poetry"])["infoHash"])
    before = listed(anonymous)["poetry"]
    assert before["torrents"] == 2
    made = create(admin, name="Poetry", color="#112233")
    assert made.status_code == 201
    assert made.json() == {**before, "name": "Poetry", "color": "#112233"}
    assert listed(anonymous) == {"poetry": made.json()}
    with api.held(TagsProjection()):
        unseen = create(admin, name="Prose")
    assert unseen.json()["torrents"] == 0
    assert listed(admin)["prose"] == unseen.json()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": ""},
        {"name": "x" * 31},
        {"name": "!!"},
        {"name": "a\0b"},
        {"name": "a\nb"},
        {"name": "Poetry", "slug": "verse"},
        {"name": "Poetry", "color": "red"},
        {"name": "Poetry", "color": "#12345"},
    ],
)
def test_create_tag_explains_bad_input(api: Api, admin: Browser, fields: dict[str, Any]) -> None:
    assert create(admin, **fields).status_code == 400
    assert "tag.created.1" not in api.topics()


def test_two_who_create_a_tag_at_once(api: Api, admin: Browser) -> None:
    statuses: list[int] = []
    ready = threading.Barrier(2)
    callers = [api.browser() for _ in range(2)]
    for caller in callers:
        assert caller.log_in("root").status_code == 200

    def send(caller: Browser) -> None:
        ready.wait(10)
        statuses.append(create(caller, name="Race").status_code)

    threads = [threading.Thread(target=send, args=[caller]) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [201, 409]


def test_a_tag_counts_the_torrents_everybody_sees(
    admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    create(admin, name="Poetry", color="#ff0000")
    info_hash = uploaded(alice, tags=["poetry", "New Word"])["infoHash"]
    tags = listed(anonymous)
    assert (tags["poetry"]["torrents"], tags["new-word"]["torrents"]) == (0, 0)
    assert (tags["poetry"]["name"], tags["poetry"]["color"]) == ("Poetry", "#ff0000")
    assert (tags["new-word"]["name"], tags["new-word"]["color"]) == ("New Word", "#6b7280")
    approve(mona, info_hash)
    assert listed(anonymous)["poetry"]["torrents"] == 1
    assert mona.put(f"/api/torrents/{info_hash}/tags", json={"tags": ["prose"]}).status_code == 200
    assert (listed(anonymous)["poetry"]["torrents"], listed(anonymous)["prose"]["torrents"]) == (
        0,
        1,
    )
    assert alice.delete(f"/api/torrents/{info_hash}").status_code == 200
    assert listed(anonymous)["prose"]["torrents"] == 0


def test_remove_tag_unbinds_it_from_every_torrent_by_one_fact(
    api: Api, admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    first = uploaded(alice, "One", tags=["Poetry", "Classic"])["infoHash"]
    second = uploaded(alice, "Two", tags=["Classic", "POETRY!"])["infoHash"]
    for info_hash in (first, second):
        approve(mona, info_hash)
    tag = listed(anonymous)["poetry"]["id"]
    before = len(api.topics())
    reply = remove(admin, tag)
    assert (reply.status_code, reply.json()) == (200, {"success": True, "removed": True})
    assert api.topics()[before:] == ["tag.removed.1"]
    assert list(listed(anonymous)) == ["classic"]
    assert (slugs(anonymous, first), slugs(anonymous, second)) == (["classic"], ["classic"])
    assert remove(admin, tag).json() == {"success": True, "removed": False}
    assert remove(admin, NOBODY).json() == {"success": True, "removed": False}
    assert remove(admin, "poetry").status_code == 400
    assert len(api.topics()) == before + 1


def test_a_removed_tag_comes_back_only_where_somebody_uses_it_again(
    api: Api, admin: Browser, alice: Browser, mona: Browser
) -> None:
    before = uploaded(alice, "Before", tags=["Poetry", "Classic"])["infoHash"]
    remove(admin, listed(alice)["poetry"]["id"])
    after = uploaded(alice, "After", tags=["Poetry"])["infoHash"]
    for info_hash in (before, after):
        reply = alice.patch(f"/api/torrents/{info_hash}", json={"description": "Edited."})
        assert reply.status_code == 200
    assert slugs(alice, before) == ["classic"]
    assert slugs(alice, after) == ["poetry"]
    assert alice.patch(f"/api/torrents/{before}", json={"tags": ["Poetry"]}).status_code == 200
    assert slugs(alice, before) == ["poetry"]


@pytest.mark.parametrize("tags", [["Poetry", "Classic"], ["Poetry"]])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_removed_tag_that_is_given_again_stays(
    api: Api, admin: Browser, alice: Browser, method: str, tags: list[str]
) -> None:
    info_hash = uploaded(alice, "One", tags=["Poetry", "Classic"])["infoHash"]
    remove(admin, listed(alice)["poetry"]["id"])
    path = f"/api/torrents/{info_hash}"
    before = api.topics().count("torrent.edited.1")
    reply = alice.request(method, f"{path}/tags" if method == "PUT" else path, json={"tags": tags})
    assert reply.status_code == 200
    assert api.topics().count("torrent.edited.1") == before + 1
    expected = [tag.lower() for tag in tags]
    assert slugs(alice, info_hash) == expected
    # Edits of anything else leave it there.
    assert alice.patch(path, json={"description": "Edited."}).status_code == 200
    assert slugs(alice, info_hash) == expected


def test_an_upload_brings_tags_by_name_and_by_id(admin: Browser, alice: Browser) -> None:
    tag = create(admin, name="Poetry").json()["id"]
    by_id = uploaded(alice, "One", tags=[tag, "Classic"])["infoHash"]
    assert slugs(alice, by_id) == ["poetry", "classic"]
    other = uploaded(alice, "Two", tagIds=[tag])["infoHash"]
    assert slugs(alice, other) == ["poetry"]
    for wrong in ({"tags": [NOBODY]}, {"tagIds": [NOBODY]}):
        reply = upload(alice, torrent_file("Three"), **wrong)
        assert (reply.status_code, reply.json()["data"]["code"]) == (400, "tag_unknown")
    assert upload(alice, torrent_file("Three"), tagIds=["x"]).status_code == 400


def test_an_upload_is_tagged_from_its_name_and_its_nfo(api: Api, admin: Browser) -> None:
    alice = member(api, "alice")
    name = "The.French.Connection.1971.MULTi.2160p.UHD.BluRay.DTS-HD.MA.5.1.x265-GRP"
    reply = upload(alice, torrent_file("One"), name=name, tags=["Crime", "x265"])
    tags = alice.get(f"/api/torrents/{reply.json()['data']['infoHash']}").json()["tags"]
    assert [tag["name"] for tag in tags] == [
        "Crime",
        "x265",
        "2160p",
        "BluRay",
        "DTS-HD",
        "5.1",
        "MULTi",
    ]
    nfo = "Quelle: BLURAY\r\nVideo: 1080p x264\r\nTon: français".encode("cp437")
    plain = upload(alice, torrent_file("Two"), name="A Plain Name", nfo=nfo).json()["data"]
    page = alice.get(f"/api/torrents/{plain['infoHash']}").json()
    assert [tag["name"] for tag in page["tags"]] == ["1080p", "BluRay", "x264"]
    ten = [f"tag {number}" for number in range(10)]
    full = upload(alice, torrent_file("Three"), name=name, tags=ten).json()["data"]["infoHash"]
    assert slugs(alice, full) == [f"tag-{number}" for number in range(10)]
