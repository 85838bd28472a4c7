"""Multipart bodies, read whole, after the caller was let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from email.message import Message
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

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


class _StrictParser(MultiPartParser):
    """Takes fields that are UTF-8 and no others, whatever charset the body claims.

    The parser below would take what is not in that charset for Latin-1, so that a title would
    be recorded which nobody wrote; and it knows charsets that give half surrogate pairs.
    """

    def on_part_end(self) -> None:
        self._charset = "utf-8"
        if self._current_part.file is None:
            try:
                self._current_part.data.decode()
            except UnicodeDecodeError:
                raise BadMultipart("The fields of the form must be UTF-8 text.") from None
        super().on_part_end()


async def read_form(request: Request, *, files: int) -> Form:
    """Read a multipart form of at most `files` files.

    Raises `UnsupportedMediaType` for another kind of body, `BadMultipart` for a broken one or
    one whose fields are not UTF-8.
    """
    kind = Message()
    kind["content-type"] = request.headers.get("content-type", "")
    if kind.get_content_type() != "multipart/form-data":
        raise UnsupportedMediaType("Send the body as multipart/form-data.")
    # Read first, so that an idempotency key can be bound to the bytes.
    await request.body()
    try:
        async with aclosing(request.stream()) as stream:
            parser = _StrictParser(
                request.headers,
                stream,
                max_files=files,
                max_fields=_FIELDS,
                max_part_size=_FIELD_BYTES,
            )
            form = await parser.parse()
    except MultiPartException as fault:
        raise BadMultipart(fault.message) from None
    except (ValueError, KeyError, LookupError, AssertionError):
        # A broken header ends in one of these inside the parser.
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
