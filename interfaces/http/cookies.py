"""Our cookies: random tokens, sealed so that a forged one costs no look-up."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Response

from application.ports import Entropy

COOKIE = "trackarr-session"
LIFE = 7 * 24 * 3600
"""Seconds a browser keeps the cookie (behaviour of the reference)."""
HALF_COOKIE = "trackarr-2fa"
"""Holds a half session: the first factor is proven, the second is due."""
HALF_COOKIE_LIFE = 300
DEVICE_COOKIE = "trackarr_td"
"""Tells a trusted device (name as in the reference)."""
DEVICE_COOKIE_LIFE = 30 * 24 * 3600
_NONCE = 12


class SessionCookie:
    """Seals and opens a cookie; `key` is 32 bytes, `secure` marks it for https only.

    What was sealed as the cookie `name` opens as no other. `life` is in seconds.
    """

    def __init__(
        self,
        key: bytes,
        *,
        secure: bool,
        entropy: Entropy,
        name: str = COOKIE,
        life: int = LIFE,
    ) -> None:
        self.name = name
        self._life = life
        self._purpose = f"{name}/1".encode()
        self._aead = AESGCM(key)
        self._secure = secure
        self._entropy = entropy

    def seal(self, token: bytes) -> str:
        nonce = self._entropy.token(_NONCE)
        sealed = nonce + self._aead.encrypt(nonce, token, self._purpose)
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, value: str) -> bytes | None:
        """The token inside; None when the value was not sealed by us."""
        if len(value) > 256 or not value.isascii():
            return None
        try:
            sealed = urlsafe_b64decode(value + "=" * (-len(value) % 4))
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._purpose)
        except (ValueError, InvalidTag):
            return None

    def give(self, response: Response, token: bytes) -> None:
        response.set_cookie(
            self.name,
            self.seal(token),
            max_age=self._life,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )

    def clear(self, response: Response) -> None:
        response.delete_cookie(
            self.name, path="/", httponly=True, samesite="lax", secure=self._secure
        )
