"""Bodies are taken in whole, in time and within their size; odd paths are nobody's."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from starlette.types import Message

from interfaces.http import request_guards
from interfaces.http.app import api_document
from interfaces.http.openapi import operations
from interfaces.http.request_guards import BodyLimits, RequestGuards, body_limits, is_odd
from interfaces.http.routes import ROUTERS
from tests.kit.api import Api
from tests.kit.browser import Browser

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "strict-origin-when-cross-origin",
    "content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
}
Receive = Callable[[], Awaitable[Message]]


def scope_of(
    path: str = "/", *, length: int | None = None, client: str = "192.0.2.1"
) -> dict[str, Any]:
    headers = [(b"transfer-encoding", b"chunked")]
    if length is not None:
        headers = [(b"content-length", b"%d" % length)]
    return {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "scheme": "http", "headers": headers, "client": (client, 1),
    }  # fmt: skip


def pieces(*bodies: bytes, pause: float = 0.0, end: bool = True) -> Receive:
    """A client that sends these pieces with a pause before each, and no more after them."""
    left = list(bodies)

    async def receive() -> Message:
        await asyncio.sleep(pause)
        if not left:
            await asyncio.Event().wait()
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left) or not end}

    return receive


class Served:
    """An application that reads its body and says how long it is; notes how many ran at once."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.came = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert message["more_body"] is False
        self.bodies.append(message["body"])
        self.came.set()
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def ask(guards: RequestGuards, scope: dict[str, Any], receive: Receive) -> tuple[int, str]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await guards(scope, receive, send)
    if not sent:
        return 0, ""
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body.decode()


def guarded(app: Any, **more: Any) -> RequestGuards:
    values = {"limits": BodyLimits(1_000), "at_once": 10, "patience": 0.2, **more}
    return RequestGuards(app, **values)


def code_of(answer: tuple[int, str]) -> tuple[int, str]:
    return answer[0], json.loads(answer[1])["data"]["code"]


def test_a_body_that_trickles_is_cut() -> None:
    async def play() -> tuple[int, str]:
        served = Served()
        answer = await ask(guarded(served), scope_of(), pieces(*[b"x"] * 100, pause=0.02))
        assert served.bodies == []
        return answer

    began = time.monotonic()
    assert code_of(asyncio.run(play())) == (408, "body_too_slow")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("end", [True, False])
def test_a_body_that_never_comes_is_cut(end: bool) -> None:
    sent = () if end else (b"begun",)
    answer = asyncio.run(ask(guarded(Served()), scope_of(length=10), pieces(*sent, end=end)))
    assert code_of(answer) == (408, "body_too_slow")


def test_a_slow_line_is_no_trickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_guards, "PACE", 100)
    served = Served()
    # 0.5 seconds in all, which is longer than the patience, at twice the pace.
    answer = asyncio.run(ask(guarded(served), scope_of(), pieces(*[b"x" * 20] * 5, pause=0.1)))
    assert answer[0] == 200
    assert served.bodies == [b"x" * 100]


@pytest.mark.parametrize("length", [1_001, None])
def test_a_body_too_large_is_refused_before_it_is_read(length: int | None) -> None:
    served = Served()
    asked = pieces(b"x" * 600, b"x" * 401)
    assert code_of(asyncio.run(ask(guarded(served), scope_of(length=length), asked))) == (
        413,
        "too_large",
    )
    assert served.bodies == []


def test_slow_bodies_hold_no_place_where_requests_are_served() -> None:
    async def play() -> list[int]:
        guards = guarded(Served(), at_once=1, patience=1.0)
        slow = [
            asyncio.create_task(ask(guards, scope_of(), pieces(b"x", end=False)))
            for _ in range(300)
        ]
        await asyncio.sleep(0.05)
        status, _ = await ask(guards, scope_of(length=4), pieces(b"work"))
        assert not any(task.done() for task in slow)
        return [status, *(answer[0] for answer in await asyncio.gather(*slow))]

    assert asyncio.run(play()) == [200, *[408] * 300]


def test_more_requests_than_places_are_refused_and_the_place_is_given_back() -> None:
    async def play() -> list[int]:
        served = Served()
        guards = guarded(served, at_once=1)
        served.go_on.clear()
        first = asyncio.create_task(ask(guards, scope_of(length=1), pieces(b"a")))
        await served.came.wait()
        refused = await ask(guards, scope_of(length=1), pieces(b"b"))
        served.go_on.set()
        answers = [await first, refused, await ask(guards, scope_of(length=1), pieces(b"c"))]
        return [status for status, _ in answers]

    assert asyncio.run(play()) == [200, 503, 200]


def test_bodies_of_one_address_and_of_all_are_bounded_together() -> None:
    async def play() -> None:
        guards = guarded(Served(), held=1_500, held_of_one=900, patience=1.0)
        held = asyncio.create_task(ask(guards, scope_of(), pieces(b"x" * 800, end=False)))
        await asyncio.sleep(0.02)
        assert code_of(await ask(guards, scope_of(length=200), pieces(b"x" * 200))) == (
            503,
            "overloaded",
        )
        other = scope_of(length=200, client="192.0.2.2")
        assert (await ask(guards, other, pieces(b"x" * 200)))[0] == 200
        large = scope_of(length=800, client="192.0.2.2")
        assert code_of(await ask(guards, large, pieces(b"x" * 800)))[0] == 503
        assert (await held)[0] == 408
        assert (guards._held.total, dict(guards._held.by_address)) == (0, {})
        assert (await ask(guards, large, pieces(b"x" * 800)))[0] == 200

    asyncio.run(play())


def test_an_ipv6_client_is_its_whole_network() -> None:
    one, other, foreign = (
        request_guards._asker(scope_of(client=address))
        for address in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")
    )
    assert one == other != foreign


def test_who_hangs_up_is_not_answered() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    assert asyncio.run(ask(guarded(Served()), scope_of(), gone)) == (0, "")


def test_routes_state_their_own_limits() -> None:
    limits = body_limits(ROUTERS, 256 * 1024)
    assert limits.of("POST", "/api/torrents") > 10 * 1024 * 1024
    assert limits.of("GET", "/api/torrents") == 256 * 1024
    assert limits.of("POST", "/api/torrents/check") == limits.of("POST", "/api/torrents")
    assert limits.of("POST", "/api/auth/login") == 256 * 1024


@pytest.mark.parametrize(
    "path",
    [
        "/api//me",
        "//api/me",
        "/api/../api/me",
        "/api/./me",
        "/api/me/..",
    ],
)
def test_an_odd_path_is_nobodys(api: Api, path: str) -> None:
    assert is_odd(path)

    async def ask_app() -> tuple[int, str]:
        scope = {**scope_of(path, length=0), "method": "GET", "headers": []}
        return await ask(api.app, scope, pieces(b""))  # type: ignore[arg-type]

    assert code_of(asyncio.run(ask_app())) == (404, "route_not_found")


FOREIGN = ["\0", "\x01", "\n", "\x7f", "\x85", "\\", "\ufffd", "\udc80"]
VARIABLE = re.compile(r"{[^}]+}")


def test_a_character_no_address_has_is_nobodys_at_every_route(api: Api) -> None:
    """As decoded from %00, %5C, or bytes that are no UTF-8: nothing behind the guard meets them."""
    routes = {
        (method, path)
        for route in api.app.routes
        if (path := getattr(route, "path", None))
        for method in getattr(route, "methods", None) or {"GET"}
    }
    routes |= {(method.upper(), path) for path, method, _ in operations(api_document("0"))}
    assert len(routes) > 100

    async def ask_app(method: str, path: str) -> tuple[int, str]:
        scope = {**scope_of("/", length=0), "method": method, "path": path, "headers": []}
        return await ask(api.app, scope, pieces(b""))  # type: ignore[arg-type]

    async def play() -> None:
        for method, path in sorted(routes):
            for foreign in FOREIGN:
                asked = VARIABLE.sub(f"a{foreign}b", path)
                asked = asked if asked != path else f"{path}{foreign}"
                status, body = await ask_app(method, asked)
                assert status == 404, (method, asked)
                assert method == "HEAD" or json.loads(body)["data"]["code"] == "route_not_found"

    asyncio.run(play())


def test_a_variable_that_is_nothing_known_is_no_fault_at_any_route(
    api: Api, admin: Browser
) -> None:
    for path, method, _ in operations(api_document("0")):
        if "{" not in path:
            continue
        for value in ("a%2fb", "%2f", "%252e", "%c3%bc", "-", "x" * 4_000):
            reply = admin.request(method.upper(), VARIABLE.sub(value, path), json={})
            assert reply.status_code < 500, (method, path, value, reply.text)
            assert reply.status_code != 422, (method, path, value)


def test_a_path_with_a_variable_declares_that_it_may_be_nobodys() -> None:
    for path, method, operation in operations(api_document("0")):
        assert "{" not in path or "404" in operation["responses"], (method, path)


@pytest.mark.parametrize(
    "path", ["/", "/api/me", "/api/admin/banned-ips/2001:db8::/32", "/a..b/c.", "/f\u00fcr"]
)
def test_an_ordinary_path_is_not_odd(path: str) -> None:
    assert not is_odd(path)


def test_what_a_slow_or_large_body_is_answered_is_declared_where_there_is_a_body() -> None:
    for path, method, operation in operations(api_document("0")):
        declared = {"408", "413"} & set(operation["responses"])
        assert declared == ({"408", "413"} if "requestBody" in operation else set()), (method, path)


def answers(api: Api, alice: Browser) -> Iterator[Any]:
    """One answer of each status, from each layer that can give one."""
    anonymous = api.browser()
    yield anonymous.get("/api/health")
    yield anonymous.get("/docs")
    yield anonymous.get("/docs.css")
    yield anonymous.get("/openapi.json")
    yield anonymous.get("/api/runtime-config")
    yield anonymous.post("/api/auth/login", content=b"{", headers={"content-type": "text/plain"})
    yield anonymous.post("/api/auth/login", json={})
    yield anonymous.get("/api/me")
    signed_in = api.browser()
    signed_in.client.cookies = alice.client.cookies
    yield signed_in.get("/api/admin/settings")
    yield signed_in.patch("/api/me", json={}, headers={"origin": "https://evil.example"})
    yield anonymous.get("/nothing")
    yield anonymous.get("/api//me")
    yield anonymous.delete("/api/health")
    yield anonymous.request("OPTIONS", "/api/me")
    yield anonymous.post("/api/auth/login", content=b"x" * 300_000)
    yield api.configured(requests_at_once=0).browser().get("/api/health")
    yield api.configured(body_patience_seconds=-1.0).browser().post("/api/auth/login", json={})


@pytest.mark.parametrize("https", [True, False])
def test_every_answer_bears_the_security_headers(api: Api, alice: Browser, https: bool) -> None:
    site = api.configured(public_url="https://tracker.example") if https else api
    statuses = set()
    for reply in answers(site, alice):
        statuses.add(reply.status_code)
        told = {name: reply.headers.get(name) for name in HEADERS}
        assert told == HEADERS, reply.request.url
        assert ("strict-transport-security" in reply.headers) is https
        assert "x-correlation-id" in reply.headers
        assert "server" not in reply.headers
    assert statuses >= {200, 400, 401, 403, 404, 405, 408, 413, 503}


def test_a_fault_of_ours_bears_them_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(api.clock.__class__, "__call__", lambda self: broken())
    reply = api.browser().get("/api/stats/public")
    assert reply.status_code == 500
    assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS
