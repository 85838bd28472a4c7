"""Contract of a member's reports: filed, listed, withdrawn."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx2 import Response

from domain.kernel import Private
from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.reports import WORDS, code_of, decide, file, filed, own, queue
from tests.kit.torrents import accepted, uploaded


@pytest.fixture
def bob(api: Api, admin: Browser) -> Browser:
    return member(api, "bob")


# Filing


def test_file_report_lists_it_for_its_member_and_for_staff(
    alice: Browser, bob: Browser, mona: Browser
) -> None:
    reply = file(alice, "user", account_id(bob), f"  {WORDS} ", details="See the forum.")
    assert reply.status_code == 200, reply.text
    made = reply.json()
    assert made["success"] is True
    assert made["data"] == {
        "id": made["data"]["id"],
        "reporterId": str(account_id(alice)),
        "targetType": "user",
        "targetId": str(account_id(bob)),
        "reason": WORDS,
        "details": "See the forum.",
        "status": "pending",
        "createdAt": made["data"]["createdAt"],
    }
    (row,) = own(alice)["data"]
    assert (row["id"], row["reason"], row["details"]) == (
        made["data"]["id"],
        WORDS,
        "See the forum.",
    )
    assert row["target"] == {"kind": "user", "name": "bob", "link": f"/users/{account_id(bob)}"}
    assert (row["status"], row["resolver"], row["notice"]) == ("pending", None, None)
    (seen,) = queue(mona)["data"]
    assert seen["reporter"] == {"id": str(account_id(alice)), "username": "alice"}
    assert seen["owner"]["username"] == "bob"
    assert own(bob)["data"] == []


def test_file_report_accepts_both_spellings(alice: Browser, bob: Browser) -> None:
    body = {"targetType": "user", "targetId": str(account_id(bob)), "reason": WORDS}
    assert alice.post("/api/reports", json=body).status_code == 200


def test_reports_need_a_session_and_the_queue_needs_staff(
    api: Api, anonymous: Browser, alice: Browser, bob: Browser, mona: Browser, admin: Browser
) -> None:
    report = filed(alice, "user", account_id(bob))
    before = api.topics()
    assert file(anonymous, "user", account_id(bob)).status_code == 401
    assert anonymous.get("/api/me/reports").status_code == 401
    assert anonymous.delete(f"/api/me/reports/{report}").status_code == 401
    for caller, status in ((anonymous, 401), (alice, 403)):
        assert caller.get("/api/admin/reports").status_code == status
        assert decide(caller, report).status_code == status
    assert api.topics() == before
    for caller in (mona, admin):
        assert caller.get("/api/admin/reports").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"target_type": "category"},
        {"target_type": None},
        {"target_id": "bob"},
        {"target_id": None},
        {"reason": "too short"},
        {"reason": " " * 20},
        {"reason": "x" * 501},
        {"reason": "NUL in here: \0 yes"},
        {"reason": 17},
        {"details": "x" * 2001},
        {"details": "\0"},
        {"details": ["a"]},
    ],
)
def test_file_report_explains_bad_input(
    api: Api, alice: Browser, bob: Browser, change: dict[str, Any]
) -> None:
    before = api.topics()
    body = {"target_type": "user", "target_id": str(account_id(bob)), "reason": WORDS, **change}
    reply = alice.post("/api/reports", json=body)
    assert reply.status_code == 400, reply.text
    torn = b'{"target_type":"user","target_id":"%s","reason":"half \\ud800 of a pair"}'
    reply = alice.post(
        "/api/reports",
        content=torn % str(account_id(bob)).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 400
    assert api.topics() == before


def test_nobody_reports_himself(api: Api, alice: Browser) -> None:
    reply = file(alice, "user", account_id(alice))
    assert (reply.status_code, code_of(reply)) == (400, "own_report")
    assert "report.filed.1" not in api.topics()


def test_what_is_not_there_or_hidden_can_not_be_reported(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    hidden = uploaded(bob, "Hidden")["id"]
    listed = accepted(mona, bob, "Listed")
    listed_id = mona.get(f"/api/torrents/{listed}").json()["id"]
    for kind, target in (
        ("user", uuid4()),
        ("torrent", uuid4()),
        ("comment", uuid4()),
        ("post", uuid4()),
        ("topic", uuid4()),
        ("torrent", hidden),
        # Ids of other kinds of things.
        ("user", listed_id),
        ("torrent", account_id(bob)),
        ("comment", listed_id),
        ("post", listed_id),
        ("topic", account_id(bob)),
    ):
        reply = file(alice, kind, target)
        assert (reply.status_code, code_of(reply)) == (404, "target_not_found"), (kind, reply.text)
    assert "report.filed.1" not in api.topics()
    filed(mona, "torrent", hidden)
    filed(alice, "torrent", listed_id)


def test_comments_topics_and_posts_are_reported_where_they_stand(
    api: Api, alice: Browser, bob: Browser, mona: Browser, admin: Browser
) -> None:
    info_hash = accepted(mona, bob, "Listed")
    comment = bob.post(f"/api/torrents/{info_hash}/comments", json={"content": "Rude."}).json()[
        "id"
    ]
    category = admin.post("/api/forum/categories", json={"name": "General"}).json()["id"]
    started = {"categoryId": category, "title": "A topic", "content": "First."}
    topic = bob.post("/api/forum/topics", json=started).json()["id"]
    answer = {"topicId": topic, "content": "Second."}
    post = bob.post("/api/forum/posts", json=answer).json()["id"]
    for kind, target in (("comment", comment), ("topic", topic), ("post", post)):
        filed(alice, kind, target)
    shown = own(alice)["data"]
    assert [row["target"] for row in shown] == [
        {"kind": "post", "name": "A topic", "link": f"/forum/topics/{topic}#post-{post}"},
        {"kind": "topic", "name": "A topic", "link": f"/forum/topics/{topic}"},
        {"kind": "comment", "name": "Listed", "link": f"/torrents/{info_hash}#comment-{comment}"},
    ]
    assert {row["owner"]["username"] for row in queue(mona)["data"]} == {"bob"}
    assert mona.delete(f"/api/torrents/comments/{comment}").status_code == 200
    assert mona.delete(f"/api/forum/topics/{topic}").status_code == 200
    assert [row["target"]["link"] for row in own(alice)["data"][:2]] == [None, None]
    for kind, target in (("comment", comment), ("topic", topic), ("post", post)):
        reply = file(mona, kind, target)
        assert (reply.status_code, code_of(reply)) == (404, "target_not_found")


def test_a_second_report_while_the_first_is_pending_names_the_first(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    first = filed(alice, "user", account_id(bob))
    again = file(alice, "user", account_id(bob), "And he did it again today.")
    assert (again.status_code, code_of(again)) == (409, "already_reported")
    assert again.json()["data"]["report"] == first
    assert filed(mona, "user", account_id(bob)) != first
    assert decide(mona, first, "dismissed").status_code == 200
    second = filed(alice, "user", account_id(bob))
    assert alice.delete(f"/api/me/reports/{second}").status_code == 200
    filed(alice, "user", account_id(bob))
    assert api.topics().count("report.filed.1") == 4


def test_of_many_equal_reports_at_once_one_is_filed(api: Api, alice: Browser, bob: Browser) -> None:
    target, ready = account_id(bob), threading.Barrier(4)
    replies: list[Response] = []

    def send() -> None:
        caller = api.browser()
        caller.client.cookies = alice.client.cookies
        ready.wait(10)
        replies.append(file(caller, "user", target))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409]
    assert api.topics().count("report.filed.1") == 1


def test_a_repeated_request_gives_the_first_answer(alice: Browser, bob: Browser) -> None:
    body = {"target_type": "user", "target_id": str(account_id(bob)), "reason": WORDS}
    replies = [
        alice.post("/api/reports", json=body, headers={"Idempotency-Key": "one"}) for _ in range(2)
    ]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert replies[0].json()["data"]["id"] == replies[1].json()["data"]["id"]


# One's own


def test_list_own_reports_by_status_and_page(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    targets = [account_id(bob), account_id(member(api, "dora")), account_id(member(api, "carl"))]
    first, second, third = (filed(alice, "user", target) for target in targets)
    assert decide(mona, first, "resolved", resolution=" Thanks. ").status_code == 200
    assert decide(mona, second, "dismissed").status_code == 200
    page = own(alice)
    assert [row["id"] for row in page["data"]] == [third, second, first]
    assert page["counts"] == {"pending": 1, "resolved": 1, "dismissed": 1, "all": 3}
    assert page["pagination"]["total"] == 3
    resolved = own(alice, status="resolved")
    assert [row["id"] for row in resolved["data"]] == [first]
    assert resolved["pagination"]["total"] == 1
    row = resolved["data"][0]
    assert (row["resolution"], row["resolver"]["username"]) == ("Thanks.", "mona")
    assert row["notice"]["kind"] == "report_actioned"
    assert [row["id"] for row in own(alice, page=2, limit=1)["data"]] == [second]
    walked, after = [], None
    while True:
        page = own(alice, limit=1, **({"after": after} if after else {}))
        walked += [row["id"] for row in page["data"]]
        after = page["nextCursor"]
        if after is None:
            break
    assert walked == [third, second, first]
    for query in ("status=withdrawn", "limit=0", "limit=51", "page=0", "after=nonsense"):
        assert alice.get(f"/api/me/reports?{query}").status_code == 400, query


def test_withdraw_report_destroys_its_words_for_good(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    report = filed(alice, "user", account_id(bob), details="unmistakable details")
    reply = alice.delete(f"/api/me/reports/{report}")
    assert (reply.status_code, reply.json()) == (200, {"success": True})
    assert own(alice)["data"] == []
    assert own(alice)["counts"] == {"pending": 0, "resolved": 0, "dismissed": 0, "all": 0}
    assert queue(mona)["data"] == []
    (tombstone,) = queue(mona, status="withdrawn")["data"]
    assert (tombstone["id"], tombstone["reason"], tombstone["details"]) == (report, None, None)
    fact = next(
        recorded.envelope.fact
        for recorded in api.log.read(0, 1000)[0]
        if recorded.envelope.fact.TOPIC == "report.filed.1"
    )
    assert (fact.reason.text, fact.details.text) == (None, None)
    assert isinstance(fact.reason, Private)
    assert api.log.vault_get("subject_key", UUID(report), "") is None
    # Gone is gone: a second time there is nothing, for staff neither.
    assert alice.delete(f"/api/me/reports/{report}").status_code == 404
    assert decide(mona, report).status_code == 404


def test_a_withdrawn_report_is_in_no_answer_that_is_kept(
    api: Api, alice: Browser, bob: Browser
) -> None:
    body = {"target_type": "user", "target_id": str(account_id(bob)), "reason": WORDS}
    key = {"Idempotency-Key": "kept"}
    report = alice.post("/api/reports", json=body, headers=key).json()["data"]["id"]
    filing = next(
        recorded.envelope.meta.command
        for recorded in api.log.read(0, 1000)[0]
        if recorded.envelope.fact.TOPIC == "report.filed.1"
    )
    kept = api.log.answer(filing)
    assert kept is not None
    assert kept.answer is not None
    assert report.encode() in kept.answer
    assert WORDS.encode() not in kept.answer


def test_withdraw_report_is_for_its_member_while_it_is_pending(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    report = filed(alice, "user", account_id(bob))
    for caller in (bob, mona):
        reply = caller.delete(f"/api/me/reports/{report}")
        assert (reply.status_code, code_of(reply)) == (404, "report_not_found")
    assert alice.delete(f"/api/me/reports/{uuid4()}").status_code == 404
    assert alice.delete(f"/api/me/reports/{account_id(bob)}").status_code == 404
    assert alice.delete("/api/me/reports/nonsense").status_code == 400
    assert decide(mona, report, "dismissed").status_code == 200
    before = api.topics()
    reply = alice.delete(f"/api/me/reports/{report}")
    assert (reply.status_code, code_of(reply)) == (409, "report_already_decided")
    assert reply.json()["data"]["moderator"]["username"] == "mona"
    assert reply.json()["data"]["status"] == "dismissed"
    assert api.topics() == before
    assert own(alice)["data"][0]["reason"] == WORDS
