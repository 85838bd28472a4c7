"""What callers are told while a part behind the API is away or behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from psycopg_pool import ConnectionPool
from structlog.testing import capture_logs

from application.site import ChangeSettings
from interfaces.http.app import create_app
from projections.users import UsersProjection
from tests.kit.api import Api
from tests.kit.browser import Browser


@contextmanager
def without_read_models(api: Api) -> Iterator[Api]:
    """The same application while its read models give no connection."""
    with (
        ConnectionPool(api.app_url, min_size=1, max_size=1, timeout=0.05, open=True) as pool,
        pool.connection(timeout=10),
    ):
        services = replace(api.services, reads=pool, catalogue=pool)
        yield replace(api, app=create_app(services), services=services)


def test_reads_are_unavailable_while_the_read_models_are(api: Api, alice: Browser) -> None:
    paths = ("/api/me", "/api/torrents", "/api/categories", "/api/auth/status", "/api/stats/public")
    with without_read_models(api) as away:
        for path in paths:
            browser = away.browser()
            browser.client.cookies = alice.client.cookies
            reply = browser.get(path)
            assert reply.status_code == 503, reply.text
            assert reply.json()["data"]["code"] == "unavailable"
            assert reply.headers["retry-after"] == "1"


def test_log_in_opens_no_session_it_can_not_tell_of(api: Api, alice: Browser) -> None:
    with without_read_models(api) as away:
        reply = away.browser().log_in("alice")
    assert reply.status_code == 503, reply.text
    assert api.topics().count("session.opened.1") == 2


def test_a_newcomer_s_session_reads_his_registration_once_it_can(api: Api, admin: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"registrationOpen": True}))
    newcomer = api.browser()
    with api.held(UsersProjection()):
        reply = newcomer.register("alice")
        assert reply.status_code == 200, reply.text
        assert "users" in reply.headers["x-stale"]
    assert newcomer.get("/api/me").json()["username"] == "alice"


def test_requests_beyond_what_is_served_at_once_are_refused(api: Api) -> None:
    beside: list[int] = []

    def ask_beside() -> None:
        reply = other.get("/api/health")
        beside.append(reply.status_code)
        assert reply.json()["data"]["code"] == "overloaded"
        assert reply.headers["retry-after"] == "1"

    full = replace(api, services=replace(api.services, probes={"beside": ask_beside}))
    full = full.configured(requests_at_once=1)
    other = full.browser()
    for _ in range(2):
        assert full.browser().get("/api/health").json()["status"] == "healthy"
    assert beside == [503, 503]


def test_who_hangs_up_in_the_middle_of_a_body_is_no_fault_of_ours(api: Api, alice: Browser) -> None:
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/api/torrents",
        "raw_path": b"/api/torrents",
        "query_string": b"",
        "scheme": "http",
        "headers": [
            (b"cookie", f"trackarr-session={alice.cookie}".encode()),
            (b"content-type", b"multipart/form-data; boundary=x"),
        ],
    }
    messages = [
        {"type": "http.request", "body": b"--x", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    with capture_logs() as logs:
        asyncio.run(api.app(scope, receive, send))
    assert not messages
    assert (sent, logs) == ([], [])
