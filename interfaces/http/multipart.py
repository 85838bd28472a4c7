"""Multipart bodies, read whole, after the caller was let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from domain.errors import Invalid
from interfaces.http.errors import UnsupportedMediaType

_FIELDS = 40
_FIELD_BYTES = 512 * 1024
"""Of one field: the longest description in any script, or an NFO beyond what is taken."""


class BadMultipart(Invalid):
    """The body is not a readable multipart form."""

    code = "bad_multipart"
    message = "The body is not a readable multipart form."


@dataclass(frozen=True)
class FilePart:
    """A file of a form: the name the client gave it, and its bytes."""

    filename: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """Fields and files of a form by name; of a name sent twice the last counts."""

    fields: Mapping[str, str]
    files: Mapping[str, FilePart]


async def read_form(request: Request, *, files: int) -> Form:
    """Read a multipart form of at most `files` files.

    Raises `UnsupportedMediaType` for another kind of body, `BadMultipart` for a broken one.
    """
    kind = Message()
    kind["content-type"] = request.headers.get("content-type", "")
    if kind.get_content_type() != "multipart/form-data":
        raise UnsupportedMediaType("Send the body as multipart/form-data.")
    # Read first, so that an idempotency key can be bound to the bytes.
    await request.body()
    try:
        form = await request.form(max_files=files, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
    except (ValueError, KeyError, LookupError, AssertionError):
        # An unknown charset or a broken header ends in one of these inside the parser.
        raise BadMultipart() from None
    fields: dict[str, str] = {}
    parts: dict[str, FilePart] = {}
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                parts[name] = FilePart(value.filename or "", await value.read())
            else:
                fields[name] = value
    finally:
        await form.close()
    return Form(fields=fields, files=parts)


def form_schema(properties: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a form itself."""
    schema = {"type": "object", "properties": dict(properties), "required": list(required)}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def form_reader(*, files: int) -> Callable[[Request], Awaitable[Form]]:
    """A dependency that reads a form of at most `files` files."""

    async def read(request: Request) -> Form:
        return await read_form(request, files=files)

    return read
