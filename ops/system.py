"""The real clock and the real randomness."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import UUID

import uuid6


def system_clock() -> datetime:
    """The wall clock in UTC (`application.ports.Clock`)."""
    return datetime.now(UTC)


class SystemEntropy:
    """Ids and tokens from the operating system (`application.ports.Entropy`)."""

    def uuid(self) -> UUID:
        """A new UUIDv7 (RFC 9562), as the plain standard class."""
        return UUID(bytes=uuid6.uuid7().bytes)

    def token(self, size: int) -> bytes:
        return os.urandom(size)
