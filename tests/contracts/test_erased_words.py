"""Words destroyed at a member's wish: what he wrote reads null, what others quoted of it stays."""

from __future__ import annotations

import psycopg

from application.ports import VaultErasure
from application.store.private_text import KIND
from projections.comments import CommentsProjection
from projections.forum import ForumProjection
from projections.rebuild import rebuild
from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.forum import answered, category, started
from tests.kit.torrents import accepted


def destroy_words(api: Api, author: Browser) -> None:
    """Destroy the author's key, and make the read models anew."""
    erasure = VaultErasure(kind=KIND, owner=account_id(author), id="")
    api.log.vault_write(erasures=[erasure])
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        for projection in (ForumProjection(), CommentsProjection()):
            rebuild(conn, api.log, projection)


def test_destroyed_words_are_null_and_quotes_of_them_stay(
    api: Api, admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    bert = member(api, "bert")
    place = category(admin)
    topic = started(bert, place, "Private matters", "my words")
    quote = answered(alice, topic["id"], "<blockquote>my words</blockquote>I agree")
    below = f"/api/torrents/{accepted(mona, alice)}/comments"
    for browser in (bert, alice):
        assert browser.post(below, json={"content": "Thanks!"}).status_code == 201
    destroy_words(api, bert)
    page = anonymous.get(f"/api/forum/topics/{topic['id']}").json()
    assert (page["title"], page["firstPostExcerpt"]) == (None, None)
    assert [each["content"] for each in page["posts"]] == [None, quote["content"]]
    (listed,) = anonymous.get("/api/forum/categories").json()
    assert (listed["lastTopic"]["title"], listed["postCount"]) == (None, 2)
    assert anonymous.get("/api/forum/stats").json()["latest"][1]["excerpt"] is None
    comments = anonymous.get(below).json()
    assert [each["content"] for each in comments["data"]] == ["Thanks!", None]
    # What is left can still be moderated, and be written anew under another key.
    first = f"/api/forum/posts/{topic['firstPost']['id']}"
    assert bert.patch(first, json={"content": "new words"}).status_code == 200
    assert anonymous.get(f"/api/forum/topics/{topic['id']}").json()["posts"][0]["content"] == (
        "new words"
    )
    assert mona.delete(first).status_code == 200
