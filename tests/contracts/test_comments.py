"""Contract of `GET/POST /api/torrents/:hash/comments` and `DELETE /api/torrents/comments/:id`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection

from application import markup
from application.site import ChangeSettings
from projections import comments, forum_lists
from projections.comments import count_member_comments, count_torrent_comments
from projections.torrent_pages import find_torrent
from tests.kit.accounts import account_id, member
from tests.kit.adult import adult_category, asked_for_adult, gated
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.forum import category, started
from tests.kit.torrents import accepted, uploaded


@pytest.fixture
def bert(api: Api, admin: Browser) -> Browser:
    return member(api, "bert")


@pytest.fixture
def walden(mona: Browser, alice: Browser) -> str:
    return f"/api/torrents/{accepted(mona, alice, 'Walden')}/comments"


def posted(browser: Browser, path: str, content: str = "Thanks!") -> dict[str, Any]:
    reply = browser.post(path, json={"content": content})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def one(comment: dict[str, Any]) -> str:
    return f"/api/torrents/comments/{comment['id']}"


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["data"]["code"]


def test_post_comment_shows_it_to_all_at_once(
    walden: str, bert: Browser, anonymous: Browser, api: Api
) -> None:
    made = posted(bert, walden, " <b>Thanks</b> & bye ")
    assert set(made) == {
        "id", "torrentId", "authorId", "author", "content", "createdAt", "updatedAt",
    }  # fmt: skip
    assert made["content"] == "<b>Thanks</b> &amp; bye"
    assert made["author"] == {"id": str(account_id(bert)), "username": "bert"}
    page = anonymous.get(walden).json()
    assert page["data"] == [made]
    assert page["pagination"]["total"] == 1
    (fact,) = (
        recorded.envelope.fact
        for recorded in api.log.read(0, 1000)[0]
        if recorded.envelope.fact.TOPIC == "comment.posted.1"
    )
    # The log holds what was written, the page what is safe.
    assert fact.content.text == "<b>Thanks</b> & bye"


def test_post_comment_disarms_mark_up(walden: str, bert: Browser, anonymous: Browser) -> None:
    attack = "x<script>alert(1)</script><img src=x onerror=alert(1)><a href=javascript:1>y</a>"
    made = posted(bert, walden, attack)
    assert made["content"] == 'x<a rel="nofollow noopener noreferrer">y</a>'
    assert anonymous.get(walden).json()["data"][0]["content"] == made["content"]


def test_post_comment_refuses_bad_words(walden: str, bert: Browser, api: Api) -> None:
    for content, wanted in (
        ("", "invalid"),
        ("   ", "comment_invalid"),
        ("x" * 5001, "invalid"),
        ("a\0b", "invalid"),
        ("<script>x</script>", "nothing_to_show"),
        (7, "invalid"),
        (None, "invalid"),
    ):
        reply = bert.post(walden, json={"content": content})
        assert code(reply) == (400, wanted), content
    half = bert.post(
        walden, content='{"content": "\\ud800"}', headers={"content-type": "application/json"}
    )
    assert code(half) == (400, "invalid")
    assert code(bert.post(walden, json={})) == (400, "invalid")
    assert "comment.posted.1" not in api.topics()
    assert posted(bert, walden, "🙂" * 5000)["content"] == "🙂" * 5000


def test_comments_of_hidden_torrents_are_hidden(
    alice: Browser, mona: Browser, bert: Browser, anonymous: Browser
) -> None:
    path = f"/api/torrents/{uploaded(alice, 'Pending')['infoHash']}/comments"
    own = posted(alice, path, "Please look")
    assert [each["id"] for each in mona.get(path).json()["data"]] == [own["id"]]
    missing = f"/api/torrents/{'0' * 40}/comments"
    for browser, each in ((bert, path), (anonymous, path), (alice, missing)):
        assert code(browser.get(each)) == (404, "torrent_not_found")
    for each in (path, missing, "/api/torrents/nonsense/comments"):
        assert code(bert.post(each, json={"content": "x"})) == (404, "torrent_not_found")
    assert code(bert.delete(one(own))) == (404, "comment_not_found")


def test_comments_need_a_session_to_be_written(
    walden: str, bert: Browser, anonymous: Browser, api: Api
) -> None:
    made = posted(bert, walden)
    assert anonymous.post(walden, json={"content": "x"}).status_code == 401
    assert anonymous.delete(one(made)).status_code == 401
    api.dispatch(ChangeSettings(changes={"catalogueVisibility": "members"}))
    assert anonymous.get(walden).status_code == 401
    assert bert.get(walden).status_code == 200


def test_delete_comment_is_for_its_author_and_moderators(
    walden: str, alice: Browser, bert: Browser, mona: Browser, api: Api
) -> None:
    first, second = posted(bert, walden), posted(bert, walden)
    assert code(alice.delete(one(first))) == (403, "comment_not_yours")
    for browser, comment in ((bert, first), (mona, second)):
        reply = browser.delete(one(comment))
        assert (reply.status_code, reply.json()) == (200, {"success": True})
        assert code(browser.delete(one(comment))) == (404, "comment_not_found")
    assert alice.get(walden).json()["data"] == []
    assert alice.get(walden).json()["pagination"]["total"] == 0
    assert api.topics().count("comment.deleted.1") == 2
    assert code(mona.delete(f"/api/torrents/comments/{uuid4()}")) == (404, "comment_not_found")
    other_kind = f"/api/torrents/comments/{account_id(bert)}"
    assert code(mona.delete(other_kind)) == (404, "comment_not_found")
    assert code(mona.delete("/api/torrents/comments/seven")) == (400, "invalid")


def test_list_comments_pages_newest_first_and_steadily(
    walden: str, alice: Browser, bert: Browser
) -> None:
    made = [posted(bert, walden, f"number {n}")["id"] for n in range(5)]
    newest = made[::-1]
    first = alice.get(walden, params={"limit": 2}).json()
    assert [each["id"] for each in first["data"]] == newest[:2]
    assert first["pagination"] == {
        "page": 1, "limit": 2, "total": 5, "pages": 3, "totalExact": True,
    }  # fmt: skip
    # What is posted or deleted meanwhile moves pages, but not the cursor.
    posted(bert, walden, "later")
    alice_page = alice.get(walden, params={"limit": 2, "after": first["nextCursor"]}).json()
    assert [each["id"] for each in alice_page["data"]] == newest[2:4]
    bert.delete(f"/api/torrents/comments/{newest[3]}")
    last = alice.get(walden, params={"limit": 2, "after": alice_page["nextCursor"]}).json()
    assert [each["id"] for each in last["data"]] == newest[4:]
    assert last["nextCursor"] is None
    assert [e["id"] for e in alice.get(walden, params={"limit": 2, "page": 2}).json()["data"]] == [
        newest[1], newest[2],
    ]  # fmt: skip
    for params in ({"limit": 101}, {"page": 0}, {"after": "bad"}, {"after": "WyJ4Il0"}):
        assert alice.get(walden, params=params).status_code == 400


def test_comments_posted_and_deleted_at_once_count_right(
    walden: str, bert: Browser, mona: Browser, alice: Browser, api: Api
) -> None:
    made = [posted(bert, walden, f"number {n}") for n in range(4)]
    with ThreadPoolExecutor(8) as pool:
        deletions = [pool.submit(mona.delete, one(each)) for each in (*made, *made)]
        replies = [pool.submit(alice.post, walden, json={"content": "now"}) for _ in range(4)]
    statuses = sorted(each.result().status_code for each in deletions)
    assert statuses == [200] * 4 + [404] * 4
    assert [each.result().status_code for each in replies] == [201] * 4
    assert alice.get(walden).json()["pagination"]["total"] == 4
    with psycopg.connect(api.app_url) as conn:
        assert _counted(conn, walden, alice) == (4, 4)
        assert _counted(conn, walden, bert) == (4, 0)


def _counted(conn: Connection[Any], path: str, browser: Browser) -> tuple[int, int]:
    torrent = find_torrent(conn, path.split("/")[3])
    assert torrent is not None
    return (
        count_torrent_comments(conn, torrent.id),
        count_member_comments(conn, account_id(browser)),
    )


def test_post_comment_repeated_with_its_key_posts_once(walden: str, bert: Browser) -> None:
    headers = {"Idempotency-Key": "one"}
    replies = [bert.post(walden, json={"content": "x"}, headers=headers) for _ in range(2)]
    assert replies[0].json() == replies[1].json()
    assert bert.get(walden).json()["pagination"]["total"] == 1


def test_words_are_cleaned_when_no_connection_is_held(
    api: Api, admin: Browser, bert: Browser, walden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = category(admin)
    topic = started(bert, made, "Hello", "<b>first</b>")["id"]
    posted(bert, walden, "<b>comment</b>")
    held: list[int] = []

    def noting(clean: Callable[..., str]) -> Callable[..., str]:
        def cleaned(*text: Any) -> str:
            stats = api.services.reads.get_stats()
            held.append(stats["pool_size"] - stats["pool_available"])
            return clean(*text)

        return cleaned

    for module in (comments, forum_lists):
        monkeypatch.setattr(module, "clean_markup", noting(markup.clean_markup))
    monkeypatch.setattr(forum_lists, "excerpt", noting(markup.excerpt))
    for path, shown in (
        (walden, "<b>comment</b>"),
        (walden.removesuffix("/comments"), "<b>comment</b>"),
        (f"/api/forum/topics/{topic}", "<b>first</b>"),
        (f"/api/forum/categories/{made}", "first"),
        ("/api/forum/stats", "first"),
    ):
        before = len(held)
        assert shown in bert.get(path).text
        assert len(held) > before
    assert set(held) == {0}


def test_comments_of_an_adult_torrent_are_for_members_who_asked_for_such(
    admin: Browser, alice: Browser, bert: Browser, mona: Browser, anonymous: Browser
) -> None:
    made = adult_category(admin)
    info_hash = uploaded(admin, "Adult", categoryId=made["id"])["infoHash"]
    path = f"/api/torrents/{info_hash}/comments"
    comment = posted(bert, path)
    asked_for_adult(bert)
    # Neither who uploaded it nor staff see it unasked, as on its page.
    for browser in (anonymous, alice, mona, admin):
        reply = browser.get(path)
        assert (reply.status_code, reply.json()) == (200, gated(info_hash, made))
    assert bert.get(path).json()["data"] == [comment]
    plain = uploaded(admin, "Plain")["infoHash"]
    assert anonymous.get(f"/api/torrents/{plain}/comments").json()["data"] == []
