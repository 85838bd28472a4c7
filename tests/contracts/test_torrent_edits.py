"""Contract of editing a torrent, replacing its tags, and taking it out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from httpx2 import Response

from domain import moderation
from domain.kernel import Fact
from tests.kit.accounts import account_id, grant, member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded

NOBODY = "0" * 40


def edit(caller: Browser, info_hash: str, **fields: Any) -> Response:
    return caller.patch(f"/api/torrents/{info_hash}", json=fields)


def retag(caller: Browser, info_hash: str, **fields: Any) -> Response:
    return caller.put(f"/api/torrents/{info_hash}/tags", json=fields)


def code_of(reply: Response) -> str:
    return str(reply.json()["data"]["code"])


def thread(caller: Browser, info_hash: str) -> Any:
    return caller.get(f"/api/torrents/{info_hash}/moderation/messages").json()


def moderate(mona: Browser, info_hash: str, action: str, message: str = "Because.") -> None:
    reply = mona.post(f"/api/mod/torrents/{info_hash}/{action}", json={"message": message})
    assert reply.status_code == 200, reply.text


CALLS: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"name": "Other"}),
    ("PUT", "/tags", {"tags": ["other"]}),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "below", "body"), CALLS)
def test_changing_a_torrent_is_for_its_uploader_and_moderators(
    api: Api, alice: Browser, mona: Browser, anonymous: Browser, method: str, below: str, body: Any
) -> None:
    bob = member(api, "bob")
    hidden = uploaded(alice, "Hidden")["infoHash"]
    info_hash = accepted(mona, alice)
    before = api.topics()

    def send(caller: Browser, torrent: str) -> Response:
        return caller.request(method, f"/api/torrents/{torrent}{below}", json=body)

    assert send(anonymous, info_hash).status_code == 401
    refused = send(bob, info_hash)
    assert (refused.status_code, code_of(refused)) == (403, "torrent_not_yours")
    for torrent in (hidden, NOBODY, "not-a-hash"):
        missing = send(bob, torrent)
        assert (missing.status_code, code_of(missing)) == (404, "torrent_not_found"), torrent
    assert api.topics() == before
    assert send(mona, hidden).status_code == 200
    assert send(alice, info_hash).status_code == 200


def test_edit_torrent_changes_what_it_names_and_nothing_else(
    api: Api, admin: Browser, alice: Browser
) -> None:
    category = admin.post("/api/admin/categories", json={"name": "Books"}).json()
    info_hash = uploaded(
        alice, "Leaves", description="Poems.", imdbId="tt0111161", tags=["Poetry"]
    )["infoHash"]
    reply = edit(
        alice, info_hash, title="Leaves of Grass", categoryId=category["id"], tmdbId="movie/278"
    )
    assert reply.status_code == 200, reply.text
    assert reply.json()["success"] is True
    assert reply.json()["revertedToPending"] is False
    data = reply.json()["data"]
    assert (data["name"], data["description"], data["version"]) == ("Leaves of Grass", "Poems.", 2)
    assert data["category"]["slug"] == "books"
    assert (data["imdbId"], data["tmdbId"]) == ("tt0111161", "movie/278")
    assert [tag["name"] for tag in data["tags"]] == ["Poetry"]
    page = alice.get(f"/api/torrents/{info_hash}").json()
    assert {name: page[name] for name in ("name", "description", "imdbId", "tmdbId")} == {
        name: data[name] for name in ("name", "description", "imdbId", "tmdbId")
    }
    cleared = edit(alice, info_hash, description="", categoryId="", imdbId=None, tags=[]).json()
    data = cleared["data"]
    assert (data["description"], data["categoryId"], data["imdbId"]) == ("", None, None)
    assert (data["tmdbId"], data["tags"]) == ("movie/278", [])
    assert edit(alice, info_hash, category_id=category["id"]).json()["data"]["categoryId"]
    assert api.topics().count("torrent.edited.1") == 3


def test_edit_torrent_that_changes_nothing_records_nothing(
    api: Api, alice: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, alice)
    before = api.topics()
    reply = edit(alice, info_hash, name="Leaves of Grass", tags=[])
    assert (reply.status_code, reply.json()["revertedToPending"]) == (200, False)
    assert edit(alice, info_hash).json()["data"]["version"] == 1
    assert api.topics() == before


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": ""}, "invalid"),
        ({"name": "   "}, "torrent_details_invalid"),
        ({"name": "x" * 257}, "invalid"),
        ({"name": "a\nb"}, "invalid"),
        ({"name": "a\0b"}, "invalid"),
        ({"description": "x" * 100_001}, "invalid"),
        ({"description": "a\0b"}, "invalid"),
        ({"categoryId": "movies"}, "invalid"),
        ({"categoryId": "00000000-0000-4000-8000-000000000000"}, "category_unknown"),
        ({"imdbId": "nonsense"}, "media_id_invalid"),
        ({"tags": ["x" * 31]}, "torrent_details_invalid"),
        ({"tags": [f"tag {number}" for number in range(11)]}, "torrent_details_invalid"),
        ({"tags": "poetry"}, "invalid"),
        ({"tagIds": ["00000000-0000-4000-8000-000000000000"]}, "tag_unknown"),
        ({"tags": ["00000000-0000-4000-8000-000000000000"]}, "tag_unknown"),
        ({"version": 0}, "invalid"),
    ],
)
def test_edit_torrent_explains_bad_input(
    api: Api, alice: Browser, admin: Browser, fields: dict[str, Any], code: str
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    reply = edit(alice, info_hash, **fields)
    assert (reply.status_code, code_of(reply)) == (400, code), reply.text
    assert "torrent.edited.1" not in api.topics()


def test_a_lone_surrogate_is_refused_everywhere(alice: Browser, admin: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    for field in ("name", "description", "imdbId", "categoryId"):
        reply = alice.patch(
            f"/api/torrents/{info_hash}",
            content=b'{"%s": "a\\ud800b"}' % field.encode(),
            headers={"content-type": "application/json"},
        )
        assert reply.status_code == 400, field
    reply = alice.put(
        f"/api/torrents/{info_hash}/tags",
        content=b'{"tags": ["\\ud800"]}',
        headers={"content-type": "application/json"},
    )
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("decided", "said"),
    [
        ("approve", "Edits made; returning to the moderation queue."),
        ("request-changes", "Resubmitted for review after edits."),
    ],
)
def test_an_edit_by_its_uploader_goes_back_to_the_queue_in_one_append(
    api: Api, alice: Browser, mona: Browser, anonymous: Browser, decided: str, said: str
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    moderate(mona, info_hash, decided)
    reply = edit(alice, info_hash, description="Better.").json()
    assert reply["revertedToPending"] is True
    assert reply["data"]["moderationStatus"] == "pending"
    last = api.log.read(0, 1_000)[0][-2:]
    assert [each.envelope.fact.TOPIC for each in last] == [
        "torrent.edited.1",
        "torrent.resubmitted.1",
    ]
    assert len({each.envelope.meta.command for each in last}) == 1
    told = thread(alice, info_hash)
    assert told["status"] == "pending"
    message = told["messages"][-1]
    assert (message["body"], message["isSystem"]) == (said, True)
    assert message["statusChange"] == "pending"
    assert message["author"]["username"] == "alice"
    assert anonymous.get(f"/api/torrents/{info_hash}").status_code == 404
    page = alice.get(f"/api/torrents/{info_hash}").json()
    assert (page["moderationStatus"], page["moderatedBy"]) == ("pending", None)
    assert [row["infoHash"] for row in mona.get("/api/mod/torrents/pending").json()] == [info_hash]
    again = edit(alice, info_hash, description="Best.").json()
    assert again["revertedToPending"] is False
    assert thread(alice, info_hash)["messages"][-1]["body"] == "Edited while waiting for review."
    moderate(mona, info_hash, "approve")
    assert anonymous.get(f"/api/torrents/{info_hash}").status_code == 200


def test_replace_torrent_tags_is_an_edit_too(api: Api, alice: Browser, mona: Browser) -> None:
    info_hash = accepted(mona, alice)
    reply = retag(alice, info_hash, tags=["Poetry", "poetry!", "EPUB"])
    assert reply.status_code == 200
    assert reply.json() == {
        "success": True,
        "version": 2,
        "revertedToPending": True,
        "tags": [{"name": "Poetry", "slug": "poetry"}, {"name": "EPUB", "slug": "epub"}],
    }
    ids = {tag["name"]: tag["id"] for tag in alice.get("/api/tags").json()}
    both = retag(alice, info_hash, tags=["Classic"], tagIds=[ids["EPUB"]]).json()
    assert [tag["name"] for tag in both["tags"]] == ["Classic", "EPUB"]
    by_id = retag(alice, info_hash, tags=[ids["Poetry"]]).json()
    assert [tag["name"] for tag in by_id["tags"]] == ["Poetry"]
    assert retag(alice, info_hash).json()["tags"] == []
    assert retag(alice, info_hash, tagIds=["x"]).status_code == 400
    assert retag(alice, info_hash, tagIds=[ids["EPUB"]], version=1).status_code == 409


def test_who_bypasses_moderation_edits_without_it(
    api: Api, admin: Browser, alice: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, alice)
    by_staff = edit(mona, info_hash, description="Corrected.").json()
    assert (by_staff["revertedToPending"], by_staff["data"]["moderationStatus"]) == (
        False,
        "accepted",
    )
    made = admin.post(
        "/api/admin/roles", json={"name": "Trusted", "canUploadWithoutModeration": True}
    )
    assert made.status_code in {200, 201}, made.text
    grant(api, alice, made.json()["id"])
    assert alice.log_in("alice").status_code == 200
    trusted = edit(alice, info_hash, description="Trusted.").json()
    assert trusted["revertedToPending"] is False
    assert "torrent.resubmitted.1" not in api.topics()


def test_a_rejected_torrent_is_frozen(api: Api, alice: Browser, mona: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    moderate(mona, info_hash, "reject")
    before = api.topics()
    for caller in (alice, mona):
        for reply in (edit(caller, info_hash, name="Other"), retag(caller, info_hash, tags=["a"])):
            assert (reply.status_code, code_of(reply)) == (409, "torrent_is_rejected")
            assert reply.json()["data"]["moderator"]["username"] == "mona"
    refused = alice.delete(f"/api/torrents/{info_hash}")
    assert (refused.status_code, code_of(refused)) == (409, "torrent_is_rejected")
    assert api.topics() == before
    assert mona.delete(f"/api/torrents/{info_hash}").status_code == 200


def test_edits_at_once_apply_one_after_the_other(api: Api, alice: Browser, mona: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    together(
        lambda: edit(alice, info_hash, description="From Alice."),
        lambda: edit(mona, info_hash, name="From Mona"),
    )
    page = alice.get(f"/api/torrents/{info_hash}").json()
    assert (page["name"], page["description"]) == ("From Mona", "From Alice.")
    assert api.topics().count("torrent.edited.1") == 2


def test_of_two_edits_of_one_version_one_wins(api: Api, alice: Browser, mona: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    replies = together(
        lambda: edit(alice, info_hash, name="From alice", version=1),
        lambda: edit(mona, info_hash, name="From mona", version=1),
    )
    assert sorted(reply.status_code for reply in replies) == [200, 409]
    lost = next(reply for reply in replies if reply.status_code == 409)
    data = lost.json()["data"]
    winner = data["editor"]["username"]
    assert (data["code"], data["version"]) == ("torrent_edited_meanwhile", 2)
    assert alice.get(f"/api/torrents/{info_hash}").json()["name"] == f"From {winner}"
    assert edit(alice, info_hash, name="Again", version=2).status_code == 200


def test_an_edit_and_an_approval_at_once_leave_a_state_that_was_decided(
    api: Api, alice: Browser, mona: Browser
) -> None:
    for number in range(4):
        info_hash = uploaded(alice, f"Race {number}")["infoHash"]
        moderate(mona, info_hash, "request-changes")
        edited, approved = together(
            partial(edit, alice, info_hash, description="Better."),
            partial(mona.post, f"/api/mod/torrents/{info_hash}/approve"),
        )
        assert edited.status_code == 200
        told = thread(alice, info_hash)
        changes = [each["statusChange"] for each in told["messages"] if each["statusChange"]]
        if approved.status_code == 409:
            # The moderator saw what the edit had ended.
            assert (code_of(approved), changes[1:]) == ("moderated_meanwhile", ["pending"])
        else:
            assert sorted(changes[1:]) == ["accepted", "pending"]
        assert told["status"] == changes[-1]


@pytest.mark.parametrize("decided", ["approve", "reject"])
def test_an_edit_that_a_decision_overtakes_is_decided_anew(
    api: Api, alice: Browser, mona: Browser, monkeypatch: pytest.MonkeyPatch, decided: str
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    resubmit: Callable[..., list[Fact]] = moderation.resubmit_torrent
    waiting = [decided]

    def overtaken(*args: Any, **asked: Any) -> list[Fact]:
        # The edit has loaded what it changes; now the moderator is faster.
        if waiting:
            moderate(mona, info_hash, waiting.pop())
        return resubmit(*args, **asked)

    monkeypatch.setattr(moderation, "resubmit_torrent", overtaken)
    reply = edit(alice, info_hash, description="Unseen.")
    page = alice.get(f"/api/torrents/{info_hash}").json()
    if decided == "approve":
        assert (reply.status_code, reply.json()["revertedToPending"]) == (200, True)
        assert (page["moderationStatus"], page["description"]) == ("pending", "Unseen.")
    else:
        assert (reply.status_code, code_of(reply)) == (409, "torrent_is_rejected")
        assert "torrent.edited.1" not in api.topics()


def together(*calls: Any) -> list[Response]:
    """All at once; their answers in order."""
    ready = threading.Barrier(len(calls))
    replies: dict[int, Response] = {}

    def send(number: int) -> None:
        ready.wait(10)
        replies[number] = calls[number]()

    threads = [threading.Thread(target=send, args=[number]) for number in range(len(calls))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    return [replies[number] for number in range(len(calls))]


def test_withdraw_torrent_hides_it_closes_its_thread_and_frees_its_hash(
    api: Api, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    info_hash = accepted(mona, alice)
    reply = alice.delete(f"/api/torrents/{info_hash}")
    assert reply.status_code == 200
    assert reply.json()["data"] == {"infoHash": info_hash, "name": "Leaves of Grass"}
    assert api.topics()[-2:] == ["torrent.withdrawn.1", "moderation.closed.1"]
    for caller in (alice, mona, anonymous):
        assert caller.get(f"/api/torrents/{info_hash}").status_code == 404
        assert caller.get("/api/torrents").json()["data"] == []
    assert alice.get(f"/api/torrents/{info_hash}/download").status_code == 404
    assert alice.delete(f"/api/torrents/{info_hash}").status_code == 404
    assert edit(alice, info_hash, name="Ghost").status_code == 404
    with api.services.reads.connection() as connection:
        (state,) = connection.execute(
            "SELECT withdrawn FROM access_3.torrents WHERE canonical = %s",
            [bytes.fromhex(info_hash)],
        ).fetchone() or (None,)
    assert state is True
    assert uploaded(member(api, "carol"))["infoHash"] == info_hash


def test_withdraw_torrent_twice_at_once_records_it_once(
    api: Api, alice: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, alice)
    replies = together(
        lambda: alice.delete(f"/api/torrents/{info_hash}"),
        lambda: mona.delete(f"/api/torrents/{info_hash}"),
    )
    assert sorted(reply.status_code for reply in replies) == [200, 404]
    assert api.topics().count("torrent.withdrawn.1") == 1


def test_the_history_of_edits_is_in_the_log(api: Api, alice: Browser, mona: Browser) -> None:
    info_hash = uploaded(alice)["infoHash"]
    edit(alice, info_hash, name="First")
    edit(mona, info_hash, name="Second")
    edits = [
        (each.envelope.fact.name, each.envelope.meta.actor)
        for each in api.log.read(0, 1_000)[0]
        if each.envelope.fact.TOPIC == "torrent.edited.1"
    ]
    assert edits == [("First", account_id(alice)), ("Second", account_id(mona))]
