"""Contract of the moderation queue, its decisions and threads."""

from __future__ import annotations

import threading

from httpx2 import Response

from tests.kit.accounts import member, moderator
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded

DECISIONS = ("approve", "request-changes", "reject", "reset")


def code_of(reply: Response) -> str:
    return str(reply.json()["data"]["code"])


def decide(
    caller: Browser, info_hash: str, decision: str, message: str = "Because.", **more: str | int
) -> Response:
    return caller.post(
        f"/api/mod/torrents/{info_hash}/{decision}", json={"message": message, **more}
    )


def test_moderation_is_for_moderators(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    before = api.topics()
    for caller, status in ((anonymous, 401), (alice, 403)):
        assert caller.get("/api/mod/torrents/pending").status_code == status
        for decision in DECISIONS:
            assert decide(caller, info_hash, decision).status_code == status
    assert api.topics() == before


def test_moderation_of_a_missing_torrent_is_not_found(mona: Browser) -> None:
    for wanted in ("0" * 40, "nonsense"):
        for decision in DECISIONS:
            reply = decide(mona, wanted, decision)
            assert (reply.status_code, code_of(reply)) == (404, "torrent_not_found")


def test_list_pending_torrents_newest_first(api: Api, mona: Browser, alice: Browser) -> None:
    for name in ("One", "Two", "Three"):
        uploaded(alice, name)
    accepted(mona, alice, "Four")
    two = next(row for row in mona.get("/api/mod/torrents/pending").json() if row["name"] == "Two")
    assert decide(mona, two["infoHash"], "reject").status_code == 200
    rows = mona.get("/api/mod/torrents/pending").json()
    assert [(row["name"], row["moderationStatus"]) for row in rows] == [
        ("Three", "pending"),
        ("Two", "rejected"),
        ("One", "pending"),
    ]
    assert rows[1]["moderatedBy"]["username"] == "mona"
    assert rows[1]["uploader"]["username"] == "alice"
    only = mona.get("/api/mod/torrents/pending?status=rejected").json()
    assert [row["name"] for row in only] == ["Two"]
    assert [row["name"] for row in mona.get("/api/mod/torrents/pending?limit=1&page=3").json()] == [
        "One"
    ]
    for query in ("status=lost", "limit=0", "limit=101", "page=0"):
        assert mona.get(f"/api/mod/torrents/pending?{query}").status_code == 400


def test_approve_torrent_lists_it_as_the_newest(
    mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    first = uploaded(alice, "First")["infoHash"]
    accepted(mona, alice, "Second")
    reply = mona.post(f"/api/mod/torrents/{first}/approve")
    assert reply.status_code == 200, reply.text
    torrent = reply.json()["torrent"]
    assert reply.json()["success"] is True
    assert (torrent["moderationStatus"], torrent["isApproved"]) == ("accepted", True)
    assert torrent["moderatedBy"]["username"] == "mona"
    rows = anonymous.get("/api/torrents").json()["data"]
    assert [row["name"] for row in rows] == ["First", "Second"]
    thread = alice.get(f"/api/torrents/{first}/moderation/messages").json()
    assert thread["status"] == "accepted"
    (message,) = thread["messages"]
    assert message["body"] == "Approved."
    assert message["isSystem"] is True
    assert message["statusChange"] == "accepted"


def test_moderation_walks_through_its_states(mona: Browser, alice: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    for decision, status, code in (
        ("reset", 409, "torrent_not_rejected"),
        ("request-changes", 200, "changes_requested"),
        ("approve", 200, "accepted"),
        ("approve", 409, "torrent_already_accepted"),
        ("reject", 200, "rejected"),
        ("approve", 409, "torrent_is_rejected"),
        ("request-changes", 409, "torrent_is_rejected"),
        ("reject", 409, "torrent_is_rejected"),
        ("reset", 200, "pending"),
        ("reject", 200, "rejected"),
    ):
        reply = decide(mona, info_hash, decision)
        assert reply.status_code == status, (decision, reply.text)
        if status == 200:
            assert reply.json()["torrent"]["moderationStatus"] == code
        else:
            assert code_of(reply) == code
            assert reply.json()["data"]["status"]
    reply = mona.post(
        f"/api/mod/torrents/{info_hash}/reset", json={"message": "Fine.", "to": "accepted"}
    )
    assert reply.json()["torrent"]["moderationStatus"] == "accepted"
    messages = alice.get(f"/api/torrents/{info_hash}/moderation/messages").json()["messages"]
    assert [message["statusChange"] for message in messages] == [
        "changes_requested",
        "accepted",
        "rejected",
        "pending",
        "rejected",
        "accepted",
    ]
    assert messages[-1]["body"] == "Fine."
    assert messages[-1]["isSystem"] is False
    assert messages[-1]["author"] == {
        "id": messages[-1]["authorId"],
        "username": "mona",
        "isAdmin": False,
        "isModerator": True,
    }


def test_decisions_need_words_but_approval_does_not(
    api: Api, mona: Browser, alice: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    before = api.topics()
    for decision in ("request-changes", "reject"):
        for body in (
            {},
            {"message": ""},
            {"message": "  \n"},
            {"message": "x" * 4001},
            {"message": 5},
            {"message": "a\0"},
        ):
            reply = mona.post(f"/api/mod/torrents/{info_hash}/{decision}", json=body)
            assert reply.status_code == 400, (decision, body, reply.text)
        assert mona.post(f"/api/mod/torrents/{info_hash}/{decision}").status_code == 400
    torn = mona.post(
        f"/api/mod/torrents/{info_hash}/reject",
        content=b'{"message": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert torn.status_code == 400
    bad = mona.post(f"/api/mod/torrents/{info_hash}/reset", json={"message": "x", "to": "rejected"})
    assert bad.status_code == 400
    assert api.topics() == before
    assert mona.post(f"/api/mod/torrents/{info_hash}/approve", json={}).status_code == 200


def test_two_moderators_at_once_one_wins_and_the_other_learns_who(
    api: Api, admin: Browser, alice: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    callers = {name: moderator(api, name) for name in ("mona", "milo")}
    ready = threading.Barrier(2)
    replies: dict[str, Response] = {}

    def act(name: str, decision: str) -> None:
        ready.wait(10)
        replies[name] = decide(callers[name], info_hash, decision, expectedStatus="pending")

    threads = [
        threading.Thread(target=act, args=pair)
        for pair in (("mona", "approve"), ("milo", "reject"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(reply.status_code for reply in replies.values()) == [200, 409]
    winner, loser = sorted(replies, key=lambda name: replies[name].status_code)
    data = replies[loser].json()["data"]
    assert data["moderator"]["username"] == winner
    won = replies[winner].json()["torrent"]["moderationStatus"]
    assert data["status"] == won
    topics = api.topics()
    assert topics.count("torrent.approved.1") + topics.count("torrent.rejected.1") == 1


def test_a_decision_upon_an_old_page_is_a_conflict(api: Api, mona: Browser, alice: Browser) -> None:
    info_hash = accepted(mona, alice)
    reply = decide(mona, info_hash, "reject", expectedStatus="pending")
    assert (reply.status_code, code_of(reply)) == (409, "moderated_meanwhile")
    assert reply.json()["data"]["moderator"]["username"] == "mona"
    assert reply.json()["data"]["status"] == "accepted"
    assert decide(mona, info_hash, "reject", expectedStatus="accepted").status_code == 200


def test_a_decision_upon_what_was_edited_since_is_a_conflict(
    api: Api, mona: Browser, alice: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    thread = f"/api/torrents/{info_hash}/moderation/messages"
    assert mona.get(thread).json()["version"] == 1
    edit = alice.patch(f"/api/torrents/{info_hash}", json={"description": "Other words."})
    assert edit.json()["data"]["version"] == mona.get(thread).json()["version"] == 2
    before = api.topics()
    for decision in ("approve", "request-changes", "reject"):
        reply = decide(mona, info_hash, decision, version=1)
        assert (reply.status_code, code_of(reply)) == (409, "torrent_edited_meanwhile")
        told = reply.json()["data"]
        assert (told["editor"]["username"], told["version"]) == ("alice", 2)
        assert decide(mona, info_hash, decision, version=0).status_code == 400
    assert api.topics() == before
    assert decide(mona, info_hash, "approve", version=2).status_code == 200
    assert decide(mona, info_hash, "reject", version=2).status_code == 200


def test_post_moderation_message_by_both_sides(mona: Browser, alice: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    path = f"/api/torrents/{info_hash}/moderation/messages"
    assert decide(mona, info_hash, "request-changes", "No NFO?").status_code == 200
    posted = alice.post(path, json={"body": "  Added. & <b>here</b> "})
    assert posted.status_code == 200, posted.text
    message = posted.json()["message"]
    assert message["body"] == "Added. & <b>here</b>"
    assert message["statusChange"] is None
    assert mona.post(path, json={"message": "Thanks."}).status_code == 200
    thread = mona.get(path).json()
    assert thread["status"] == "changes_requested"
    assert [row["body"] for row in thread["messages"]] == [
        "No NFO?",
        "Added. & <b>here</b>",
        "Thanks.",
    ]
    assert thread["messages"][1] == message


def test_the_thread_does_not_exist_for_outsiders(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    bob = member(api, "bob")
    pending, listed = uploaded(alice, "Pending")["infoHash"], accepted(mona, alice, "Listed")
    before = api.topics()
    for info_hash in (pending, listed, "0" * 40):
        path = f"/api/torrents/{info_hash}/moderation/messages"
        for caller, status in ((anonymous, 401), (bob, 404)):
            assert caller.get(path).status_code == status
            assert caller.post(path, json={"body": "Hello"}).status_code == status
    assert api.topics() == before


def test_post_moderation_message_refuses_bad_words(api: Api, alice: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    before = api.topics()
    for body in (
        {},
        {"body": ""},
        {"body": "   "},
        {"body": "x" * 4001},
        {"body": None},
        {"body": "a\0b"},
        [],
    ):
        reply = alice.post(f"/api/torrents/{info_hash}/moderation/messages", json=body)
        assert reply.status_code == 400, body
    assert api.topics() == before


def test_words_of_moderation_are_not_in_the_log_in_clear(
    api: Api, mona: Browser, alice: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    assert decide(mona, info_hash, "reject", "unmistakable words").status_code == 200
    fact = api.log.read(0, 1000)[0][-1].envelope.fact
    assert fact.message.text == "unmistakable words"
    assert "unmistakable" not in repr(fact)
