"""Contract of `GET /api/tracker-health`, and of `GET /api/runtime-config` beside it."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from interfaces.http import tracker_probe
from interfaces.http.tracker_probe import TrackerPorts, TrackerProbe
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.tracker.running_tracker import Feed, bind_both, running_tracker

NOW = datetime(2026, 5, 16, tzinfo=UTC)


def health(api: Api, **ports: Any) -> dict[str, Any]:
    asked = api.configured(tracker_ports=TrackerPorts(**ports)).browser()
    reply = asked.get("/api/tracker-health")
    assert reply.status_code == 200
    body: dict[str, Any] = reply.json()
    return body


def test_show_tracker_health_asks_both_ports(api: Api, redis_url: str) -> None:
    Feed(redis_url).publish([], [])
    with running_tracker(redis_url) as tracker:
        both = health(api, http=tracker.port, udp=tracker.udp_port)
        without_udp = health(api, http=tracker.port, udp=None)
    assert both["checkedAt"].endswith("Z")
    assert both["udp"] == {"enabled": True, "up": True}
    assert both["http"] == {"enabled": True, "up": True}
    assert both["online"] is True
    assert without_udp["udp"] == {"enabled": False, "up": False}


def test_show_tracker_health_when_nobody_is_there(api: Api) -> None:
    (http_port, *_), (udp_port, *_) = _closed_ports(), _closed_ports(socket.SOCK_DGRAM)
    body = health(api, http=http_port, udp=udp_port)
    assert body["online"] is False
    assert body["http"] == {"enabled": True, "up": False}
    assert body["udp"] == {"enabled": True, "up": False}


def _closed_ports(kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    v4, v6 = bind_both(kind)
    with closing(v4), closing(v6):
        return [v4.getsockname()[1]]


@pytest.mark.parametrize(
    ("answer", "up"),
    [
        (lambda asked: b"\x00\x00\x00\x00" + asked[12:16] + bytes(8), True),
        (lambda asked: b"\x00\x00\x00\x00" + bytes(4) + bytes(8), False),
        (lambda asked: b"\x00\x00\x00\x03" + asked[12:16] + b"busy", False),
        (lambda asked: None, False),
    ],
)
def test_only_a_connect_answer_to_our_question_counts(answer: Any, up: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        port.settimeout(5)

        def serve() -> None:
            asked, sender = port.recvfrom(100)
            said = answer(asked)
            if said is not None:
                port.sendto(said, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        probe = TrackerProbe(TrackerPorts(http=1, udp=port.getsockname()[1]), seconds=0.2)
        found = probe.availability(NOW)
        thread.join(5)
    assert found.udp is up


def test_a_port_that_refuses_announces_is_not_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:

        def serve() -> None:
            asker, _ = port.accept()
            with asker:
                asker.recv(1000)
                asker.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        probe = TrackerProbe(TrackerPorts(http=port.getsockname()[1], udp=None), seconds=2)
        found = probe.availability(NOW)
        thread.join(5)
    assert (found.http, found.udp) == (False, None)


def test_the_ports_are_asked_once_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def answers(host: str, port: int, seconds: float) -> bool:
        asked.append(port)
        return True

    now = [100.0]
    monkeypatch.setattr(tracker_probe, "_answers_http", answers)
    monkeypatch.setattr(tracker_probe.time, "monotonic", lambda: now[0])
    probe = TrackerProbe(TrackerPorts(udp=None))
    first = probe.availability(NOW)
    now[0] += 9.9
    assert probe.availability(NOW) is first
    now[0] += 0.2
    assert probe.availability(NOW) is not first
    assert len(asked) == 2


def test_while_one_asks_the_others_take_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(tracker_probe, "_answers_http", lambda *_: True)
    monkeypatch.setattr(tracker_probe.time, "monotonic", lambda: now[0])
    probe = TrackerProbe(TrackerPorts(udp=None))
    first = probe.availability(NOW)
    now[0] += 11
    with probe._lock:
        assert probe.availability(NOW) is first


def test_show_runtime_config_tells_everybody_the_announce_urls(api: Api, alice: Browser) -> None:
    for browser in (api.browser(), alice):
        reply = browser.get("/api/runtime-config")
        assert reply.status_code == 200
        assert reply.headers["cache-control"] == "public, max-age=300"
        assert reply.json() == {
            "trackerHttpUrl": "http://localhost:8080/announce",
            "trackerUdpUrl": "udp://localhost:6969/announce",
            "trackerWsUrl": None,
            "publicUrl": "http://testserver",
            "appVersion": "0",
        }
