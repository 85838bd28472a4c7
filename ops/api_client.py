"""The REST API from the client's side: password-blind registration and sign-in, uploads, downloads."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import pbkdf2_hmac, sha256
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from interfaces.http.operator_token import OPERATOR_HEADER
from ops.failures import OperatorError

TIMEOUT_SECONDS = 30
SALT_SIZE = 32
KEY_SIZE = 32


class ApiRefused(OperatorError):
    """The API answered with an error, or not at all."""


class ApiClient:
    """One caller with cookies. Passwords stay here: the server gets salts, verifiers, proofs."""

    def __init__(self, url: str, operator_token: str | None = None) -> None:
        """With the `operator_token` of the installation, its rate limits do not count us."""
        headers = {"Origin": url}
        if operator_token is not None:
            headers[OPERATOR_HEADER] = operator_token
        self._client = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def register(self, username: str, password: str, **more: str) -> dict[str, Any]:
        """Make an account and be signed in; `more` are further fields of the body.

        Raises `ApiRefused` with the API's own sentence.
        """
        work = self.get("/api/auth/pow")
        salt = b64encode(os.urandom(SALT_SIZE)).decode()
        body = {
            "username": username,
            "salt": salt,
            "verifier": password_verifier(password, salt, work["iterations"]),
            "pow": _solve(work["challenge"], work["difficulty"]),
            **more,
        }
        return dict(self.post("/api/auth/register", body))

    def log_in(self, username: str, password: str) -> dict[str, Any]:
        """Be signed in; raises `ApiRefused`."""
        asked = self._json(self._send("GET", "/api/auth/challenge", params={"username": username}))
        verifier = password_verifier(password, asked["salt"], asked["iterations"])
        proof = sha256((verifier + asked["challenge"]).encode()).hexdigest()
        body = {"username": username, "challenge": asked["challenge"], "proof": proof}
        return dict(self.post("/api/auth/login", body))

    def upload(self, content: bytes, file_name: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """Upload a .torrent; the answer."""
        files = {"torrent": (file_name, content, "application/x-bittorrent")}
        return dict(self._json(self._send("POST", "/api/torrents", data=dict(fields), files=files)))

    def download(self, info_hash: str) -> bytes:
        """The caller's personal .torrent."""
        return self._send("GET", f"/api/torrents/{info_hash}/download").content

    @property
    def cookie_header(self) -> str:
        """What a `Cookie` header holds for this caller."""
        return "; ".join(f"{each.name}={each.value}" for each in self._client.cookies.jar)

    def get(self, path: str) -> Any:
        return self._json(self._send("GET", path))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._json(self._send("POST", path, json=dict(body)))

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._json(self._send("PUT", path, json=dict(body)))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            reply = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ApiRefused(
                f"The API at {self._client.base_url} does not answer ({type(error).__name__}); "
                "is ./ops/up running?"
            ) from None
        for cookie in self._client.cookies.jar:
            # Marked so where PUBLIC_URL is https; from here no proxy with TLS stands between.
            cookie.secure = False
        if reply.is_success:
            return reply
        raise ApiRefused(f"The API refused: {_reason(reply)}")

    @staticmethod
    def _json(reply: httpx.Response) -> Any:
        return reply.json()


def _reason(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {reply.status_code}"


def password_verifier(password: str, salt: str, iterations: int) -> str:
    """What a server keeps of a password, base64; `salt` is base64 too."""
    master = pbkdf2_hmac("sha256", password.encode(), b64decode(salt), iterations, KEY_SIZE)
    return b64encode(sha256(master).digest()).decode()


def _solve(challenge: str, difficulty: int) -> dict[str, str]:
    """Proof of work: the first nonce whose hash begins with enough zero digits."""
    wanted = "0" * difficulty
    start = sha256(f"{challenge}:".encode())
    for nonce in count():
        tried = start.copy()
        tried.update(str(nonce).encode())
        if (digest := tried.hexdigest()).startswith(wanted):
            return {"challenge": challenge, "nonce": str(nonce), "hash": digest}
    raise AssertionError("an endless count ended")


def read_torrent(path: Path) -> bytes:
    """The bytes of a .torrent file; raises `ApiRefused` with a sentence."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ApiRefused(f"{path} can't be read: {(error.strerror or 'error').lower()}.") from None
