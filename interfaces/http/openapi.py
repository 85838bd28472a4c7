"""The OpenAPI document made complete, and a page that shows it without any network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

from domain.permissions import Permission
from interfaces.http.address_gate import OPEN_TO_BANNED

_ERROR = {"$ref": "#/components/schemas/ErrorReply"}
_ONCE = "idempotency-key"
"""With it, any command may be refused as one that was already given with another body."""
_METHODS = ("get", "post", "put", "patch", "delete", "head")
_PHRASES = {
    "400": "Bad Request",
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "Not Found",
    "408": "Request Timeout",
    "409": "Conflict",
    "413": "Content Too Large",
    "415": "Unsupported Media Type",
    "429": "Too Many Requests",
    "500": "Internal Server Error",
    "503": "Service Unavailable",
}
_WHO = "x-permissions"
_CALLERS = {
    (): "user",
    (Permission.CAN_MODERATE.value,): "moderator",
    (Permission.CAN_ACCESS_ADMIN.value,): "administrator",
    (f"{Permission.CAN_MODERATE.value}|{Permission.CAN_ACCESS_ADMIN.value}",): "staff",
    ("uploader|moderator",): "uploader | moderator",
    ("author|moderator",): "author | moderator",
    ("thread",): "uploader | staff",
}
"""Scopes of the typed parameter `deps` gives a route, as words."""
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "summary{cursor:pointer}code,pre{background:#8882;padding:.1em .3em}pre{overflow:auto}"
)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of every route in the document."""
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def callers_of(security: Sequence[Mapping[str, Sequence[str]]]) -> str:
    """Who may call, out of the security rules FastAPI derived from the route's parameters.

    Raises KeyError for scopes that have no word yet.
    """
    rules = {name: tuple(scopes) for rule in security for name, scopes in rule.items()}
    if not rules or "sessionOptional" in rules:
        return "public"
    words = [_CALLERS[rules["session"]]] if "session" in rules else []
    return " | ".join([*words, *(["user (1FA)"] if "halfSession" in rules else [])])


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Declare what every route can answer, our 400 for FastAPI's 422, and who may call it."""
    for path, method, operation in operations(document):
        declared = operation["responses"]
        declared.pop("422", None)
        wanted = {"400", "429", "500", "503"} | _of_its_parts(path, operation)
        if method != "get" or path not in OPEN_TO_BANNED:
            wanted.add("403")
        if any(parameter["name"] == _ONCE for parameter in operation.get("parameters", [])):
            wanted.add("409")
        security = operation.get("security", [])
        operation[_WHO] = callers_of(security)
        if any("sessionOptional" in rule for rule in security):
            operation["security"] = [{}, {"session": []}]
        elif security:
            wanted |= {"401"}
            if any(rule.get("session") for rule in security):
                wanted.add("403")
        for status in sorted(wanted - set(declared)):
            declared[status] = {
                "description": _PHRASES[status],
                "content": {"application/json": {"schema": _ERROR}},
            }
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components.get("securitySchemes", {}).pop("sessionOptional", None)
    return document


def _of_its_parts(path: str, operation: dict[str, Any]) -> set[str]:
    """Statuses any request with a body, or with a variable in its address, can be answered."""
    found = {"408", "413", "415"} if "requestBody" in operation else set()
    # What stands for the variable may be nothing an address can hold.
    return found | ({"404"} if "{" in path else set())


def install_openapi(app: FastAPI, error_schema: dict[str, Any]) -> None:
    """Serve the completed document at `/openapi.json` and a readable page at `/docs`."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, routes=app.routes, summary=app.summary
            )
            made.setdefault("components", {}).setdefault("schemas", {}).setdefault(
                "ErrorReply", error_schema
            )
            app.openapi_schema = complete(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]

    def show_docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    def show_docs_style() -> Response:
        return Response(_STYLE, media_type="text/css")

    app.add_api_route("/docs", show_docs, include_in_schema=False)
    app.add_api_route("/docs.css", show_docs_style, include_in_schema=False)


def docs_page(document: dict[str, Any]) -> str:
    """The document as one page: no script, nothing fetched from elsewhere."""
    title = escape(document["info"]["title"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f'<link rel="stylesheet" href="/docs.css"><h1>{title}</h1>',
        '<p>Machine-readable: <a href="/openapi.json">/openapi.json</a></p>',
    ]
    tag = ""
    for path, method, operation in sorted(
        operations(document), key=lambda entry: (_tag(entry[2]), entry[0], entry[1])
    ):
        if _tag(operation) != tag:
            tag = _tag(operation)
            parts.append(f"<h2>{escape(tag)}</h2>")
        parts.append(_operation_html(path, method, operation))
    return "".join(parts)


def _tag(operation: dict[str, Any]) -> str:
    return str((operation.get("tags") or ["other"])[0])


def _operation_html(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [f"<p>{escape(operation.get('description', operation.get('summary', '')))}</p>"]
    rows.append(f"<p>Who: {escape(operation[_WHO])}</p>")
    for parameter in operation.get("parameters", []):
        where = f"{parameter['in']} <code>{escape(parameter['name'])}</code>"
        rows.append(f"<li>{where} {escape(parameter.get('description', ''))}</li>")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(f"<li>body {escape(kind)} <code>{_schema_name(content)}</code></li>")
    for status, answer in sorted(operation["responses"].items()):
        names = {_schema_name(content) for content in answer.get("content", {}).values()}
        shown = ", ".join(sorted(names - {""}))
        rows.append(f"<li>{status} {escape(answer['description'])} <code>{shown}</code></li>")
    head = f"<strong>{method.upper()}</strong> <code>{escape(path)}</code>"
    return f"<details><summary>{head} {escape(operation.get('summary', ''))}</summary>{''.join(rows)}</details>"


def _schema_name(content: dict[str, Any]) -> str:
    schema = content.get("schema", {})
    return escape(
        str(schema.get("$ref", schema.get("title", schema.get("type", "")))).split("/")[-1]
    )
