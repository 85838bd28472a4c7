"""What every route has in common: error bodies, headers, cross-site refusal, freshness."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from application.bus import Bus
from application.password_proofs import PasswordProofs
from application.site import ChangeSettings
from application.store.challenges import RedisChallenges
from interfaces.http.app import create_app
from interfaces.http.freshness import Freshness
from projections.site import SiteProjection
from tests.kit.api import Api
from tests.kit.browser import Browser

LOGIN, SETTINGS = "/api/auth/login", "/api/admin/settings"
JSON = {"content-type": "application/json"}


def assert_error(reply: Any, status: int, code: str) -> None:
    body = reply.json()
    assert reply.status_code == status, reply.text
    assert set(body) == {"url", "statusCode", "statusMessage", "message", "data"}
    assert (body["statusCode"], body["data"]["code"]) == (status, code)
    assert body["url"] == reply.request.url.path
    assert body["message"]
    assert body["statusMessage"]
    assert reply.headers["content-type"] == "application/json"
    assert_headers(reply)


def assert_headers(reply: Any) -> None:
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"[0-9a-f-]{36}", reply.headers["x-correlation-id"])


def test_routing_errors_have_the_shape(anonymous: Browser) -> None:
    assert_error(anonymous.get("/api/nonsense"), 404, "route_not_found")
    assert_error(anonymous.get("/api/me/"), 404, "route_not_found")
    wrong = anonymous.request("DELETE", "/api/me")
    assert_error(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET"


def test_the_address_in_an_error_leaves_out_the_query(anonymous: Browser) -> None:
    reply = anonymous.get("/api/me", params={"apikey": "secret-key"})
    assert_error(reply, 401, "unauthenticated")
    assert "secret-key" not in reply.text


BROKEN: list[bytes] = [
    b"{",
    b"\xff\xfe\xfa",
    b"[" * 50_000,
    b'{"username": ' + b"9" * 5_000 + b"}",
    b"{'username': 'x'}",
    b'{"username": "x"} trailing',
    b"null",
    b"[]",
    b"7",
    b'""',
]


def test_broken_json_is_told_in_words(api: Api, admin: Browser) -> None:
    head = api.log.head()
    for content in BROKEN:
        assert_error(api.browser().post(LOGIN, content=content, headers=JSON), 400, "invalid")
        assert_error(admin.put(SETTINGS, content=content, headers=JSON), 400, "invalid")
    assert api.log.head() == head


def test_half_a_character_is_refused_wherever_it_stands(api: Api, admin: Browser) -> None:
    head = api.log.head()
    half = b'"\\ud800"'
    for content, code in (
        (b'{"siteTitle": ' + half + b"}", "setting_invalid"),
        (b"{" + half + b": 1}", "setting_unknown"),
    ):
        assert_error(admin.put(SETTINGS, content=content, headers=JSON), 400, code)
    for field in ("username", "challenge", "proof"):
        body = b'{"' + field.encode() + b'": ' + half + b"}"
        assert_error(admin.post(LOGIN, content=body, headers=JSON), 400, "invalid")
    assert api.log.head() == head


def test_an_error_names_what_was_sent_only_so_far(admin: Browser) -> None:
    reply = admin.put(SETTINGS, json={"x" * 100 + str(number): 1 for number in range(1000)})
    assert_error(reply, 400, "setting_unknown")
    assert len(reply.json()["message"]) <= 2000


def test_another_content_type_is_refused(api: Api, admin: Browser) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x"):
        headers = {"content-type": kind} if kind else {}
        reply = admin.put(SETTINGS, content=b'{"siteTitle": "x"}', headers=headers)
        assert_error(reply, 415, "unsupported_media_type")
    assert admin.get(SETTINGS).json()["siteTitle"] == "Trackarr"


def test_an_oversized_body_is_refused_with_and_without_a_length(anonymous: Browser) -> None:
    size = 300_000

    def streamed() -> Iterator[bytes]:
        for _ in range(size // 1000):
            yield b"x" * 1000

    for content in (b"x" * size, streamed()):
        assert_error(anonymous.post(LOGIN, content=content, headers=JSON), 413, "too_large")
    reply = anonymous.post("/api/auth/logout", content=b"x" * size)
    assert_error(reply, 413, "too_large")
    # Python's own phrase is another before 3.13, and the document is compared byte by byte.
    assert reply.json()["statusMessage"] == "Content Too Large"


def test_a_page_of_another_site_changes_nothing(api: Api, admin: Browser) -> None:
    head = api.log.head()
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver.evil.example"},
        {"origin": "http://testserver:81"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        reply = admin.put(SETTINGS, json={"siteTitle": "x"}, headers=headers)
        assert_error(reply, 403, "cross_site")
        assert_error(api.browser().post(LOGIN, json={}, headers=headers), 403, "cross_site")
    assert api.log.head() == head
    assert admin.get(SETTINGS, headers={"origin": "http://evil.example"}).status_code == 200


def test_our_own_pages_and_programs_may_change_things(api: Api, admin: Browser) -> None:
    public = api.configured(public_url="https://tracker.example")
    for headers in (
        {},
        {"origin": "http://testserver"},
        {"origin": "https://tracker.example"},
        {"origin": "https://TRACKER.example"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ):
        browser = Browser(public.app)
        browser.client.cookies.set("trackarr-session", str(admin.cookie))
        assert browser.put(SETTINGS, json={}, headers=headers).status_code == 200, headers


def test_a_fault_of_ours_tells_a_correlation_id_and_nothing_else(api: Api, admin: Browser) -> None:
    def broken(unit: object, command: object) -> None:
        raise RuntimeError("secret-in-the-text")

    bus = Bus(api.log, {ChangeSettings: broken}, after_commit=lambda _: (), taken={})
    app = create_app(replace(api.services, bus=bus))
    caller = Browser(app)
    caller.client.cookies.set("trackarr-session", str(admin.cookie))
    reply = caller.put(SETTINGS, json={})
    assert_error(reply, 500, "internal_error")
    assert reply.json()["message"] == "Internal error"
    assert reply.json()["data"]["correlation"] == reply.headers["x-correlation-id"]
    assert "secret" not in reply.text
    assert "RuntimeError" not in reply.text


def test_sign_in_is_unavailable_while_redis_is_away(api: Api, admin: Browser) -> None:
    with Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as away:
        proofs = PasswordProofs(
            api.log,
            RedisChallenges(away),
            api.services.entropy,
            decoy_key=bytes(32),
            difficulty=1,
        )
        freshness = Freshness(away, lambda _position, _seconds: ())
        app = create_app(replace(api.services, proofs=proofs, freshness=freshness))
        browser = Browser(app)
        for reply in (
            browser.get("/api/auth/pow"),
            browser.get("/api/auth/challenge", params={"username": "root"}),
            browser.post(LOGIN, json=admin.login_body("root")),
        ):
            assert_error(reply, 503, "unavailable")
            assert int(reply.headers["retry-after"]) >= 1
        browser.client.cookies.set("trackarr-session", str(admin.cookie))
        assert browser.get("/api/me").status_code == 200


def test_a_commit_is_answered_although_a_read_model_is_behind(api: Api, admin: Browser) -> None:
    with api.held(SiteProjection()):
        reply = admin.put(SETTINGS, json={"siteTitle": "Harbour"})
        assert (reply.status_code, reply.json()["siteTitle"]) == (200, "Harbour")
        assert reply.headers["x-stale"] == "site"
        position = reply.headers["x-log-position"]
        behind = admin.get(SETTINGS, headers={"x-after": position})
        assert_error(behind, 503, "read_models_behind")
        assert behind.headers["retry-after"] == "1"
        assert admin.get(SETTINGS).json()["siteTitle"] == "Trackarr"
    fresh = admin.get(SETTINGS)
    assert fresh.json()["siteTitle"] == "Harbour"
    assert admin.get(SETTINGS, headers={"x-after": position}).status_code == 200


def test_a_position_that_is_none_is_refused(admin: Browser) -> None:
    for bad in ("x", "-1", "1.5", str(2**63)):
        assert_error(admin.get(SETTINGS, headers={"x-after": bad}), 400, "invalid")


def test_a_position_nobody_reached_is_refused_without_waiting(api: Api, admin: Browser) -> None:
    head = api.log.head()
    assert admin.get(SETTINGS, headers={"x-after": str(head)}).status_code == 200
    ahead = api.browser().get("/api/stats/public", headers={"x-after": str(head + 1)})
    assert_error(ahead, 400, "position_unknown")


def test_the_document_declares_who_may_call_and_every_error(anonymous: Browser) -> None:
    document = anonymous.get("/openapi.json").json()
    paths = document["paths"]
    assert paths["/api/admin/settings"]["get"]["security"] == [{"session": ["canAccessAdmin"]}]
    assert paths["/api/me"]["get"]["security"] == [{"session": []}]
    assert paths["/api/auth/status"]["get"]["security"] == [{}, {"session": []}]
    assert "security" not in paths["/api/health"]["get"]
    for path, method, who in (
        ("/api/health", "get", "public"),
        ("/api/auth/status", "get", "public"),
        ("/api/auth/2fa/verify-totp", "post", "user (1FA)"),
        ("/api/auth/logout", "post", "user | user (1FA)"),
        ("/api/me", "get", "user"),
        ("/api/torrents/{info_hash}/moderation/messages", "get", "uploader | staff"),
        ("/api/mod/torrents/pending", "get", "moderator"),
        ("/api/admin/banned-ips", "get", "staff"),
        ("/api/admin/settings", "get", "administrator"),
    ):
        assert paths[path][method]["x-permissions"] == who
    assert document["components"]["securitySchemes"] == {
        "session": {"type": "apiKey", "in": "cookie", "name": "trackarr-session"},
        "halfSession": {"type": "apiKey", "in": "cookie", "name": "trackarr-2fa"},
    }
    assert "HTTPValidationError" not in document["components"]["schemas"]
    names = set()
    for path, item in paths.items():
        for method, operation in item.items():
            declared = set(operation["responses"])
            assert "422" not in declared
            assert {"400", "500", "503"} <= declared, (path, method)
            if any("session" in rule for rule in operation.get("security", [{}])):
                assert {} in operation["security"] or "401" in declared, (path, method)
            if "requestBody" in operation:
                assert {"413", "415"} <= declared, (path, method)
            names.add(operation["operationId"])
    assert {"register_account", "log_in", "show_profile", "change_settings"} <= names


def test_the_docs_page_needs_no_network_and_no_script(anonymous: Browser) -> None:
    page = anonymous.get("/docs")
    assert page.status_code == 200
    assert "/api/auth/register" in page.text
    assert "Who: administrator" in page.text
    assert "<script" not in page.text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert anonymous.get("/docs.css").headers["content-type"].startswith("text/css")
