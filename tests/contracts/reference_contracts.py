"""Which contract test shows what of each of the reference's routes.

`tests/fixtures/reference_contracts.tsv` names, for each route and each thing to be shown of it, one
test. Every test that is named there must make such a call when it runs (`conftest.py` looks), and
the table must be whole and name tests that exist (`test_reference_routes.py`). To make it anew:

    TRACKARR_NOTE_CALLS=/tmp/calls python -m pytest tests/contracts
    python -m tests.contracts.reference_contracts /tmp/calls
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from interfaces.http.app import api_document
from interfaces.http.openapi import operations
from tests.kit.calls import Call

FIXTURES: Final = Path(__file__).parent.parent / "fixtures"
ROUTES: Final = FIXTURES / "reference_routes.tsv"
CONTRACTS: Final = FIXTURES / "reference_contracts.tsv"

AREAS: Final = frozenset(
    {
        "identity",  # Authentication, Two-factor (both)
        "profile",
        "social",  # Follows
        "invitations",
        "users",  # Users & roles, Banned IPs
        "public",
        "catalogue",  # Torrents, Favorites
        "moderation",
        "reports",
        "forum",
        "taxonomy",  # Categories & tags
        "uploadrules",
    }
)
"""The reference's sections that must be whole, by the word of the table."""
LABELS: Final[Mapping[str, str]] = {
    "public": "public",
    "user": "user",
    "user (1FA)": "user (1FA)",
    "mod": "moderator",
    "admin": "administrator",
    "uploader / mod": "uploader | moderator",
    "author / mod": "author | moderator",
    "thread†": "uploader | staff",
}
"""What the document says (`x-permissions`) where the reference has this label."""
ALSO: Final[Mapping[str, str]] = {
    "POST /api/auth/logout": "user | user (1FA)",
    "GET /api/admin/users": "staff",
    "POST /api/admin/users/{}/ban": "staff",
    "POST /api/admin/users/{}/unban": "staff",
    "GET /api/admin/banned-ips": "staff",
    "POST /api/admin/banned-ips": "staff",
    "DELETE /api/admin/banned-ips/{}": "staff",
    "GET /api/admin/reports": "staff",
    "PUT /api/admin/reports/{}": "staff",
}
"""Routes that more may call than their label says: who is half signed in may leave, and
moderators see members, ban, and judge reports (issue 5; the reference's own pages say so too)."""
LEFT_OUT: Final[Mapping[str, str]] = {
    "POST /api/admin/users/{}/bonus-points": "comes with the economy",
    "GET /api/me/bonus-history": "comes with the economy",
    "GET /api/users/hnr": "comes with the economy",
    "GET /api/branding": "comes with the settings",
    "GET /api/announcement": "comes with the settings",
    "GET /api/homepage-content": "comes with the settings",
}
"""Routes of these sections that are not there yet, and why."""
SILENT: Final[Mapping[str, str]] = {
    "DELETE /api/users/{}/follow": "silent if not following",
    "DELETE /api/torrents/{}/favorite": "silent if not starred",
    "DELETE /api/admin/banned-ips/{}": "answers that nothing was removed",
    "DELETE /api/admin/tags/{}": "answers that nothing was removed",
}
"""Routes that answer a success where nothing is found, in the reference's words."""
_MISSING_IS_BAD: Final = frozenset({"string"})
"""Path parameters any text may stand for: what is no hash is just not found."""

Route = tuple[str, str]
"""Method and path, as the application writes it."""
Claim = tuple[str, str, str]
"""Method, path, and what is shown."""


@dataclass(frozen=True)
class Wanted:
    """A route of the reference; `key` is method and path without the names of variables."""

    method: str
    path: str
    label: str
    area: str

    @property
    def key(self) -> str:
        return f"{self.method} {bare(self.path)}"


def bare(path: str) -> str:
    """The path with `{}` for each variable, however it is named or spelled."""
    parts = path.split("/")
    return "/".join("{}" if part[:1] in {":", "{"} else part for part in parts)


def wanted_routes() -> list[Wanted]:
    """The reference's routes of the sections that must be whole, without those left out."""
    return [route for route in reference_routes() if route.area in AREAS and not left_out(route)]


def left_out(route: Wanted) -> bool:
    return route.key in LEFT_OUT


@cache
def reference_routes() -> tuple[Wanted, ...]:
    """Every route of the reference."""
    lines = ROUTES.read_text().splitlines()[1:]
    return tuple(Wanted(*line.split("\t")[:4]) for line in lines)


@cache
def served() -> Mapping[str, tuple[Route, dict[str, Any]]]:
    """The application's operations by bare method and path."""
    return {
        f"{method.upper()} {bare(path)}": ((method.upper(), path), operation)
        for path, method, operation in operations(api_document("0"))
    }


def shown_of(route: Wanted, operation: dict[str, Any]) -> Iterator[str]:
    """What contract tests must show of a route.

    Nobody has the wrong role for what everybody or every member may ask; what takes no input
    knows no bad one; what names nothing can miss nothing.
    """
    yield "success"
    yield "anonymous success" if route.label == "public" else "anonymous"
    if route.label in {"mod", "admin"}:
        yield "wrong role"
    elif route.label in {"uploader / mod", "author / mod"}:
        yield "forbidden"
    parameters = [one for one in operation.get("parameters", []) if one["in"] != "header"]
    inside = [one for one in parameters if one["in"] == "path"]
    asked = [one for one in parameters if one["in"] == "query" or not _is_any_text(one)]
    if asked or "requestBody" in operation:
        yield "bad input"
    if inside and route.key not in SILENT:
        yield "missing"


def _is_any_text(parameter: dict[str, Any]) -> bool:
    return set(parameter["schema"]) <= {"type", "title"} and (
        parameter["schema"].get("type") in _MISSING_IS_BAD
    )


def wanted_claims() -> list[Claim]:
    """Everything that must be shown, of the routes that are served."""
    found: list[Claim] = []
    for route in wanted_routes():
        if route.key in served():
            (method, path), operation = served()[route.key]
            found += [(method, path, kind) for kind in shown_of(route, operation)]
    return found


@cache
def claims() -> Mapping[Claim, str]:
    """The committed table: for each thing to be shown, the test that shows it."""
    rows = [line.split("\t") for line in CONTRACTS.read_text().splitlines()]
    return {(method, path, kind): test for method, path, kind, test in rows}


@cache
def claims_of_tests() -> Mapping[str, frozenset[Claim]]:
    """The committed table by test."""
    found: dict[str, set[Claim]] = defaultdict(set)
    for claim, test in claims().items():
        found[test].add(claim)
    return {test: frozenset(made) for test, made in found.items()}


def shown_by(calls: Sequence[Call]) -> set[Claim]:
    """What these calls show, of the routes in the document."""
    return {
        (*served()[f"{call.method} {bare(call.path)}"][0], kind)
        for call in calls
        for kind in call.kinds
        if f"{call.method} {bare(call.path)}" in served()
    }


def choose(noted: Mapping[Claim, set[str]]) -> dict[Claim, str]:
    """One test for each claim: the one of before if it still shows it, else a plain one."""
    before = claims() if CONTRACTS.exists() else {}
    chosen = {}
    for claim in wanted_claims():
        tests = noted.get(claim, set())
        if before.get(claim) in tests:
            chosen[claim] = before[claim]
        elif tests:
            chosen[claim] = min(tests, key=lambda test: ("[" in test, test))
    return chosen


def main(path: str) -> None:
    noted: dict[Claim, set[str]] = defaultdict(set)
    for line in Path(path).read_text().splitlines():
        test, method, where, kind = line.split("\t")
        if (key := f"{method} {bare(where)}") in served():
            noted[(*served()[key][0], kind)].add(test)
    chosen = choose(noted)
    CONTRACTS.write_text(
        "".join("\t".join((*claim, test)) + "\n" for claim, test in sorted(chosen.items()))
    )
    for claim in wanted_claims():
        if claim not in chosen:
            print("nobody shows:", *claim)


if __name__ == "__main__":
    main(sys.argv[1])
