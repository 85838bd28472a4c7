"""The code that says who may make the first account where strangers reach us before the operator."""

from __future__ import annotations

from ops.data_folder import kept_secret
from ops.run_state import secret_value
from ops.settings import Settings

SETUP_CODE_BYTES = 6


def setup_code(settings: Settings) -> str | None:
    """What the first registration must give: as set, else made once where we listen beyond loopback.

    None where nobody else can reach us and none was set.
    """
    given = secret_value(settings.protection.setup_code)
    if given or settings.network.is_loopback:
        return given
    return kept_secret(settings.storage.data_dir / "setup-code.secret", SETUP_CODE_BYTES)
