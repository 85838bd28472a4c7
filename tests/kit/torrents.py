"""Torrents of a test's site: small files, and uploads over HTTP as a member makes them."""

from __future__ import annotations

import json
from hashlib import sha1
from typing import Any

from bencodepy import encode
from httpx2 import Response

from tests.kit.browser import Browser


def torrent_file(
    name: str = "Leaves of Grass", *, private: bool = True, size: int = 100_000, **outer: Any
) -> bytes:
    """A .torrent of one file; another name gives another info hash."""
    pieces = b"".join(sha1(b"%d" % number).digest() for number in range(-(-size // 16_384)))
    info: dict[str, Any] = {
        "length": size,
        "name": name,
        "piece length": 16_384,
        "pieces": pieces,
    }
    if private:
        info["private"] = 1
    return bytes(encode({"announce": "http://elsewhere.example/announce", "info": info, **outer}))


def info_hash_of(content: bytes) -> str:
    """The v1 hash of the raw `info`, found without any of our code."""
    start = content.index(b"4:info") + 6
    return sha1(content[start : _end_of(content, start)]).hexdigest()


def _end_of(content: bytes, at: int) -> int:
    kind = content[at : at + 1]
    if kind == b"i":
        return content.index(b"e", at) + 1
    if kind in b"ld":
        at += 1
        while content[at : at + 1] != b"e":
            at = _end_of(content, at)
        return at + 1
    colon = content.index(b":", at)
    return colon + 1 + int(content[at:colon])


def upload(browser: Browser, content: bytes, **fields: Any) -> Response:
    """Send the upload form. `nfo` is a file's bytes; lists become JSON."""
    files = {"torrent": ("upload.torrent", content, "application/x-bittorrent")}
    nfo = fields.pop("nfo", None)
    if nfo is not None:
        files["nfo"] = ("release.nfo", nfo, "text/plain")
    form = {
        name: json.dumps(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }
    return browser.post("/api/torrents", data=form, files=files)


def uploaded(browser: Browser, name: str = "Leaves of Grass", /, **fields: Any) -> dict[str, Any]:
    """Upload a torrent of that name; the `data` of the answer."""
    reply = upload(browser, torrent_file(name), **fields)
    assert reply.status_code == 200, reply.text
    data: dict[str, Any] = reply.json()["data"]
    return data


def accepted(moderator: Browser, uploader: Browser, name: str = "Leaves of Grass") -> str:
    """Upload a torrent and approve it; its info hash."""
    info_hash: str = uploaded(uploader, name)["infoHash"]
    reply = moderator.post(f"/api/mod/torrents/{info_hash}/approve")
    assert reply.status_code == 200, reply.text
    return info_hash
