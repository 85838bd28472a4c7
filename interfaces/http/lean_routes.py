"""Routes whose requests skip FastAPI's solving of parameters while nothing is wrong with them.

FastAPI walks the declared parameters anew for each request, which takes several times as long as
the hot pages need for their rows. Here the walk is made once, when the route is made. A request
whose values do not hold is given to FastAPI as if nothing had been done, so refusals and the
document are the same as of any other route.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast, get_origin

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from starlette.concurrency import run_in_threadpool

_PLAIN: Final = (str, int, float, bool, type(None))
"""Defaults that may be handed out again and again."""
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class LeanRoute(APIRoute):
    """A route that answers with a `Response` of its own and takes no body.

    Its parameters are plain values of path, query, headers and cookies, the request, and
    dependencies of such: `async` functions, or classes, which only check. Raises TypeError when it
    is made of anything else.
    """

    def get_route_handler(self) -> _Handler:
        ordinary = super().get_route_handler()
        plan = _Plan(self.dependant)
        endpoint = cast("Callable[..., Any]", self.dependant.call)
        waits = inspect.iscoroutinefunction(endpoint)

        async def handle(request: Request) -> Response:
            values = plan.values(request)
            if values is None:
                return await ordinary(request)
            arguments = await plan.solve(values)
            if waits:
                return cast("Response", await endpoint(**arguments))
            return cast("Response", await run_in_threadpool(endpoint, **arguments))

        return handle


@dataclass(frozen=True, slots=True)
class _Field:
    """A plain value: in which of the request's mappings, under which name, and how it is checked."""

    place: str
    alias: str
    name: str
    check: Callable[[Any], tuple[Any, list[Any]]]


@dataclass(frozen=True, slots=True)
class _Step:
    """One callable: its plain values, and which steps before it give it the others."""

    call: Callable[..., Any]
    waits: bool
    defaults: Mapping[str, Any]
    fields: tuple[_Field, ...]
    given: tuple[tuple[str, int], ...]
    request: str | None


class _Plan:
    """What must be called for a route, in the order of its parameters, each once."""

    def __init__(self, route: Dependant) -> None:
        self._steps: list[_Step] = []
        self._known: dict[tuple[Any, tuple[str, ...]], int] = {}
        self._place(route, is_route=True)

    def values(self, request: Request) -> list[dict[str, Any]] | None:
        """The plain values of each step; None where one is missing or does not hold."""
        found: list[dict[str, Any]] = []
        for step in self._steps:
            values = dict(step.defaults)
            for field in step.fields:
                raw = getattr(request, field.place).get(field.alias)
                if raw is None:
                    if field.name not in values:
                        return None
                    continue
                value, faults = field.check(raw)
                if faults:
                    return None
                values[field.name] = value
            if step.request is not None:
                values[step.request] = request
            found.append(values)
        return found

    async def solve(self, values: list[dict[str, Any]]) -> dict[str, Any]:
        """Call every step but the last, the route's own; gives the arguments of that one."""
        results: list[Any] = []
        for step, arguments in zip(self._steps, values, strict=True):
            for name, giver in step.given:
                arguments[name] = results[giver]
            if len(results) == len(self._steps) - 1:
                break
            result = step.call(**arguments)
            results.append(await cast("Awaitable[Any]", result) if step.waits else result)
        return values[-1]

    def _place(self, dependant: Dependant, *, is_route: bool = False) -> int:
        """The number of the step for this callable, behind the steps it needs."""
        call = cast("Callable[..., Any]", dependant.call)
        _require_lean(dependant, may_block=is_route)
        scopes = (*(dependant.parent_oauth_scopes or ()), *(dependant.own_oauth_scopes or ()))
        # What looks at no scopes is the same whichever route's they are.
        key = (call, scopes if _looks_at_scopes(dependant) else ())
        if key in self._known:
            return self._known[key]
        inner = [(below.name, self._place(below)) for below in dependant.dependencies]
        fields, defaults = _fields_of(dependant)
        if dependant.security_scopes_param_name:
            defaults[dependant.security_scopes_param_name] = SecurityScopes(
                scopes=list(dict.fromkeys(scopes))
            )
        self._steps.append(
            _Step(
                call=call,
                waits=_waits(call),
                defaults=defaults,
                fields=fields,
                given=tuple((name, step) for name, step in inner if name is not None),
                request=dependant.request_param_name or dependant.http_connection_param_name,
            )
        )
        self._known[key] = len(self._steps) - 1
        return self._known[key]


def _looks_at_scopes(dependant: Dependant) -> bool:
    return dependant.security_scopes_param_name is not None or any(
        map(_looks_at_scopes, dependant.dependencies)
    )


def _waits(call: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 (whether that one is a coroutine's)
    )


def _require_lean(dependant: Dependant, *, may_block: bool) -> None:
    call = cast("Callable[..., Any]", dependant.call)
    is_generator = inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)
    asks_more = (
        dependant.body_params
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.concurrency
        or not dependant.use_cache
    )
    if is_generator or asks_more or not (may_block or _waits(call) or inspect.isclass(call)):
        raise TypeError(f"{call!r} is too much for a LeanRoute")


def _fields_of(dependant: Dependant) -> tuple[tuple[_Field, ...], dict[str, Any]]:
    """The plain values of a callable, and the defaults of those that have one."""
    fields: list[_Field] = []
    defaults: dict[str, Any] = {}
    for place, params in (
        ("path_params", dependant.path_params),
        ("query_params", dependant.query_params),
        ("headers", dependant.header_params),
        ("cookies", dependant.cookie_params),
    ):
        for field in params:
            info = field.field_info
            if not info.is_required():
                defaults[field.name] = field.get_default()
            if (
                get_origin(info.annotation) in (list, set, tuple)
                or not isinstance(defaults.get(field.name), _PLAIN)
                or info.validate_default
            ):
                raise TypeError(f"{field.name} is too much for a LeanRoute")
            fields.append(_Field(place, field.alias, field.name, field.validate))
    return tuple(fields), defaults
