"""Bytes, texts and moments that broke other catalogues: refused in words, and nothing changed."""

from __future__ import annotations

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bencodepy import encode

from tests.contracts.test_torrents_upload import HOSTILE
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.forum import category as forum_category
from tests.kit.forum import started
from tests.kit.processor_time import least_seconds
from tests.kit.torrents import accepted, info_hash_of, torrent_file, upload


@pytest.mark.parametrize("kind", HOSTILE)
def test_bytes_that_killed_others_are_refused_before_an_upload_too(
    alice: Browser, kind: str
) -> None:
    """rqbit issue 660, in the question before the upload."""
    files = {"torrent": ("a.torrent", HOSTILE[kind], "x/y")}

    def check() -> None:
        reply = alice.post("/api/torrents/check", files=files)
        assert reply.status_code == 400, reply.text
        assert reply.json()["data"]["code"] == "torrent_file_invalid"

    assert least_seconds(check, 1) < 1
    assert alice.post("/api/torrents/check", json={"infoHash": "0" * 40}).status_code == 200


def test_paths_inside_a_file_are_shown_as_lines_of_text(mona: Browser, anonymous: Browser) -> None:
    paths = [["a\r\nX-Evil: 1", "b\x1b[2J.txt"], ["\u202egpj.exe"], ["]]> & <i>.mkv"], ["🌸.flac"]]
    info = {
        "files": [{"length": 4096, "path": path} for path in paths],
        "name": "Shelf",
        "piece length": 16_384,
        "pieces": bytes(20),
        "private": 1,
    }
    reply = upload(mona, bytes(encode({"info": info})))
    assert reply.status_code == 200, reply.text
    page = anonymous.get(f"/api/torrents/{reply.json()['data']['infoHash']}").json()
    shown = [file["path"] for file in page["files"]]
    assert shown == [
        "Shelf/a__X-Evil: 1/b_[2J.txt",
        "Shelf/_gpj.exe",
        "Shelf/]]> & <i>.mkv",
        "Shelf/🌸.flac",
    ]


def sent_as_form(browser: Browser, field: str, value: bytes, charset: str = "") -> Any:
    """An upload whose one text field is these bytes."""
    form = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part
        for part in (
            (b"torrent", b'; filename="a.torrent"', torrent_file(secrets.token_hex(4))),
            (field.encode(), b"", value),
        )
    )
    kind = f"multipart/form-data; boundary=edge{charset}"
    return browser.post(
        "/api/torrents", content=form + b"--edge--\r\n", headers={"content-type": kind}
    )


def test_half_a_surrogate_pair_is_no_text_of_an_upload(api: Api, alice: Browser) -> None:
    """Nor is anything else that is not UTF-8: no title may be recorded that nobody wrote."""
    for field in ("name", "description", "categoryId", "tags", "imdbId", "nfo"):
        for half in (b"\xed\xa0\x80", b"\xf0\x9f\x8c", b"\xff"):
            value = b'["a%sb"]' % half if field == "tags" else b"a%sb" % half
            reply = sent_as_form(alice, field, value)
            assert reply.status_code == 400, (field, half, reply.text)
            assert reply.json()["data"]["code"] == "bad_multipart"
            assert "UTF-8" in reply.json()["message"]
    assert sent_as_form(alice, "tags", b'["a\\ud800b"]').status_code == 400
    assert "torrent.uploaded.1" not in api.topics()


@pytest.mark.parametrize(
    "charset", ["utf-7", "unicode_escape", "utf-16", "latin-1", "hex", "none-such"]
)
def test_no_charset_makes_half_a_pair_of_sound_text(mona: Browser, charset: str) -> None:
    """Fields are UTF-8 whatever the form claims, as browsers send them."""
    reply = sent_as_form(mona, "name", "Логан a+2AA-b \\ud800".encode(), f"; charset={charset}")
    assert reply.status_code == 200, reply.text
    assert reply.json()["data"]["name"] == "Логан a+2AA-b \\ud800"


def test_half_a_surrogate_pair_is_no_text_of_a_community(
    api: Api, admin: Browser, mona: Browser, alice: Browser
) -> None:
    """Written as JSON escapes, which are text to a parser and nothing to a database."""
    info_hash = accepted(mona, alice, "Film")
    general = forum_category(admin)
    topic = started(alice, general, "Hello", "You")
    post = topic["firstPost"]["id"]
    sent: list[tuple[Browser, str, str, dict[str, Any]]] = [
        (alice, "POST", f"/api/torrents/{info_hash}/comments", {"content": "?"}),
        (alice, "POST", f"/api/torrents/{info_hash}/moderation/messages", {"body": "?"}),
        (alice, "POST", "/api/forum/topics", {"categoryId": general, "title": "?", "content": "x"}),
        (alice, "POST", "/api/forum/topics", {"categoryId": general, "title": "x", "content": "?"}),
        (alice, "POST", "/api/forum/posts", {"topicId": topic["id"], "content": "?"}),
        (alice, "PATCH", f"/api/forum/posts/{post}", {"content": "?"}),
        (
            alice,
            "POST",
            "/api/reports",
            {"targetType": "torrent", "targetId": info_hash, "reason": "other", "details": "?"},
        ),
        (mona, "POST", f"/api/mod/torrents/{info_hash}/reject", {"message": "?"}),
        (admin, "POST", "/api/admin/categories", {"name": "?"}),
        (admin, "POST", "/api/admin/tags", {"name": "?"}),
        (admin, "POST", "/api/forum/categories", {"name": "?"}),
    ]
    head = api.log.head()
    for caller, method, path, body in sent:
        reply = caller.request(
            method,
            path,
            content=json.dumps(body).replace("?", "a\\ud83cb"),
            headers={"content-type": "application/json"},
        )
        assert (reply.status_code, reply.json()["data"]["code"]) == (400, "invalid"), (path, reply)
    assert api.log.head() == head


def test_a_torrent_deleted_while_members_download_it_breaks_nothing(
    api: Api, mona: Browser, alice: Browser
) -> None:
    """Whoever asked in time has a whole file; later there is nothing; and it may come again."""
    info_hash = accepted(mona, alice, "Film")
    path = f"/api/torrents/{info_hash}"
    readers = [member(api, name) for name in ("bob", "carol", "dave")]
    assert readers[0].post(f"{path}/favorite").status_code == 200
    assert readers[0].post(f"{path}/comments", json={"content": "Good."}).status_code == 201
    # All have a file before it goes, and go on asking.
    ready = threading.Barrier(len(readers) + 1)

    def read(browser: Browser) -> list[Any]:
        replies = [browser.get(f"{path}/download")]
        ready.wait(30)
        deadline = time.monotonic() + 20
        while replies[-1].status_code != 404 and time.monotonic() < deadline:
            replies.append(browser.get(f"{path}/download"))
        return replies

    def delete() -> Any:
        ready.wait(30)
        return alice.delete(path)

    with ThreadPoolExecutor(len(readers) + 1) as pool:
        deleted = pool.submit(delete)
        read_by = [future.result(60) for future in [pool.submit(read, each) for each in readers]]
    assert deleted.result(60).status_code == 200
    for replies in read_by:
        assert [reply.status_code for reply in replies] == [200] * (len(replies) - 1) + [404]
        assert len(replies) > 1
        for reply in replies[:-1]:
            assert info_hash_of(reply.content) == info_hash
            assert int(reply.headers["content-length"]) == len(reply.content)
        assert replies[-1].json()["data"]["code"] == "torrent_not_found"
    for browser in (*readers, alice, mona):
        for below in ("", "/download", "/comments", "/moderation/messages", "/cross-seeds"):
            assert browser.get(path + below).status_code == 404, below
    assert readers[0].get("/api/me/favorites").json()["data"] == []
    again = upload(readers[1], torrent_file("Film"))
    assert again.status_code == 200, again.text
    assert again.json()["data"]["infoHash"] == info_hash
    assert mona.post(f"/api/mod/torrents/{info_hash}/approve").status_code == 200
    for browser in readers:
        assert info_hash_of(browser.get(f"{path}/download").content) == info_hash
        assert browser.get(f"{path}/comments").json()["data"] == []
