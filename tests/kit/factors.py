"""Second factors of a test's members: an authenticator app that is set up over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyotp

from tests.kit.api import Api
from tests.kit.browser import Browser


@dataclass
class AuthenticatorApp:
    """Shows the codes of a secret; a code that was shown is not shown again."""

    api: Api
    secret: str
    recovery_codes: list[str] = field(default_factory=list)

    def code(self, steps: int = 0) -> str:
        """The code of now, or of so many steps of 30 seconds later."""
        return pyotp.TOTP(self.secret).at(int(self.api.clock().timestamp()) + 30 * steps)


def set_up(api: Api, browser: Browser) -> AuthenticatorApp:
    """A secret and recovery codes, not in use yet."""
    reply = browser.post("/api/me/2fa/totp/setup")
    assert reply.status_code == 200, reply.text
    body = reply.json()
    return AuthenticatorApp(api, body["secret"], body["recoveryCodes"])


def enabled(api: Api, browser: Browser) -> AuthenticatorApp:
    """In use, by the code of one step ago, so that the one of now is unused."""
    app = set_up(api, browser)
    reply = browser.post("/api/me/2fa/totp/enable", json={"code": app.code(-1)})
    assert reply.status_code == 200, reply.text
    return app
