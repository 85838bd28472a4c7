"""Contract of `GET /api/health`."""

from __future__ import annotations

from dataclasses import replace

from interfaces.http.app import create_app
from tests.kit.api import Api
from tests.kit.browser import Browser


def test_show_health_says_ok_to_anyone(anonymous: Browser) -> None:
    reply = anonymous.get("/api/health")
    assert reply.status_code == 200
    body = reply.json()
    assert (body["ok"], body["status"]) == (True, "healthy")
    assert body["checks"]["redis"]["status"] == "healthy"
    assert body["timestamp"].endswith("Z")


def test_show_health_is_503_when_a_part_is_away_and_keeps_its_words(api: Api) -> None:
    def away() -> None:
        raise ConnectionError("redis://:secret@host is away")

    services = replace(api.services, probes={**api.services.probes, "postgres": away})
    reply = Browser(create_app(services)).get("/api/health")
    assert reply.status_code == 503
    body = reply.json()
    assert (body["ok"], body["status"]) == (False, "unhealthy")
    assert body["checks"]["postgres"]["status"] == "unhealthy"
    assert body["checks"]["redis"]["status"] == "healthy"
    assert "secret" not in reply.text
