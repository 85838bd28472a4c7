"""Reports of a test's site, filed and decided over HTTP."""

from __future__ import annotations

from typing import Any

from httpx2 import Response

from tests.kit.browser import Browser

WORDS = "Selling invitations in the thread."


def code_of(reply: Response) -> str:
    return str(reply.json()["data"]["code"])


def file(caller: Browser, kind: str, target: Any, reason: str = WORDS, **more: Any) -> Response:
    body = {"target_type": kind, "target_id": str(target), "reason": reason, **more}
    return caller.post("/api/reports", json=body)


def filed(caller: Browser, kind: str, target: Any, reason: str = WORDS, **more: Any) -> str:
    reply = file(caller, kind, target, reason, **more)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["data"]["id"])


def decide(caller: Browser, report: Any, status: str = "resolved", **more: Any) -> Response:
    return caller.put(f"/api/admin/reports/{report}", json={"status": status, **more})


def own(caller: Browser, **params: Any) -> dict[str, Any]:
    reply = caller.get("/api/me/reports", params=params)
    assert reply.status_code == 200, reply.text
    page: dict[str, Any] = reply.json()
    return page


def queue(caller: Browser, **params: Any) -> dict[str, Any]:
    reply = caller.get("/api/admin/reports", params=params)
    assert reply.status_code == 200, reply.text
    page: dict[str, Any] = reply.json()
    return page
