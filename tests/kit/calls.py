"""What a test asked of the API and how it was answered, noted at the application's door."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interfaces.http.cookies import COOKIE, HALF_COOKIE

_CONVERTER = re.compile(r":[a-z]+}")
"""How a variable of a path is read, which the document does not repeat."""


@dataclass(frozen=True)
class Call:
    """A request that reached a route. `code` is the stable one of an error body."""

    method: str
    path: str
    status: int
    code: str | None
    session: bool
    half_session: bool

    @property
    def kinds(self) -> frozenset[str]:
        """What it shows of its route, in the words of the table of contracts."""
        found = set()
        if 200 <= self.status < 300:
            found.add("success")
            if not self.session:
                found.add("anonymous success")
        if self.status == 401 and not self.session and not self.half_session:
            found.add("anonymous")
        if self.session and self.status == 403:
            found.add("wrong role" if self.code == "permission_required" else "forbidden")
        if self.status in {400, 413, 415}:
            found.add("bad input")
        if self.status == 404:
            found.add("missing")
        return frozenset(found)


MADE: list[Call] = []
"""Calls of the test that runs; emptied between tests."""


def noted(app: FastAPI) -> ASGIApp:
    """`app`, with every call that reached a route noted in `MADE`."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        answer: dict[str, Any] = {"status": 500, "body": b""}

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
            elif answer["status"] >= 400:
                answer["body"] += message.get("body", b"")
            await send(message)

        try:
            await app(scope, receive, pass_on)
        finally:
            route = scope.get("route")
            if route is not None:
                MADE.append(
                    _call(scope, _CONVERTER.sub("}", route.path), answer["status"], answer["body"])
                )

    return asked


def _call(scope: Scope, path: str, status: int, body: bytes) -> Call:
    cookies = b";".join(value for name, value in scope["headers"] if name == b"cookie").decode(
        "latin-1"
    )
    names = {cookie.split("=", 1)[0].strip() for cookie in cookies.split(";")}
    try:
        code = json.loads(body)["data"]["code"]
    except (ValueError, KeyError, TypeError):
        code = None
    return Call(scope["method"], path, status, code, COOKIE in names, HALF_COOKIE in names)
