"""Contract of `PATCH /api/me`."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.kit.api import Api
from tests.kit.browser import Browser

ALL_FIELDS: dict[str, Any] = {
    "displayName": "Alice of Œuvre",
    "bio": "First line\nsecond line",
    "showLastSeen": False,
    "showAdultContent": True,
    "theme": "light",
    "language": "fr",
}


def test_edit_profile_changes_every_field_and_shows_it_at_once(alice: Browser) -> None:
    reply = alice.patch("/api/me", json=ALL_FIELDS)
    assert reply.status_code == 200, reply.text
    assert reply.json() == {"success": True, "updated": 6, **ALL_FIELDS}
    me = alice.get("/api/me").json()
    assert {name: me[name] for name in ALL_FIELDS} == ALL_FIELDS
    status = alice.get("/api/auth/status").json()
    assert (status["locale"], status["theme"]) == ("fr", "light")
    assert status["user"]["displayName"] == "Alice of Œuvre"


def test_edit_profile_leaves_what_is_not_named(api: Api, alice: Browser) -> None:
    alice.patch("/api/me", json=ALL_FIELDS)
    reply = alice.patch("/api/me", json={"displayName": None, "bio": "  ", "theme": "light"})
    gone = {"displayName": None, "bio": None}
    assert reply.json() == {"success": True, **ALL_FIELDS, **gone, "updated": 2}
    head = api.log.head()
    assert alice.patch("/api/me", json={}).json()["updated"] == 0
    assert alice.patch("/api/me", json={"theme": "light"}).json()["updated"] == 0
    assert api.log.head() == head


def test_edit_profile_touches_nobody_else(alice: Browser, admin: Browser) -> None:
    alice.patch("/api/me", json=ALL_FIELDS)
    root = admin.get("/api/me").json()
    assert (root["displayName"], root["theme"], root["showLastSeen"]) == (None, "dark", True)


@pytest.mark.parametrize(
    "body",
    [
        {"displayName": "x" * 33},
        {"displayName": "evil\u202eecila"},
        {"displayName": "two\nlines"},
        {"displayName": 5},
        {"bio": "x" * 1001},
        {"bio": "\0"},
        {"showLastSeen": None},
        {"showLastSeen": "false"},
        {"showAdultContent": 1},
        {"theme": "blue"},
        {"language": None},
        {"isAdmin": True},
        {"username": "root"},
    ],
)
def test_edit_profile_refuses_a_bad_field(api: Api, alice: Browser, body: dict[str, Any]) -> None:
    head = api.log.head()
    reply = alice.patch("/api/me", json=body)
    assert reply.status_code == 400, body
    assert reply.json()["message"].startswith(next(iter(body)) + ": ")
    assert api.log.head() == head


def test_edit_profile_refuses_half_a_character(alice: Browser) -> None:
    headers = {"content-type": "application/json"}
    for body in (b'{"bio":"\\ud800"}', b'{"displayName":"\\udc00"}', b"[]", b"{"):
        assert alice.patch("/api/me", content=body, headers=headers).status_code == 400


def test_edit_profile_needs_a_session(anonymous: Browser) -> None:
    reply = anonymous.patch("/api/me", json={"theme": "light"})
    assert (reply.status_code, reply.json()["data"]["code"]) == (401, "unauthenticated")


def test_a_bio_stands_nowhere_in_the_log_in_clear(api: Api, alice: Browser) -> None:
    alice.patch("/api/me", json={"bio": "canary-in-the-bio"})
    with psycopg.connect(api.app_url) as conn:
        tables = conn.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('log', 'vault')"
        ).fetchall()
        assert tables
        for schema, table in tables:
            rows = conn.execute(
                sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
            ).fetchall()
            for (row,) in rows:
                assert "canary-in-the-bio" not in row
                assert b"canary-in-the-bio".hex() not in row
