"""A browser that talks to a running installation over the network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx2

from interfaces.http.operator_token import OPERATOR_HEADER
from tests.kit.browser import Browser


class RemoteBrowser(Browser):
    """The same caller as in the contract tests, with a real connection."""

    def __init__(self, url: str, *, operator_token: str = "") -> None:
        """With the installation's `operator_token` it is not counted by the rate limits."""
        headers = {"Origin": url}
        if operator_token:
            headers[OPERATOR_HEADER] = operator_token
        self.client = httpx2.Client(base_url=url, headers=headers, timeout=20)

    def close(self) -> None:
        self.client.close()

    def delete(self, path: str) -> httpx2.Response:
        return self.client.delete(path)


def upload(
    browser: Browser, torrent: bytes, *, name: str, category: str | None = None
) -> dict[str, Any]:
    """Upload a .torrent as a member does; the answer's `data`."""
    fields = {"name": name, "description": "Made for a test."}
    if category:
        fields["categoryId"] = category
    reply = browser.post(
        "/api/torrents",
        data=fields,
        files={"torrent": (f"{name}.torrent", torrent, "application/x-bittorrent")},
    )
    assert reply.status_code in {200, 201}, reply.text
    data: dict[str, Any] = reply.json()["data"]
    return data


def download(browser: Browser, info_hash: str) -> bytes:
    """The caller's personal .torrent."""
    reply = browser.get(f"/api/torrents/{info_hash}/download")
    assert reply.status_code == 200, reply.text
    return bytes(reply.content)


def eventually(read: Callable[[], Any], wanted: Any, *, seconds: float = 20) -> None:
    """Poll `read` until it gives `wanted`; AssertionError with the last value when time is up."""
    end = time.monotonic() + seconds
    while (found := read()) != wanted:
        assert time.monotonic() < end, f"wanted {wanted}, last saw {found}"
        time.sleep(0.1)
