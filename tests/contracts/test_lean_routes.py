"""A lean route answers as any other route does, whatever is asked, and serves nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, Query, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from domain.errors import Invalid
from interfaces.http.errors import install_errors
from interfaces.http.lean_routes import LeanRoute

CALLS: list[str] = []
TEXTS = st.one_of(st.none(), st.sampled_from(["", "1", "7", "x", "asc", "300", "a" * 9]))


class Asked:
    """Plain values of the query, which it checks further."""

    def __init__(
        self,
        *,
        page: Annotated[int, Query(ge=1, le=100)] = 1,
        order: Literal["asc", "desc"] | None = None,
        word: Annotated[str | None, Query(alias="q", max_length=5)] = None,
    ) -> None:
        if page == 7:
            raise Invalid("page: not this one")
        self.told = f"{page} {order} {word}"


async def counted(request: Request) -> None:
    CALLS.append(request.method)


async def caller(request: Request, token: Annotated[str | None, Cookie()] = None) -> str:
    CALLS.append("caller")
    return f"{token} of {request.url.path}"


async def scoped(scopes: SecurityScopes, who: Annotated[str, Depends(caller)]) -> str:
    return f"{who} with {scopes.scopes}"


def show(
    number: int,
    asked: Annotated[Asked, Depends()],
    who: Annotated[str, Security(scoped, scopes=["read"])],
    again: Annotated[str, Depends(caller)],
    x_after: Annotated[int | None, Header(ge=0)] = None,
) -> Response:
    return Response(f"{number} {asked.told} {who} {again} {x_after}")


async def wait(number: int, word: Annotated[str, Query()]) -> Response:
    return Response(f"{number} {word}")


def app_of(kind: type[APIRoute]) -> FastAPI:
    app = FastAPI()
    install_errors(app)
    router = APIRouter(route_class=kind, dependencies=[Depends(counted)])
    router.get("/shown/{number}", response_class=Response)(show)
    router.get("/waited/{number}", response_class=Response)(wait)
    app.include_router(router)
    return app


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[TestClient, TestClient]]:
    with TestClient(app_of(LeanRoute)) as lean, TestClient(app_of(APIRoute)) as ordinary:
        yield lean, ordinary


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(["/shown/1", "/shown/x", "/waited/1", "/waited/x"]),
    query=st.fixed_dictionaries(dict.fromkeys(("page", "order", "q", "word", "other"), TEXTS)),
    after=TEXTS,
    token=TEXTS,
)
def test_it_answers_as_any_route(
    both: tuple[TestClient, TestClient],
    path: str,
    query: dict[str, str | None],
    after: str | None,
    token: str | None,
) -> None:
    headers = {
        name: value
        for name, value in (("x-after", after), ("cookie", token and f"token={token}"))
        if value is not None
    }
    params = {name: value for name, value in query.items() if value is not None}
    replies, calls = [], []
    for client in both:
        CALLS.clear()
        reply = client.get(path, params=params, headers=headers)
        replies.append((reply.status_code, reply.text))
        calls.append(CALLS.copy())
    assert replies[0] == replies[1]
    assert calls[0] == calls[1]
    assert calls[0].count("GET") == 1
    assert calls[0].count("caller") <= 1


def test_the_document_is_that_of_any_route() -> None:
    assert app_of(LeanRoute).openapi() == app_of(APIRoute).openapi()


def blocking() -> str:
    return "a thread would have to be taken for it"


def takes_body(body: dict[str, Any]) -> Response:
    return Response(str(body))


def takes_many(words: Annotated[list[str], Query()]) -> Response:
    return Response(str(words))


def depends(word: Annotated[str, Depends(blocking)]) -> Response:
    return Response(word)


@pytest.mark.parametrize("endpoint", [takes_body, takes_many, depends])
def test_what_it_can_not_serve_is_refused_when_it_is_made(
    endpoint: Callable[..., Response],
) -> None:
    with pytest.raises(TypeError, match="too much for a LeanRoute"):
        APIRouter(route_class=LeanRoute).post("/", response_class=Response)(endpoint)
