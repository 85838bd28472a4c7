"""The API's client against a server that plays the part of one with PUBLIC_URL https."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ops.api_client import ApiClient, ApiRefused


class _Behind(BaseHTTPRequestHandler):
    """Gives a cookie at the first call and echoes at the others."""

    def do_GET(self) -> None:
        sent = self.headers.get("Cookie", "")
        refused = self.path == "/refused"
        self.send_response(403 if refused else 200)
        if not sent:
            self.send_header("Set-Cookie", "trackarr-session=abc; Path=/; HttpOnly; Secure")
        self.end_headers()
        self.wfile.write(b'{"message": "Not yours"}' if refused else f'"{sent}"'.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Behind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_session_for_https_is_kept_on_this_machine(url: str) -> None:
    with ApiClient(url) as client:
        assert client.get("/") == ""
        assert client.get("/") == "trackarr-session=abc"


def test_a_refusal_is_the_servers_own_sentence(url: str) -> None:
    with ApiClient(url) as client, pytest.raises(ApiRefused, match="refused: Not yours"):
        client.get("/refused")


def test_silence_is_one_sentence() -> None:
    with ApiClient("http://127.0.0.1:1") as client, pytest.raises(ApiRefused) as refusal:
        client.get("/")
    assert "does not answer" in refusal.value.sentence
