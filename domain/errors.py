"""Refusals by kind. A domain error knows what went wrong, never an HTTP status."""

from __future__ import annotations

from typing import Any, ClassVar


class DomainError(Exception):
    """A refusal with a stable `code`, one plain sentence, and optional public `data`."""

    code: ClassVar[str] = "refused"
    message: ClassVar[str] = "The request was refused."

    def __init__(self, message: str | None = None, **data: Any) -> None:
        super().__init__(message or self.message)
        self.data = data

    @property
    def text(self) -> str:
        return str(self.args[0])


class Invalid(DomainError):
    """The input can never be right (400)."""

    code = "invalid"


class Unauthenticated(DomainError):
    """Nobody is signed in, or the proof is wrong (401)."""

    code = "unauthenticated"
    message = "Authentication required"


class Forbidden(DomainError):
    """Signed in, but may not (403)."""

    code = "forbidden"


class NotFound(DomainError):
    """No such thing, or hidden from the one who asks (404)."""

    code = "not_found"


class Conflict(DomainError):
    """Right in itself, but not in the present state (409)."""

    code = "conflict"


class TooLarge(DomainError):
    """More bytes than allowed (413)."""

    code = "too_large"


class TooMany(DomainError):
    """A limit on how often is reached (429); `data["retry_after"]` is whole seconds."""

    code = "too_many"


class Unavailable(DomainError):
    """A part this needs is away or behind (503); `data["retry_after"]` is whole seconds."""

    code = "unavailable"
