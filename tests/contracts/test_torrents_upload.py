"""Contract of uploading a torrent and of asking before it."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from httpx2 import Response

from application.uploads import NFO_BYTES
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.corpus import ACCEPTED, REFUSED, sample
from tests.kit.processor_time import least_seconds
from tests.kit.torrents import accepted, info_hash_of, torrent_file, upload, uploaded


def code_of(reply: Response) -> str:
    return str(reply.json()["data"]["code"])


def test_upload_torrent_needs_a_session(api: Api, admin: Browser, anonymous: Browser) -> None:
    reply = upload(anonymous, torrent_file())
    assert reply.status_code == 401
    assert set(reply.json()) == {"url", "statusCode", "statusMessage", "message", "data"}
    assert "torrent.uploaded.1" not in api.topics()


def test_upload_torrent_stores_it_pending_with_its_thread(
    api: Api, admin: Browser, alice: Browser
) -> None:
    category = admin.post("/api/admin/categories", json={"name": "Books"}).json()["id"]
    reply = upload(
        alice,
        torrent_file("Leaves"),
        name="Leaves of Grass",
        description="Poems.",
        categoryId=category,
        tags=["Poetry", "poetry", "EPUB"],
        imdbId="https://www.imdb.com/title/tt0111161/",
        nfo=b"hello nfo",
    )
    assert reply.status_code == 200, reply.text
    body = reply.json()
    data = body["data"]
    assert body["success"] is True
    assert data["moderationStatus"] == "pending"
    assert data["infoHashChanged"] is False
    assert data["infoHash"] == info_hash_of(torrent_file("Leaves"))
    assert data["size"] == 100_000
    assert data["magnetLink"].startswith(f"magnet:?xt=urn:btih:{data['infoHash']}&dn=Leaves%20of")
    assert api.topics()[-2:] == ["torrent.uploaded.1", "moderation.opened.1"]
    page = alice.get(f"/api/torrents/{data['infoHash']}").json()
    assert page["name"] == "Leaves of Grass"
    assert page["category"]["slug"] == "books"
    assert [tag["slug"] for tag in page["tags"]] == ["poetry", "epub"]
    assert page["imdbId"] == "tt0111161"
    assert page["nfo"] == "hello nfo"
    assert page["files"] == [{"path": "Leaves", "length": 100_000}]
    assert page["uploader"]["username"] == "alice"


def test_upload_torrent_by_staff_is_accepted_at_once(admin: Browser, mona: Browser) -> None:
    assert uploaded(mona)["moderationStatus"] == "accepted"


def test_upload_torrent_makes_it_private_and_says_so(alice: Browser) -> None:
    original = torrent_file("Open", private=False)
    data = upload(alice, original).json()["data"]
    assert data["infoHashChanged"] is True
    assert data["originalInfoHash"] == info_hash_of(original)
    served = alice.get(f"/api/torrents/{data['infoHash']}/download").content
    assert info_hash_of(served) == data["infoHash"]
    assert b"7:privatei1e" in served
    assert b"elsewhere.example" not in served
    checked = alice.post("/api/torrents/check", json={"infoHash": info_hash_of(original)}).json()
    assert checked["exists"] is True
    assert checked["existing"]["infoHash"] == data["infoHash"]


def test_upload_torrent_twice_is_a_conflict_that_tells_nothing(
    admin: Browser, alice: Browser, api: Api
) -> None:
    uploaded(admin, "Hidden")
    info_hash = uploaded(alice, "Secret plans", description="mine")["infoHash"]
    facts = len(api.topics())
    mallory = member(api, "mallory")
    reply = upload(mallory, torrent_file("Secret plans"))
    assert reply.status_code == 409
    assert code_of(reply) == "torrent_exists"
    assert "alice" not in reply.text
    assert "mine" not in reply.text
    checked = mallory.post("/api/torrents/check", json={"infoHash": info_hash})
    assert checked.json()["exists"] is False
    assert checked.json()["existing"] is None
    assert api.topics()[facts:].count("torrent.uploaded.1") == 0


def test_upload_torrent_at_the_same_moment_stores_it_once(api: Api, alice: Browser) -> None:
    replies: list[int] = []
    content = torrent_file("Race")
    ready = threading.Barrier(2)

    def send() -> None:
        caller = api.browser()
        assert caller.log_in("alice").status_code == 200
        ready.wait(10)
        replies.append(upload(caller, content).status_code)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(replies) == [200, 409]
    assert api.topics().count("torrent.uploaded.1") == 1


def test_upload_torrent_again_with_the_same_key_answers_the_same(api: Api, alice: Browser) -> None:
    alice.client.headers["Idempotency-Key"] = "upload-1"
    first = upload(alice, torrent_file("Once"))
    second = upload(alice, torrent_file("Once"))
    other = upload(alice, torrent_file("Twice"))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 409
    assert code_of(other) == "idempotency_key_reused"
    assert api.topics().count("torrent.uploaded.1") == 1


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"name": "x" * 257}, "invalid"),
    ({"name": "two\nlines"}, "invalid"),
    ({"categoryId": "not-an-id"}, "invalid"),
    ({"categoryId": "00000000-0000-4000-8000-000000000000"}, "category_unknown"),
    ({"tags": "not json"}, "invalid"),
    ({"tags": "[" * 200_000}, "invalid"),
    ({"tags": [f"tag{number}" for number in range(11)]}, "torrent_details_invalid"),
    ({"tags": ["x" * 31]}, "torrent_details_invalid"),
    ({"tags": [1, 2]}, "invalid"),
    ({"imdbId": "nonsense"}, "media_id_invalid"),
    ({"description": "a\0b"}, "invalid"),
]


def test_upload_torrent_refuses_bad_fields(api: Api, alice: Browser) -> None:
    for fields, code in BAD_FIELDS:
        reply = upload(alice, torrent_file(), **fields)
        assert reply.status_code == 400, (fields, reply.text)
        assert code_of(reply) == code, fields
    assert "torrent.uploaded.1" not in api.topics()


def test_upload_torrent_takes_no_other_thing_for_a_category(alice: Browser) -> None:
    for thing in (uploaded(alice, "First")["id"], alice.get("/api/me").json()["id"]):
        reply = upload(alice, torrent_file("Second"), categoryId=thing)
        assert reply.status_code == 400
        assert code_of(reply) == "category_unknown"


HOSTILE = {
    "empty": b"",
    "lists": b"l" * 25_000,
    "dictionaries": b"d1:a" * 25_000,
    "long string": b"9999999999:",
    "long number": b"i" + b"9" * 1_000_000 + b"e",
    "torn": b"d4:infod6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:" + b"x" * 20,
    "html": b"<html>no torrent</html>",
}


def test_upload_torrent_names_the_fault_of_any_bytes_within_a_second(
    api: Api, alice: Browser
) -> None:
    def refused(name: str, content: bytes) -> None:
        reply = upload(alice, content)
        assert reply.status_code == 400, (name, reply.text)
        assert code_of(reply) == "torrent_file_invalid", name
        assert reply.json()["data"]["fault"], name

    for name, content in HOSTILE.items():
        assert least_seconds(partial(refused, name, content), 1) < 1, name
    assert "torrent.uploaded.1" not in api.topics()


def test_upload_torrent_refuses_what_is_too_large(api: Api, alice: Browser) -> None:
    for content, nfo in ((b"d" * (10 * 1024 * 1024 + 1), None), (torrent_file(), b"n" * 262_145)):
        reply = upload(alice, content, nfo=nfo)
        assert reply.status_code == 413, reply.text
    assert upload(alice, b"d" * 13_000_000).status_code == 413
    assert "torrent.uploaded.1" not in api.topics()


BROKEN_FORMS = [
    ("multipart/form-data", b"no boundary", 400),
    ("multipart/form-data; boundary=x", b"--y\r\n\r\n--y--", 400),
    ("multipart/form-data; boundary=x", b"--x\r\nbroken", 400),
    ("application/json", b"{}", 415),
    ("text/plain", b"hello", 415),
]


def test_upload_torrent_takes_the_longest_description_of_any_script(alice: Browser) -> None:
    reply = upload(alice, torrent_file(), description="漢" * 100_000)
    assert reply.status_code == 200, reply.text
    page = alice.get(f"/api/torrents/{reply.json()['data']['infoHash']}").json()
    assert page["description"] == "漢" * 100_000
    field = {"torrent": ("a.torrent", torrent_file("Another"))}
    too_large = alice.post("/api/torrents", data={"nfo": "n" * (NFO_BYTES + 1)}, files=field)
    assert (too_large.status_code, code_of(too_large)) == (413, "nfo_too_large")


def test_upload_torrent_refuses_broken_forms(alice: Browser) -> None:
    for kind, body, status in BROKEN_FORMS:
        reply = alice.post("/api/torrents", content=body, headers={"Content-Type": kind})
        assert reply.status_code == status, (kind, body, reply.text)
        assert reply.json()["data"]["code"]


def test_upload_torrent_takes_any_part_named_as_a_torrent_file(alice: Browser) -> None:
    files = {"file": ("My.TORRENT", torrent_file("By name"), "application/octet-stream")}
    assert alice.post("/api/torrents", files=files).status_code == 200
    missing = alice.post("/api/torrents", files={"file": ("readme.txt", b"x", "text/plain")})
    assert missing.status_code == 400
    assert code_of(missing) == "torrent_file_missing"


def test_upload_torrent_takes_or_refuses_in_words_what_clients_take(alice: Browser) -> None:
    for case in ACCEPTED:
        reply = upload(alice, case.read(), name="corpus")
        if reply.status_code == 409:
            # Some of the corpus differ outside of `info` only, so they are one torrent.
            continue
        assert reply.status_code in {200, 400}, (case.name, reply.text)
        if reply.status_code == 400:
            assert code_of(reply) == "torrent_file_invalid", case.name
            continue
        data = reply.json()["data"]
        served = alice.get(f"/api/torrents/{data['infoHash']}/download").content
        if case.v1_if_private:
            assert data["infoHash"] == case.v1_if_private == info_hash_of(served), case.name
        else:
            assert data["infoHashV2"][:40] == data["infoHash"], case.name
        assert data["infoHashChanged"] is not case.is_private, case.name


def test_upload_torrent_refuses_what_clients_refuse(api: Api, alice: Browser) -> None:
    for case in REFUSED:
        reply = upload(alice, case.read(), name="corpus")
        assert reply.status_code == 400, (case.name, reply.text)
        assert code_of(reply) == "torrent_file_invalid", case.name
    assert "torrent.uploaded.1" not in api.topics()


def test_check_torrent_finds_by_file_and_by_each_hash(mona: Browser, alice: Browser) -> None:
    data = upload(mona, sample("hybrid-single")).json()["data"]
    by_file = alice.post(
        "/api/torrents/check", files={"torrent": ("a.torrent", sample("hybrid-single"))}
    )
    assert by_file.status_code == 200, by_file.text
    body = by_file.json()
    assert body["infoHash"] == data["infoHash"]
    assert body["originalInfoHash"] == data["originalInfoHash"]
    assert body["existing"]["name"] == data["name"]
    for known in (data["infoHash"].upper(), data["infoHashV2"], data["infoHashV2"][:40]):
        found = alice.post("/api/torrents/check", json={"infoHash": known}).json()
        assert found["exists"] is True, known
    free = alice.post("/api/torrents/check", json={"infoHash": "0" * 40}).json()
    assert (free["exists"], free["existing"]) == (False, None)


def test_check_torrent_refuses_strangers_and_nonsense(
    admin: Browser, alice: Browser, anonymous: Browser
) -> None:
    assert anonymous.post("/api/torrents/check", json={"infoHash": "0" * 40}).status_code == 401
    assert alice.post("/api/torrents/check", json={"infoHash": "xyz"}).status_code == 400
    assert (
        alice.post(
            "/api/torrents/check", content=b"{", headers={"Content-Type": "application/json"}
        ).status_code
        == 400
    )
    assert (
        alice.post("/api/torrents/check", files={"torrent": ("a.torrent", b"junk")}).status_code
        == 400
    )
    assert alice.post("/api/torrents/check", content=b"x").status_code == 415
    listed = alice.post("/api/torrents/check", json=["0" * 40])
    assert listed.status_code == 400
    assert listed.json()["message"].startswith("body: ")
    assert alice.post("/api/torrents/check", json=["0" * 40] * 100).status_code == 413


def test_check_torrent_shows_a_pending_one_to_its_uploader_and_staff(
    admin: Browser, alice: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    for caller in (alice, admin):
        reply = caller.post("/api/torrents/check", json={"infoHash": info_hash}).json()
        assert reply["existing"]["moderationStatus"] == "pending"
    accepted(admin, alice, "Another")
