"""Contract of the forum's categories and statistics."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from application.forum_categories import RemoveForumCategory
from projections.forum import ForumProjection
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.forum import answered, category, code, started

CATEGORIES = "/api/forum/categories"


def at(category: str) -> str:
    return f"{CATEGORIES}/{category}"


def listed(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get(CATEGORIES).json()
    return found


def test_create_forum_category_shows_it_in_its_order(admin: Browser, anonymous: Browser) -> None:
    fields = {
        "name": "News", "description": "What is new", "icon": "megaphone", "color": "#33AA99",
        "order": 5,
    }  # fmt: skip
    reply = admin.post(CATEGORIES, json=fields)
    assert reply.status_code == 201
    made = reply.json()
    assert made == {**fields, "color": "#33aa99", "id": made["id"], "createdAt": made["createdAt"]}
    first = category(admin, "First", order=1)
    last = category(admin, "Last", order=5)
    shown = listed(anonymous)
    assert [each["id"] for each in shown] == [first, made["id"], last]
    assert shown[1] == {
        **made, "topicCount": 0, "postCount": 0, "lastTopic": None, "lastPost": None,
    }  # fmt: skip


BAD = [
    ({"name": ""}, "invalid"),
    ({"name": "  "}, "forum_category_invalid"),
    ({"name": "x" * 101}, "invalid"),
    ({"name": "a\nb"}, "invalid"),
    ({"name": "a\0b"}, "invalid"),
    ({"color": "red"}, "forum_category_invalid"),
    ({"color": "#12345g"}, "forum_category_invalid"),
    ({"icon": "x" * 51}, "invalid"),
    ({"description": "x" * 501}, "invalid"),
    ({"description": "a\0b"}, "invalid"),
    ({"order": -1}, "invalid"),
    ({"order": 2**40}, "invalid"),
]


@pytest.mark.parametrize(("change", "wanted"), BAD)
def test_forum_categories_refuse_bad_fields(
    admin: Browser, api: Api, change: dict[str, Any], wanted: str
) -> None:
    assert code(admin.post(CATEGORIES, json={"name": "News", **change})) == (400, wanted)
    assert "forum_category.created.1" not in api.topics()
    made = category(admin)
    assert code(admin.put(at(made), json=change)) == (400, wanted)
    assert "forum_category.edited.1" not in api.topics()


def test_forum_categories_are_changed_by_administrators_only(
    admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    made = category(admin)
    for browser, status in ((anonymous, 401), (alice, 403), (mona, 403)):
        assert browser.post(CATEGORIES, json={"name": "x"}).status_code == status
        assert browser.put(at(made), json={"name": "x"}).status_code == status
        assert browser.delete(at(made)).status_code == status
    assert [each["name"] for each in listed(anonymous)] == ["General"]


def test_edit_forum_category_changes_what_was_sent(
    admin: Browser, anonymous: Browser, api: Api
) -> None:
    made = category(admin, "General", description="Talk", color="#112233", order=3)
    reply = admin.put(at(made), json={"name": "Lounge", "color": None})
    assert reply.status_code == 200
    wanted: dict[str, Any] = {
        "name": "Lounge",
        "description": "Talk",
        "color": None,
        "order": 3,
        "icon": None,
    }
    assert {name: reply.json()[name] for name in wanted} == wanted
    (shown,) = listed(anonymous)
    assert {name: shown[name] for name in reply.json()} == reply.json()
    # The same once more, and nothing at all, are no change.
    for body in ({"name": "Lounge"}, {}):
        assert admin.put(at(made), json=body).json() == reply.json()
    assert api.topics().count("forum_category.edited.1") == 1
    for field in ("name", "order"):
        assert code(admin.put(at(made), json={field: None})) == (400, "forum_category_invalid")
    missing = admin.put(at(str(uuid4())), json={"name": "x"})
    assert code(missing) == (404, "forum_category_not_found")
    assert code(admin.put(at("seven"), json={"name": "x"})) == (400, "invalid")


def test_remove_forum_category_refuses_one_with_topics(
    admin: Browser, alice: Browser, anonymous: Browser
) -> None:
    made = category(admin)
    topic = started(alice, made, "Hello", "x")
    refused = admin.delete(at(made))
    assert code(refused) == (409, "forum_category_in_use")
    assert refused.json()["data"]["topics"] == 1
    alice.delete(f"/api/forum/topics/{topic['id']}")
    assert admin.delete(at(made)).json() == {"success": True}
    for again in (
        admin.delete(at(made)),
        admin.put(at(made), json={"name": "x"}),
        anonymous.get(at(made)),
        alice.post("/api/forum/topics", json={"categoryId": made, "title": "x", "content": "x"}),
    ):
        assert code(again) == (404, "forum_category_not_found")
    assert listed(anonymous) == []


def test_remove_forum_category_counts_what_is_not_folded_yet(
    admin: Browser, alice: Browser, anonymous: Browser, api: Api
) -> None:
    made = category(admin)
    with api.held(ForumProjection()):
        topic = started(alice, made, "Hello", "x")
        assert code(admin.delete(at(made))) == (503, "read_models_behind")
    assert code(admin.delete(at(made))) == (409, "forum_category_in_use")
    assert "forum_category.removed.1" not in api.topics()
    assert anonymous.get(f"/api/forum/topics/{topic['id']}").json()["category"]["id"] == made


def test_a_topic_whose_category_went_in_the_same_moment_still_has_its_page(
    admin: Browser, alice: Browser, anonymous: Browser, api: Api
) -> None:
    made = category(admin)
    topic = started(alice, made, "Hello", "x")
    # As it was counted just before the topic was committed.
    api.dispatch(RemoveForumCategory(category=UUID(made), topics=0))
    page = anonymous.get(
        f"/api/forum/topics/{topic['id']}", headers={"X-After": str(api.log.head())}
    )
    assert page.json()["category"] == {"id": made, "name": None}
    assert anonymous.get("/api/forum/stats").json()["totals"]["topics"] == 1


def test_list_forum_categories_tells_the_newest_topic_and_the_last_post(
    admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    made, other = category(admin, "One"), category(admin, "Two")
    old = started(alice, made, "Old", "x")
    new = started(mona, made, "New", "x")
    answer = answered(alice, old["id"], "answer")
    one, two = listed(anonymous)
    assert (one["topicCount"], one["postCount"]) == (2, 3)
    assert one["lastTopic"] == {
        "id": new["id"], "title": "New", "createdAt": new["createdAt"],
        "author": {"id": new["authorId"], "username": "mona"},
    }  # fmt: skip
    assert one["lastPost"] == {
        "id": answer["id"], "topicId": old["id"], "topicTitle": "Old",
        "createdAt": answer["createdAt"],
        "author": {"id": answer["authorId"], "username": "alice"},
    }  # fmt: skip
    assert (two["id"], two["lastTopic"], two["lastPost"]) == (other, None, None)


def test_show_forum_category_pages_its_topics(
    admin: Browser, alice: Browser, anonymous: Browser
) -> None:
    made = category(admin)
    topics = [started(alice, made, f"Topic {n}", f"word {n} " * 60)["id"] for n in range(5)]
    newest = topics[::-1]

    def page(**params: Any) -> dict[str, Any]:
        found: dict[str, Any] = anonymous.get(at(made), params=params).json()
        return found

    first = page(limit=2)
    assert [each["id"] for each in first["topics"]] == newest[:2]
    assert len(first["topics"][0]["firstPostExcerpt"]) == 200
    assert first["pagination"] == {
        "page": 1, "limit": 2, "total": 5, "pages": 3, "totalExact": True,
    }  # fmt: skip
    assert [each["id"] for each in page(limit=2, page=3)["topics"]] == newest[4:]
    # A new topic moves pages, but not the cursor.
    started(alice, made, "Newer", "x")
    second = page(limit=2, after=first["nextCursor"])
    assert [each["id"] for each in second["topics"]] == newest[2:4]
    third = page(limit=2, after=second["nextCursor"])
    assert ([each["id"] for each in third["topics"]], third["nextCursor"]) == (newest[4:], None)
    for params in ({"limit": 101}, {"page": 0}, {"after": "bad"}, {"after": "WyJ4Il0"}):
        assert anonymous.get(at(made), params=params).status_code == 400
    assert code(anonymous.get(at(str(uuid4())))) == (404, "forum_category_not_found")
    assert code(anonymous.get(at("seven"))) == (400, "invalid")


def test_show_forum_stats_counts_and_tells_the_last_posts(
    admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    made = category(admin)
    topic = started(alice, made, "Hello", "<p>First</p>")
    answers = [answered(mona, topic["id"], f"<b>answer</b> {n}") for n in range(5)]
    stats = anonymous.get("/api/forum/stats").json()
    assert stats["totals"] == {"categories": 1, "topics": 1, "posts": 6, "contributors": 2}
    assert [each["id"] for each in stats["latest"]] == [each["id"] for each in answers[::-1]]
    assert stats["latest"][0] == {
        "id": answers[4]["id"], "topicId": topic["id"], "topicTitle": "Hello",
        "categoryId": made, "author": {"id": answers[4]["authorId"], "username": "mona"},
        "createdAt": answers[4]["createdAt"], "excerpt": "answer 4",
    }  # fmt: skip
    for each in answers:
        mona.delete(f"/api/forum/posts/{each['id']}")
    stats = anonymous.get("/api/forum/stats").json()
    assert stats["totals"] == {"categories": 1, "topics": 1, "posts": 1, "contributors": 1}
