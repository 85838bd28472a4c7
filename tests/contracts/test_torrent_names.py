"""Names of torrents as the field has them: what may be a title comes back as it was sent."""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import torrent_file, upload, uploaded

TITLES = {
    "markup": "A & B <i> \"q\" 'x' ]]> &amp; &#x41; <script>alert(1)</script>",
    "latin": "Björk – Début",
    "cyrillic": "Логан",
    "ornaments": "჻★【 】",
    "right to left": "سلسلة \u202eabc\u202c \u200fשלום\u200e",
    "four bytes": "Fleurs 🌸🪷 𝔉",
    "zero width": "a\u200bb\ufeffc\u2028d",
    "separators": "Season 1/Episode 2\\extras..%2e%2e",
    "percent": "100% pure_ %s {} ${jndi:x}",
    "255 bytes": "é" * 127 + "e",
    "256 characters": "🌸" * 256,
    "decomposed": unicodedata.normalize("NFD", "Ångström Café"),
    "composed": unicodedata.normalize("NFC", "Ångström Café"),
}


@pytest.mark.parametrize("kind", TITLES)
def test_a_title_comes_back_as_it_was_sent_everywhere(
    mona: Browser, anonymous: Browser, kind: str
) -> None:
    title = TITLES[kind]
    data = uploaded(mona, "content", name=title)
    assert data["name"] == title
    info_hash = data["infoHash"]
    assert anonymous.get(f"/api/torrents/{info_hash}").json()["name"] == title
    (listed,) = anonymous.get("/api/torrents").json()["data"]
    assert listed["name"] == title
    assert parse_qs(urlsplit(data["magnetLink"]).query)["dn"] == [title]
    file = mona.get(f"/api/torrents/{info_hash}/download")
    assert file.status_code == 200
    header = file.headers["content-disposition"]
    assert header.isascii()
    assert "\r" not in header
    assert "\n" not in header
    exact = unquote(header.split("filename*=UTF-8''")[1])
    assert title.startswith(exact.removesuffix(".torrent"))
    edited = mona.patch(f"/api/torrents/{info_hash}", json={"title": title[::-1]})
    assert edited.status_code == 200, edited.text
    assert edited.json()["data"]["name"] == title[::-1].strip()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_normal_forms_of_a_name_find_each_other(
    mona: Browser, anonymous: Browser, form: Any
) -> None:
    title = unicodedata.normalize(form, "Ångström Café")
    uploaded(mona, "content", name=title)
    for wanted in ("NFC", "NFD"):
        query = unicodedata.normalize(wanted, "ångström CAFÉ")  # type: ignore[arg-type]
        found = anonymous.get("/api/torrents", params={"q": query}).json()["data"]
        assert [row["name"] for row in found] == [title], wanted


@pytest.mark.parametrize("title", ["a\0b", "a\r\nX-Evil: 1", "a\x1bb", "a\x7fb", "x" * 257])
def test_what_is_no_line_of_text_is_no_title(api: Api, alice: Browser, title: str) -> None:
    reply = upload(alice, torrent_file("content"), name=title)
    assert (reply.status_code, reply.json()["data"]["code"]) == (400, "invalid")
    info_hash = uploaded(alice)["infoHash"]
    assert alice.patch(f"/api/torrents/{info_hash}", json={"name": title}).status_code == 400
    assert api.topics().count("torrent.uploaded.1") == 1


@pytest.mark.parametrize(
    "inside",
    ["a\r\nX-Evil: 1\r\n\r\n<html>", "tab\there", "bell\x07", "long " * 51],
)
def test_a_name_inside_the_file_becomes_one_line_of_text(
    mona: Browser, anonymous: Browser, inside: str
) -> None:
    reply = upload(mona, torrent_file(inside))
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    assert data["name"] == "".join(sign if ord(sign) >= 32 else "_" for sign in inside).strip()
    header = mona.get(f"/api/torrents/{data['infoHash']}/download").headers
    assert "x-evil" not in header
    assert anonymous.get(f"/api/torrents/{data['infoHash']}").json()["name"] == data["name"]


@pytest.mark.parametrize(
    "filename",
    [
        'a"; filename="evil.exe',
        "a\\\\b.torrent",
        "../../etc/passwd.torrent",
        "a%0d%0aX-Evil: 1.torrent",
        "名前.torrent",
        "x" * 5_000 + ".torrent",
    ],
)
def test_the_name_of_the_uploaded_file_names_nothing(
    mona: Browser, anonymous: Browser, filename: str
) -> None:
    files = {"torrent": (filename, torrent_file("content"), "application/x-bittorrent")}
    reply = mona.post("/api/torrents", files=files)
    if len(filename) > 4_000:
        assert (reply.status_code, reply.json()["data"]["code"]) == (400, "bad_multipart")
        return
    assert reply.status_code == 200, reply.text
    assert reply.json()["data"]["name"] == "content"
    assert "evil" not in str(dict(reply.headers)).lower()


def test_an_upload_form_with_a_torn_header_is_refused_in_words(alice: Browser) -> None:
    for number, disposition in enumerate(
        (
            b'form-data; name="torrent"; filename="a\r\nX-Evil: 1"',
            b'form-data; name="torrent"; filename="\xff\xfe.torrent"',
            b"form-data; name=",
            b"attachment",
        )
    ):
        body = (
            b"--edge\r\nContent-Disposition: "
            + disposition
            + b"\r\n\r\n"
            + torrent_file(f"content {number}")
            + b"\r\n--edge--\r\n"
        )
        reply = alice.post(
            "/api/torrents",
            content=body,
            headers={"content-type": "multipart/form-data; boundary=edge"},
        )
        assert reply.status_code in {200, 400}, (disposition, reply.text)
        assert "x-evil" not in reply.headers
