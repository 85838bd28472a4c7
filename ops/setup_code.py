"""The code that says who may make the first account where strangers reach us before the operator."""

from __future__ import annotations

from pathlib import Path

from ops.data_folder import kept_secret, read_secret
from ops.run_state import secret_value
from ops.settings import Settings

SETUP_CODE_BYTES = 6


def setup_code(settings: Settings) -> str | None:
    """What the first registration must give: as set, else made once where we listen beyond loopback.

    None where nobody else can reach us and none was set. For those that serve; who only looks
    uses `find_setup_code`.
    """
    if not asks_setup_code(settings):
        return None
    given = secret_value(settings.protection.setup_code)
    return given or kept_secret(_place(settings), SETUP_CODE_BYTES)


def find_setup_code(settings: Settings) -> str | None:
    """The code as it is set or was made; None where none is asked, or none was made yet."""
    if not asks_setup_code(settings):
        return None
    return secret_value(settings.protection.setup_code) or read_secret(_place(settings))


def asks_setup_code(settings: Settings) -> bool:
    """Whether the first registration needs a code."""
    given = secret_value(settings.protection.setup_code)
    return bool(given) or not settings.network.is_loopback


def _place(settings: Settings) -> Path:
    return settings.storage.data_dir / "setup-code.secret"
