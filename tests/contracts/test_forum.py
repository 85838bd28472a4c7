"""Contract of the forum's topics and posts."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from application.site import ChangeSettings
from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.forum import answered, category, code, started

POSTS = "/api/forum/posts"


@pytest.fixture
def bert(api: Api, admin: Browser) -> Browser:
    return member(api, "bert")


@pytest.fixture
def general(admin: Browser) -> str:
    return category(admin, "General")


@pytest.fixture
def topic(general: str, alice: Browser) -> dict[str, Any]:
    return started(alice, general, "Hello", "<p>First words</p>")


def at(topic: dict[str, Any], more: str = "") -> str:
    return f"/api/forum/topics/{topic['id']}{more}"


def post_at(post: dict[str, Any]) -> str:
    return f"{POSTS}/{post['id']}"


def contents(browser: Browser, topic: dict[str, Any], **params: Any) -> list[str]:
    return [each["content"] for each in browser.get(at(topic), params=params).json()["posts"]]


def test_start_forum_topic_shows_it_to_all_at_once(
    topic: dict[str, Any], general: str, alice: Browser, anonymous: Browser
) -> None:
    assert topic["title"] == "Hello"
    assert topic["firstPostExcerpt"] == "First words"
    first = topic.pop("firstPost")
    author = {
        "id": str(account_id(alice)), "username": "alice", "isAdmin": False, "isModerator": False,
    }  # fmt: skip
    assert (topic["author"], first["author"]) == (author, author)
    page = anonymous.get(at(topic)).json()
    assert page["posts"] == [first]
    assert page["category"] == {"id": general, "name": "General"}
    assert {name: page[name] for name in topic} == topic
    listed = anonymous.get(f"/api/forum/categories/{general}").json()["topics"]
    assert listed == [topic]


def test_start_forum_topic_disarms_mark_up_and_keeps_titles_text(
    general: str, alice: Browser, anonymous: Browser
) -> None:
    attack = "x<script>alert(1)</script><img src=x onerror=alert(1)><b onclick=y>z</b>"
    made = started(alice, general, "<b>1 < 2</b> ]]> & \u202e", attack)
    assert made["firstPost"]["content"] == "x<b>z</b>"
    page = anonymous.get(at(made)).json()
    assert page["posts"][0]["content"] == "x<b>z</b>"
    assert page["title"] == "<b>1 < 2</b> ]]> & \u202e"
    assert page["firstPostExcerpt"] == "xz"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"title": ""}, "invalid"),
        ({"title": "   "}, "forum_title_invalid"),
        ({"title": "\u200b"}, "forum_title_invalid"),
        ({"title": "x" * 201}, "invalid"),
        ({"title": "two\nlines"}, "invalid"),
        ({"title": "a\0b"}, "invalid"),
        ({"content": ""}, "invalid"),
        ({"content": "  "}, "forum_post_invalid"),
        ({"content": "<p></p>"}, "nothing_to_show"),
        ({"content": "<br>" * 3001 + "x"}, "too_many_tags"),
        ({"content": "x" * 50_001}, "invalid"),
        ({"content": "a\0b"}, "invalid"),
        ({"categoryId": "seven"}, "invalid"),
    ],
)
def test_start_forum_topic_refuses_bad_input(
    general: str, alice: Browser, api: Api, change: dict[str, str], wanted: str
) -> None:
    body = {"categoryId": general, "title": "Hello", "content": "x", **change}
    assert code(alice.post("/api/forum/topics", json=body)) == (400, wanted)
    assert "forum_topic.started.1" not in api.topics()


def test_start_forum_topic_needs_a_session_and_a_category(
    general: str, topic: dict[str, Any], alice: Browser, anonymous: Browser
) -> None:
    body = {"categoryId": general, "title": "Hello", "content": "x"}
    assert anonymous.post("/api/forum/topics", json=body).status_code == 401
    for wrong in (str(uuid4()), topic["id"]):
        reply = alice.post("/api/forum/topics", json={**body, "categoryId": wrong})
        assert code(reply) == (404, "forum_category_not_found")
    # The older spelling of the body.
    older = {"category_id": general, "title": "Hello", "content": "x"}
    assert alice.post("/api/forum/topics", json=older).status_code == 201


def test_write_forum_post_moves_the_topic_up(
    topic: dict[str, Any], general: str, alice: Browser, bert: Browser, anonymous: Browser
) -> None:
    other = started(alice, general, "Other", "x")
    made = answered(bert, topic["id"], "An <i>answer</i>")
    assert (made["content"], made["isFirstPost"]) == ("An <i>answer</i>", False)
    listed = anonymous.get(f"/api/forum/categories/{general}").json()["topics"]
    assert [each["id"] for each in listed] == [topic["id"], other["id"]]
    assert (listed[0]["postCount"], listed[0]["replyCount"]) == (2, 1)
    assert listed[0]["lastPost"]["id"] == made["id"]
    assert listed[0]["lastPost"]["author"]["username"] == "bert"
    assert anonymous.get(at(topic)).json()["posts"][1] == made


def test_write_forum_post_refuses_bad_input_and_strangers(
    topic: dict[str, Any], alice: Browser, anonymous: Browser
) -> None:
    body = {"topicId": topic["id"], "content": "x"}
    assert anonymous.post(POSTS, json=body).status_code == 401
    for wrong in (str(uuid4()), topic["firstPost"]["id"]):
        reply = alice.post(POSTS, json={**body, "topicId": wrong})
        assert code(reply) == (404, "forum_topic_not_found")
    for content in ("", " ", "x" * 50_001, "<i></i>", "a\0b", None):
        assert alice.post(POSTS, json={**body, "content": content}).status_code == 400
    half = json.dumps({**body, "content": "\udc00"})
    headers = {"content-type": "application/json"}
    assert alice.post(POSTS, content=half, headers=headers).status_code == 400
    assert contents(alice, topic) == ["<p>First words</p>"]


def test_show_forum_topic_pages_steadily(
    topic: dict[str, Any], alice: Browser, anonymous: Browser
) -> None:
    posts = [answered(alice, topic["id"], f"number {n}") for n in range(5)]
    first = anonymous.get(at(topic), params={"limit": 2}).json()
    assert [each["content"] for each in first["posts"]] == ["<p>First words</p>", "number 0"]
    assert first["pagination"] == {
        "page": 1, "limit": 2, "total": 6, "pages": 3, "totalExact": True,
    }  # fmt: skip
    # What is deleted or written meanwhile moves pages, but not the cursor.
    assert alice.delete(post_at(posts[0])).status_code == 200
    second = anonymous.get(at(topic), params={"limit": 2, "after": first["nextCursor"]}).json()
    assert [each["content"] for each in second["posts"]] == ["number 1", "number 2"]
    answered(alice, topic["id"], "last")
    third = anonymous.get(at(topic), params={"limit": 3, "after": second["nextCursor"]}).json()
    assert [each["content"] for each in third["posts"]] == ["number 3", "number 4", "last"]
    assert third["nextCursor"] is None
    assert contents(anonymous, topic, limit=2, page=3) == ["number 4", "last"]
    for params in ({"limit": 101}, {"page": 0}, {"after": "bad"}, {"after": "WyJ4Il0"}):
        assert anonymous.get(at(topic), params=params).status_code == 400
    for missing in (uuid4(), topic["firstPost"]["id"]):
        reply = anonymous.get(f"/api/forum/topics/{missing}")
        assert code(reply) == (404, "forum_topic_not_found")
    assert anonymous.get("/api/forum/topics/seven").status_code == 400


def test_lock_forum_topic_stops_members_but_not_moderators(
    topic: dict[str, Any], alice: Browser, bert: Browser, mona: Browser, anonymous: Browser
) -> None:
    lock, first = at(topic, "/lock"), topic["firstPost"]
    assert anonymous.put(lock).status_code == 401
    assert alice.put(lock).status_code == 403
    reply = mona.put(lock, json={"isLocked": True})
    assert reply.json() == {
        "success": True, "id": topic["id"], "isPinned": False, "isLocked": True,
    }  # fmt: skip
    assert mona.put(lock, json={"isLocked": True}).json()["isLocked"] is True
    assert anonymous.get(at(topic)).json()["isLocked"] is True
    refused = bert.post(POSTS, json={"topicId": topic["id"], "content": "x"})
    assert code(refused) == (403, "forum_topic_locked")
    edited = alice.patch(post_at(first), json={"content": "x"})
    assert code(edited) == (403, "forum_topic_locked")
    answered(mona, topic["id"], "Closed.")
    assert mona.patch(post_at(first), json={"content": "y"}).status_code == 200
    # Left out, it is a toggle, with an empty body and without one.
    assert mona.put(lock).json()["isLocked"] is False
    assert mona.put(lock, json={}).json()["isLocked"] is True
    assert mona.put(lock, json={"locked": False}).json()["isLocked"] is False
    answered(bert, topic["id"], "Open again")
    assert code(mona.put(f"/api/forum/topics/{uuid4()}/lock")) == (404, "forum_topic_not_found")
    assert mona.put(lock, json={"isLocked": "perhaps"}).status_code == 400


def test_pin_forum_topic_puts_it_first(
    topic: dict[str, Any], general: str, alice: Browser, mona: Browser, anonymous: Browser, api: Api
) -> None:
    newer = [started(alice, general, f"Newer {n}", "x")["id"] for n in range(2)]
    pin = at(topic, "/pin")
    assert anonymous.put(pin).status_code == 401
    assert alice.put(pin).status_code == 403
    assert mona.put(pin).json()["isPinned"] is True

    def listed(**params: Any) -> Any:
        return anonymous.get(f"/api/forum/categories/{general}", params=params).json()

    assert [each["id"] for each in listed()["topics"]] == [topic["id"], *newer[::-1]]
    # The cursor walks from the pinned ones over to the others.
    page = listed(limit=1)
    walked = []
    while page["nextCursor"]:
        walked += page["topics"]
        page = listed(limit=1, after=page["nextCursor"])
    assert [each["id"] for each in walked + page["topics"]] == [topic["id"], *newer[::-1]]
    assert mona.put(pin, json={"isPinned": False}).json()["isPinned"] is False
    assert mona.put(pin, json={"isPinned": False}).json()["isPinned"] is False
    assert [each["id"] for each in listed()["topics"]] == [*newer[::-1], topic["id"]]
    assert [t for t in api.topics() if "pinned" in t] == [
        "forum_topic.pinned.1", "forum_topic.unpinned.1",
    ]  # fmt: skip
    assert code(mona.put(f"/api/forum/topics/{uuid4()}/pin")) == (404, "forum_topic_not_found")


def test_edit_forum_post_is_for_its_author_and_moderators(
    topic: dict[str, Any], alice: Browser, bert: Browser, mona: Browser, anonymous: Browser
) -> None:
    path = post_at(topic["firstPost"])
    assert anonymous.patch(path, json={"content": "x"}).status_code == 401
    assert code(bert.patch(path, json={"content": "x"})) == (403, "forum_post_not_yours")
    reply = alice.patch(path, json={"content": " <b onclick=x>Better</b> "})
    assert reply.json() == {
        "success": True, "id": topic["firstPost"]["id"], "topicId": topic["id"],
        "authorId": topic["authorId"], "content": "<b>Better</b>", "revision": 1,
    }  # fmt: skip
    assert mona.patch(path, json={"content": "Mended"}).json()["revision"] == 2
    # The same words again are no edit.
    assert mona.patch(path, json={"content": "Mended"}).json()["revision"] == 2
    page = anonymous.get(at(topic)).json()
    (post,) = page["posts"]
    assert (post["content"], post["revision"]) == ("Mended", 2)
    assert post["editedBy"]["username"] == "mona"
    assert post["updatedAt"] == post["editedAt"] > post["createdAt"]
    assert page["firstPostExcerpt"] == "Mended"
    for content in ("", " ", "<b></b>", "x" * 50_001, "a\0b"):
        assert alice.patch(path, json={"content": content}).status_code == 400
    for missing in (uuid4(), topic["id"]):
        reply = mona.patch(f"{POSTS}/{missing}", json={"content": "x"})
        assert code(reply) == (404, "forum_post_not_found")


def test_two_edits_at_once_tell_who_was_first(
    topic: dict[str, Any], alice: Browser, mona: Browser
) -> None:
    path = post_at(topic["firstPost"])
    with ThreadPoolExecutor(2) as pool:
        replies = [
            each.result()
            for each in [
                pool.submit(browser.patch, path, json={"content": words, "revision": 0})
                for browser, words in ((alice, "alice's"), (mona, "mona's"))
            ]
        ]
    assert sorted(each.status_code for each in replies) == [200, 409]
    lost = next(each for each in replies if each.status_code == 409).json()["data"]
    won = next(each for each in replies if each.status_code == 200).json()
    assert lost["code"] == "forum_post_edited_meanwhile"
    assert lost["revision"] == 1
    assert won["content"] == f"{lost['editor']['username']}'s"
    assert contents(alice, topic) == [won["content"]]


def test_delete_forum_post_is_for_its_author_and_moderators(
    topic: dict[str, Any], alice: Browser, bert: Browser, mona: Browser, anonymous: Browser
) -> None:
    first, second = (answered(bert, topic["id"], words) for words in ("one", "two"))
    quote = f"<blockquote>{second['content']}</blockquote>so true"
    answered(alice, topic["id"], quote)
    assert anonymous.delete(post_at(first)).status_code == 401
    assert code(alice.delete(post_at(first))) == (403, "forum_post_not_yours")
    for browser, post in ((bert, first), (mona, second)):
        reply = browser.delete(post_at(post))
        assert reply.json() == {
            "success": True, "message": "Post deleted", "topicId": topic["id"],
            "topicDeleted": False,
        }  # fmt: skip
        for again in (
            browser.delete(post_at(post)),
            browser.patch(post_at(post), json={"content": "x"}),
        ):
            assert code(again) == (404, "forum_post_not_found")
    # A quote of what is gone stays with who quoted it.
    assert contents(anonymous, topic) == ["<p>First words</p>", quote]
    assert anonymous.get(at(topic)).json()["postCount"] == 2


def test_deleting_the_last_answer_moves_the_topic_back(
    topic: dict[str, Any], general: str, alice: Browser, anonymous: Browser
) -> None:
    other = started(alice, general, "Other", "x")
    answer = answered(alice, topic["id"], "bump")
    alice.delete(post_at(answer))
    listed = anonymous.get(f"/api/forum/categories/{general}").json()["topics"]
    assert [each["id"] for each in listed] == [other["id"], topic["id"]]
    assert listed[1]["lastPost"]["id"] == topic["firstPost"]["id"]
    assert listed[1]["updatedAt"] == topic["createdAt"]


def test_deleting_the_first_post_deletes_the_topic(
    topic: dict[str, Any], alice: Browser, bert: Browser, anonymous: Browser
) -> None:
    answer = answered(bert, topic["id"], "answer")
    reply = alice.delete(post_at(topic["firstPost"])).json()
    assert (reply["message"], reply["topicDeleted"]) == ("Topic deleted", True)
    assert code(anonymous.get(at(topic))) == (404, "forum_topic_not_found")
    for browser, post in ((bert, answer), (alice, topic["firstPost"])):
        assert code(browser.delete(post_at(post))) == (404, "forum_post_not_found")
        edit = browser.patch(post_at(post), json={"content": "x"})
        assert code(edit) == (404, "forum_post_not_found")


def test_delete_forum_topic_is_for_its_author_and_moderators(
    general: str, alice: Browser, bert: Browser, mona: Browser, anonymous: Browser
) -> None:
    for deleter in (alice, mona):
        topic = started(alice, general, "Hello", "x")
        answered(bert, topic["id"], "answer")
        assert anonymous.delete(at(topic)).status_code == 401
        assert code(bert.delete(at(topic))) == (403, "forum_topic_not_yours")
        reply = deleter.delete(at(topic))
        assert reply.json() == {"success": True, "message": "Topic deleted"}
        for again in (
            deleter.delete(at(topic)),
            anonymous.get(at(topic)),
            mona.put(at(topic, "/pin")),
            mona.put(at(topic, "/lock")),
            bert.post(POSTS, json={"topicId": topic["id"], "content": "x"}),
        ):
            assert code(again) == (404, "forum_topic_not_found")
    page = anonymous.get(f"/api/forum/categories/{general}").json()
    assert (page["topics"], page["topicCount"], page["postCount"]) == ([], 0, 0)


def test_deleting_a_topic_while_members_answer_leaves_nothing_behind(
    topic: dict[str, Any], general: str, alice: Browser, bert: Browser, anonymous: Browser
) -> None:
    with ThreadPoolExecutor(8) as pool:
        body = {"topicId": topic["id"], "content": "me too"}
        answers = [pool.submit(bert.post, POSTS, json=body) for _ in range(6)]
        deletion = pool.submit(alice.delete, at(topic))
        answers += [pool.submit(bert.post, POSTS, json=body) for _ in range(6)]
    assert deletion.result().status_code == 200
    assert {each.result().status_code for each in answers} <= {201, 404}
    page = anonymous.get(f"/api/forum/categories/{general}").json()
    assert (page["topics"], page["topicCount"], page["postCount"]) == ([], 0, 0)
    stats = anonymous.get("/api/forum/stats").json()
    assert stats == {
        "totals": {"categories": 1, "topics": 0, "posts": 0, "contributors": 0}, "latest": [],
    }  # fmt: skip


def test_forum_of_a_closed_site_asks_for_a_session(
    topic: dict[str, Any], general: str, alice: Browser, anonymous: Browser, api: Api
) -> None:
    api.dispatch(ChangeSettings(changes={"catalogueVisibility": "members"}))
    for path in (
        "/api/forum/categories",
        f"/api/forum/categories/{general}",
        at(topic),
        "/api/forum/stats",
    ):
        assert anonymous.get(path).status_code == 401
        assert alice.get(path).status_code == 200
