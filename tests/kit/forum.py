"""The forum of a test's site, written over HTTP as members write it."""

from __future__ import annotations

from typing import Any

from httpx2 import Response

from tests.kit.browser import Browser


def category(admin: Browser, name: str = "General", **fields: Any) -> str:
    """Create a category; its id."""
    reply = admin.post("/api/forum/categories", json={"name": name, **fields})
    assert reply.status_code == 201, reply.text
    made: str = reply.json()["id"]
    return made


def started(browser: Browser, category: str, title: str, content: str) -> dict[str, Any]:
    """Start a topic; the answer."""
    reply = browser.post(
        "/api/forum/topics", json={"categoryId": category, "title": title, "content": content}
    )
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def answered(browser: Browser, topic: str, content: str) -> dict[str, Any]:
    """Answer in a topic; the answer as it is shown."""
    reply = browser.post("/api/forum/posts", json={"topicId": topic, "content": content})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def code(reply: Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return reply.status_code, reply.json()["data"]["code"]
