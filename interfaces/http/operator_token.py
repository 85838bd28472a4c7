"""How the operator's own commands show that they are his."""

from __future__ import annotations

import hmac
from typing import Final

OPERATOR_HEADER: Final = "X-Trackarr-Operator"


def is_operator(given: str | None, token: str | None) -> bool:
    """Whether a command of the operator asks: he holds the data folder, and with it the token."""
    return token is not None and hmac.compare_digest((given or "").encode(), token.encode())
