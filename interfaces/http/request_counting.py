"""Counts each request before its route runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from domain.permissions import Permission
from interfaces.http.client_address import client_address_of
from interfaces.http.deps import services_in, sign_in_of
from interfaces.http.operator_token import OPERATOR_HEADER, is_operator
from interfaces.http.rate_limits import Asker, bucket_of


async def count_request(request: Request) -> None:
    """Count this request against what its caller may ask. Raises `RateLimited`."""
    services, sign_in = services_in(request), await sign_in_of(request)
    limiter, operator = services.limiter, request.headers.get(OPERATOR_HEADER)
    if limiter is None or is_operator(operator, services.settings.operator_token):
        return
    path = _path_of(request.scope)
    bucket = bucket_of(request.method, path, signed_in=sign_in is not None)
    if bucket is None:
        return
    actor = sign_in.actor if sign_in else None
    asker = Asker(
        address=client_address_of(request),
        account=str(actor.account) if actor else None,
        is_staff=actor is not None and Permission.CAN_MODERATE.value in actor.permissions,
    )
    await run_in_threadpool(limiter.admit, bucket, asker)


COUNTED: Final = Depends(count_request)


def _path_of(scope: Mapping[str, Any]) -> str:
    return str(getattr(scope.get("route"), "path", scope["path"]))
