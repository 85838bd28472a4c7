"""What is noted about one request on its way: correlation, and what its command reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from application.sessions import SignIn

_KEY = "trackarr.notes"


@dataclass(slots=True)
class RequestNotes:
    """Filled in by the routes, read by the middleware when the answer starts."""

    correlation: UUID
    position: int | None = None
    stale: tuple[str, ...] = ()
    repeated: bool = False
    looked_up: bool = False
    sign_in: SignIn | None = None
    """Who asks, once that was looked up."""


def notes_of(scope: Mapping[str, Any]) -> RequestNotes:
    return cast("RequestNotes", scope[_KEY])


def note_request(scope: Any, correlation: UUID) -> RequestNotes:
    """Open the notes of a request."""
    notes = RequestNotes(correlation=correlation)
    scope[_KEY] = notes
    return notes
