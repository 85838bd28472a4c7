"""Adult content of a test's site, and members who asked to see it."""

from __future__ import annotations

from typing import Any

from tests.kit.browser import Browser


def adult_category(admin: Browser, name: str = "After dark") -> dict[str, Any]:
    """Create an adult category of the catalogue; the answer."""
    reply = admin.post("/api/admin/categories", json={"name": name, "isAdult": True})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def asked_for_adult(browser: Browser) -> None:
    """Let the member's profile ask for adult content."""
    assert browser.patch("/api/me", json={"showAdultContent": True}).status_code == 200


def gated(info_hash: str, category: dict[str, Any]) -> dict[str, Any]:
    """The answer in place of the torrent's own."""
    told = {name: category[name] for name in ("id", "name", "slug")}
    return {"gatedAdult": True, "infoHash": info_hash, "category": told}
