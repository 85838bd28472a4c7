"""Refusals and faults as HTTP answers: the only place that knows statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

from domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from interfaces.http.notes import notes_of

STATUS: Mapping[type[DomainError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    TooMany: 429,
    Unavailable: 503,
}
_ROUTING = {
    404: ("route_not_found", "No such address."),
    405: ("method_not_allowed", "This address does not answer that method."),
    400: ("invalid", "The body could not be read."),
    413: (TooLarge.code, "The body is larger than allowed."),
}
_PHRASES = {413: "Content Too Large"}
"""Where Python's own phrase changed between versions (RFC 9110)."""
_LONGEST = 2000


class ErrorReply(BaseModel):
    """Every error: h3's five fields, with a stable `code` inside `data`."""

    url: str = Field(examples=["/api/example"])
    statusCode: int = Field(examples=[400])  # noqa: N815 (the reference's spelling)
    statusMessage: str = Field(examples=["Bad Request"])  # noqa: N815
    message: str = Field(examples=["username: must have at least 3 characters"])
    data: dict[str, Any] = Field(examples=[{"code": "invalid"}])


class UnsupportedMediaType(Invalid):
    """The body is of a kind this address does not read."""

    code = "unsupported_media_type"
    message = "Send the body as application/json."


class BodyTooSlow(DomainError):
    """The body did not arrive in time."""

    code = "body_too_slow"
    message = "The body arrived too slowly; send it again over a better line."


def status_of(refusal: DomainError) -> int:
    """HTTP status of a refusal, by its kind."""
    if isinstance(refusal, UnsupportedMediaType):
        return 415
    if isinstance(refusal, BodyTooSlow):
        return 408
    for kind in type(refusal).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 400


def refusals(*kinds: type[DomainError]) -> dict[int | str, dict[str, Any]]:
    """What a route declares in OpenAPI: one answer per status of the refusals it can give."""
    declared: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status = next(STATUS[base] for base in kind.__mro__ if base in STATUS)
        declared[status] = declare(status)
    return declared


def declare(status: int) -> dict[str, Any]:
    return {"model": ErrorReply, "description": phrase_of(status)}


def phrase_of(status: int) -> str:
    """The reason phrase of a status, the same under every Python."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def error_body(path: str, status: int, message: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "url": path,
        "statusCode": status,
        "statusMessage": phrase_of(status),
        # What was sent may be named in it: cut it short, and let no half character in.
        "message": message[:_LONGEST].encode("utf-8", "replace").decode(),
        "data": dict(data),
    }


def error_response(
    path: str, status: int, message: str, data: Mapping[str, Any], headers: Mapping[str, str] | None
) -> JSONResponse:
    # The path alone: a query may hold a key.
    return JSONResponse(
        error_body(path, status, message, data), status_code=status, headers=dict(headers or {})
    )


def refused(path: str, refusal: DomainError) -> JSONResponse:
    """The answer to a refusal."""
    data = {to_camel(name): value for name, value in refusal.data.items()}
    headers = {}
    if "retry_after" in refusal.data:
        headers["Retry-After"] = str(max(1, int(refusal.data["retry_after"])))
    return error_response(
        path, status_of(refusal), refusal.text, {"code": refusal.code, **data}, headers
    )


def validation_message(errors: Sequence[Any]) -> str:
    """`path: message; …`, without what was sent."""
    parts = []
    for error in errors:
        where = [str(step) for step in error["loc"]] or ["body"]
        if len(where) > 1 and where[0] in {"body", "query", "path", "header", "cookie"}:
            where = where[1:]
        said = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "json_invalid":
            where, said = ["body"], f"not valid JSON at character {error['loc'][-1]}"
        parts.append(f"{'.'.join(where)}: {said}")
    return "; ".join(parts)


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def install_errors(app: FastAPI) -> None:
    """Give every error of `app` the reference's shape."""

    @app.exception_handler(DomainError)
    async def on_refusal(request: Request, refusal: DomainError) -> JSONResponse:
        return refused(request.url.path, refusal)

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, fault: RequestValidationError) -> JSONResponse:
        errors = fault.errors()
        whole_body = any(tuple(error["loc"]) == ("body",) for error in errors)
        if whole_body and fault.body is not None and not _is_json(request):
            return refused(request.url.path, UnsupportedMediaType())
        return refused(request.url.path, Invalid(validation_message(errors)))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, fault: HTTPException) -> JSONResponse:
        code, message = _ROUTING.get(fault.status_code, ("refused", "The request was refused."))
        return error_response(
            request.url.path, fault.status_code, message, {"code": code}, fault.headers
        )


def unknown_fault(scope: Mapping[str, Any], fault: Exception) -> JSONResponse:
    """The answer to a fault of ours: the caller learns a correlation id, the log the rest."""
    correlation = str(notes_of(scope).correlation)
    structlog.get_logger().error(
        "http.failed",
        correlation=correlation,
        method=scope["method"],
        fault=type(fault).__name__,
        exc_info=fault,
    )
    data = {"code": "internal_error", "correlation": correlation}
    return error_response(scope["path"], 500, "Internal error", data, None)
