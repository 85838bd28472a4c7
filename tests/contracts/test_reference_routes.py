"""No route of the reference is missing, called by another, or without its contract tests."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.reference_contracts import (
    ALSO,
    AREAS,
    CONTRACTS,
    LABELS,
    LEFT_OUT,
    SILENT,
    Wanted,
    choose,
    claims,
    claims_of_tests,
    reference_routes,
    served,
    shown_of,
    wanted_claims,
    wanted_routes,
)
from tests.kit.calls import Call

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_route_of_these_sections_is_served() -> None:
    assert {route.area for route in reference_routes()} >= AREAS
    assert [route.key for route in wanted_routes() if route.key not in served()] == []


def test_what_is_left_out_is_of_the_reference_and_not_served() -> None:
    known = {route.key for route in reference_routes() if route.area in AREAS}
    assert set(LEFT_OUT) <= known
    assert [key for key in LEFT_OUT if key in served()] == []
    economy = {key for key, why in LEFT_OUT.items() if "economy" in why}
    assert economy == {
        "POST /api/admin/users/{}/bonus-points",
        "GET /api/me/bonus-history",
        "GET /api/users/hnr",
    }


@pytest.mark.parametrize("route", wanted_routes(), ids=lambda route: route.key)
def test_the_document_says_who_may_call(route: Wanted) -> None:
    _, operation = served()[route.key]
    assert operation["x-permissions"] == ALSO.get(route.key, LABELS[route.label])


def test_exceptions_from_the_rules_are_of_use() -> None:
    labels = {route.key: LABELS[route.label] for route in wanted_routes()}
    assert [key for key, who in ALSO.items() if labels[key] == who] == []
    assert set(SILENT) <= set(labels)


def test_every_route_has_its_contract_tests() -> None:
    assert [claim for claim in wanted_claims() if claim not in claims()] == []
    assert [claim for claim in claims() if claim not in wanted_claims()] == []


def defined_in(file: str) -> set[str]:
    """Names of the test functions of a file."""
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_tests_that_are_named_exist(request: pytest.FixtureRequest) -> None:
    collected: dict[str, set[str]] = defaultdict(set)
    for item in request.session.items:
        collected[item.nodeid.partition("::")[0]].add(item.nodeid)
    missing = []
    for test in claims_of_tests():
        file, _, name = test.partition("::")
        functions = defined_in(file)
        if name.partition("[")[0] not in functions:
            missing.append(test)
        # Cases of a test are known where the whole file was collected, as in a run of everything.
        here = {node.partition("::")[2].partition("[")[0] for node in collected[file]}
        tests = {function for function in functions if function.startswith("test_")}
        if tests <= here and test not in collected[file] and not request.config.option.keyword:
            missing.append(test)
    assert missing == []


def test_the_table_is_in_order_and_names_each_thing_once() -> None:
    lines = CONTRACTS.read_text().splitlines()
    assert lines == sorted(lines)
    assert len(lines) == len(claims())


def a_route(label: str, path: str = "/api/things/{id}", **operation: Any) -> set[str]:
    method = operation.pop("method", "POST")
    return set(shown_of(Wanted(method, path, label, "x"), operation))


def test_what_must_be_shown_follows_from_label_and_input() -> None:
    where = {"in": "path", "name": "id", "schema": {"type": "string", "title": "Id"}}
    number = {"in": "path", "name": "id", "schema": {"type": "string", "format": "uuid"}}
    header = {"in": "header", "name": "x-after", "schema": {"type": "integer"}}
    page = {"in": "query", "name": "page", "schema": {"type": "integer"}}
    assert a_route("public", parameters=[header]) == {"success", "anonymous success"}
    assert a_route("user", parameters=[where]) == {"success", "anonymous", "missing"}
    assert "bad input" in a_route("user", parameters=[number])
    assert "bad input" in a_route("user", parameters=[page])
    assert "bad input" in a_route("user", requestBody={})
    assert "wrong role" in a_route("admin")
    assert "forbidden" in a_route("author / mod")


def a_call(status: int, code: str | None = None, *, session: bool = False) -> frozenset[str]:
    return Call("GET", "/", status, code, session=session, half_session=False).kinds


def test_a_call_shows_only_what_happened() -> None:
    assert a_call(200) == {"success", "anonymous success"}
    assert a_call(204, session=True) == {"success"}
    assert a_call(401) == {"anonymous"}
    assert a_call(401, session=True) == set()
    assert a_call(403, "permission_required", session=True) == {"wrong role"}
    assert a_call(403, "not_yours", session=True) == {"forbidden"}
    assert a_call(403, "permission_required") == set()
    assert a_call(400) == a_call(413) == a_call(415) == {"bad input"}
    assert a_call(404) == {"missing"}
    assert a_call(429) == a_call(500) == set()


def test_the_chooser_keeps_what_still_holds() -> None:
    claim, test = next(iter(claims().items()))
    assert choose({claim: {"a.py::test_a", test}}) == {claim: test}
    assert choose({claim: {"a.py::test_b[x]", "a.py::test_c"}}) == {claim: "a.py::test_c"}
    assert choose({}) == {}
