"""The session cookie: a random token, sealed so that a forged one costs no look-up."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Response

from application.ports import Entropy

COOKIE = "trackarr-session"
LIFE = 7 * 24 * 3600
"""Seconds a browser keeps the cookie (behaviour of the reference)."""
_NONCE = 12
_PURPOSE = b"trackarr-session/1"


class SessionCookie:
    """Seals and opens the cookie; `key` is 32 bytes, `secure` marks it for https only."""

    def __init__(self, key: bytes, *, secure: bool, entropy: Entropy) -> None:
        self._aead = AESGCM(key)
        self._secure = secure
        self._entropy = entropy

    def seal(self, token: bytes) -> str:
        nonce = self._entropy.token(_NONCE)
        sealed = nonce + self._aead.encrypt(nonce, token, _PURPOSE)
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, value: str) -> bytes | None:
        """The token inside; None when the value was not sealed by us."""
        if len(value) > 256 or not value.isascii():
            return None
        try:
            sealed = urlsafe_b64decode(value + "=" * (-len(value) % 4))
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], _PURPOSE)
        except (ValueError, InvalidTag):
            return None

    def give(self, response: Response, token: bytes) -> None:
        response.set_cookie(
            COOKIE,
            self.seal(token),
            max_age=LIFE,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )

    def clear(self, response: Response) -> None:
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=self._secure)
