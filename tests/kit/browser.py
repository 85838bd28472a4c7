"""A caller of the API as a web client is: cookies, proof of work, password-blind proofs."""

from __future__ import annotations

from base64 import b64decode, b64encode
from functools import lru_cache
from hashlib import pbkdf2_hmac, sha256
from itertools import count
from typing import Any

from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from tests.kit.calls import noted

PASSWORD = "correct horse battery"


@lru_cache(maxsize=256)
def verifier_of(password: str, salt: str, iterations: int) -> str:
    """What a client computes from a password; the server gets no more than this."""
    master = pbkdf2_hmac("sha256", password.encode(), b64decode(salt), iterations, 32)
    return b64encode(sha256(master).digest()).decode()


def proof_for(verifier: str, challenge: str) -> str:
    return sha256((verifier + challenge).encode()).hexdigest()


def solve(challenge: str, difficulty: int) -> dict[str, str]:
    """A nonce counted up from 0 until the hash begins with enough zeros."""
    for nonce in count():
        digest = sha256(f"{challenge}:{nonce}".encode()).hexdigest()
        if digest.startswith("0" * difficulty):
            return {"challenge": challenge, "nonce": str(nonce), "hash": digest}
    raise AssertionError("unreachable")


def salt_of(username: str) -> str:
    """One salt a name, so that the slow derivation is done once in a test run."""
    return b64encode(sha256(username.encode()).digest()).decode()


class Browser:
    """Keeps cookies between calls; never follows a raised exception of the server."""

    def __init__(
        self, app: FastAPI, headers: dict[str, str] | None = None, *, address: str = "testclient"
    ) -> None:
        """`address` is where its requests seem to come from; by default no address at all."""
        self.client = TestClient(
            noted(app),
            headers=headers or {},
            raise_server_exceptions=False,
            client=(address, 50_000),
        )

    def get(self, path: str, **options: Any) -> Response:
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> Response:
        return self.client.post(path, **options)

    def put(self, path: str, **options: Any) -> Response:
        return self.client.put(path, **options)

    def patch(self, path: str, **options: Any) -> Response:
        return self.client.patch(path, **options)

    def delete(self, path: str, **options: Any) -> Response:
        return self.client.delete(path, **options)

    def request(self, method: str, path: str, **options: Any) -> Response:
        return self.client.request(method, path, **options)

    @property
    def cookie(self) -> str | None:
        return self.client.cookies.get("trackarr-session")

    def registration(self, username: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        """A body for `POST /api/auth/register`, with the work done."""
        work = self.get("/api/auth/pow").json()
        salt = salt_of(username)
        return {
            "username": username,
            "salt": salt,
            "verifier": verifier_of(password, salt, work["iterations"]),
            "pow": solve(work["challenge"], work["difficulty"]),
            **more,
        }

    def register(self, username: str, password: str = PASSWORD, **more: Any) -> Response:
        return self.post("/api/auth/register", json=self.registration(username, password, **more))

    def login_body(self, username: str, password: str = PASSWORD) -> dict[str, str]:
        """A body for `POST /api/auth/login` with a right proof for a fresh challenge."""
        asked = self.get("/api/auth/challenge", params={"username": username}).json()
        verifier = verifier_of(password, asked["salt"], asked["iterations"])
        return {
            "username": username,
            "challenge": asked["challenge"],
            "proof": proof_for(verifier, asked["challenge"]),
        }

    def log_in(self, username: str, password: str = PASSWORD) -> Response:
        return self.post("/api/auth/login", json=self.login_body(username, password))
