"""Pages of a list: the reference's envelope, and a cursor for walking on."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query

from domain.errors import Invalid
from interfaces.http.models import Reply

T = TypeVar("T")
DEEPEST_ROW = 100_000
"""Rows `page` may skip; beyond it only the cursor walks on (design, section 9)."""

PageNumber = Annotated[int, Query(ge=1, le=DEEPEST_ROW, description="Page, from 1.")]


class BadCursor(Invalid):
    """The cursor was not given out by this list."""

    code = "bad_cursor"
    message = "cursor: was not given out by this list"


class PageTooDeep(Invalid):
    """So many rows are not skipped."""

    code = "page_too_deep"
    message = "page: lies too deep; follow nextCursor instead"


class Pagination(Reply):
    """Where a page stands. `total_exact` is false when `total` means "at least"."""

    page: int
    limit: int
    total: int
    pages: int
    total_exact: bool = True


class Page(Reply, Generic[T]):
    """One page of a list."""

    data: Sequence[T]
    pagination: Pagination
    next_cursor: str | None = None


def pagination(page: int, limit: int, total: int, *, exact: bool = True) -> Pagination:
    """Counts of a page; `pages` is 0 for an empty list."""
    return Pagination(
        page=page, limit=limit, total=total, pages=-(-total // limit), total_exact=exact
    )


def offset_of(page: int, limit: int) -> int:
    """Rows to skip. Raises `PageTooDeep` beyond `DEEPEST_ROW`."""
    offset = (page - 1) * limit
    if offset > DEEPEST_ROW:
        raise PageTooDeep()
    return offset


def write_cursor(*keys: str | int) -> str:
    """The sort keys of a page's last row, as an opaque word."""
    text = json.dumps(list(keys), separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read_cursor(cursor: str, *kinds: type) -> tuple[str | int, ...]:
    """The sort keys inside `cursor`, of exactly these `kinds`. Raises `BadCursor`."""
    try:
        keys = json.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise BadCursor() from None
    if not isinstance(keys, list) or [type(key) for key in keys] != list(kinds):
        raise BadCursor()
    for key in keys:
        if isinstance(key, int) and not -(2**63) <= key < 2**63:
            raise BadCursor()
        if isinstance(key, str) and ("\0" in key or not _is_text(key)):
            raise BadCursor()
    return tuple(keys)


def _is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON can spell half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
