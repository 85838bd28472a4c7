"""Whether this process can serve."""

from __future__ import annotations

from time import perf_counter

from fastapi import APIRouter, Response
from pydantic import Field

from interfaces.http.deps import Services
from interfaces.http.models import Instant, Reply

router = APIRouter(tags=["Health"])


class Check(Reply):
    """One part: `latency` is milliseconds."""

    status: str
    latency: float


class HealthReply(Reply):
    """`ok` is what a probe reads; the rest is for people."""

    ok: bool
    status: str = Field(examples=["healthy"])
    timestamp: Instant
    checks: dict[str, Check]


@router.get(
    "/api/health",
    responses={503: {"model": HealthReply, "description": "A part does not answer."}},
)
def show_health(services: Services, response: Response) -> HealthReply:
    """Ask each part this process needs; 503 when one does not answer."""
    checks: dict[str, Check] = {}
    for name, probe in services.probes.items():
        start = perf_counter()
        try:
            probe()
            status = "healthy"
        except Exception:  # noqa: BLE001 (a probe may fail in any way; the text stays inside)
            status = "unhealthy"
        checks[name] = Check(status=status, latency=round((perf_counter() - start) * 1000, 2))
    ok = all(check.status == "healthy" for check in checks.values())
    if not ok:
        response.status_code = 503
    return HealthReply(
        ok=ok,
        status="healthy" if ok else "unhealthy",
        timestamp=services.clock(),
        checks=checks,
    )
