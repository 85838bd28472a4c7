"""Shapes every JSON body and reply is made of: camelCase names, instants, plain text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel


def instant_text(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as the reference writes instants."""
    # Of what the standard library offers, the quickest: hot pages write many.
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _no_control_characters(text: str) -> str:
    # PostgreSQL text cannot hold NUL, and the others have no business in a single line.
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("must not contain control characters")
    return _no_lone_surrogate(text)


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return _no_lone_surrogate(text)


def _no_lone_surrogate(text: str) -> str:
    # JSON can spell half of a pair (`"\\ud800"`), which no UTF-8 and so no fact can hold.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain half of a surrogate pair") from None
    return text


Instant = Annotated[datetime, PlainSerializer(instant_text, return_type=str, when_used="json")]
Line = Annotated[str, AfterValidator(_no_control_characters)]
"""Text of one line."""
Prose = Annotated[str, AfterValidator(_no_nul)]
"""Text of many lines."""


class Reply(BaseModel):
    """An answer: fields are written in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Body(BaseModel):
    """A request body: camelCase or the name itself is read, unknown keys are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class StrictBody(BaseModel):
    """A request body whose unknown keys are refused and whose types are taken literally."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", strict=True
    )
