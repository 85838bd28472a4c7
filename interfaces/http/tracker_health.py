"""Whether members can announce at this moment."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request

from interfaces.http.deps import Services
from interfaces.http.models import Instant, Reply
from interfaces.http.tracker_probe import TrackerProbe

router = APIRouter(tags=["Public"])


class PortReply(Reply):
    """One way to announce: whether the site offers it, and whether it answers."""

    enabled: bool
    up: bool


class TrackerHealthReply(Reply):
    """`online` when at least one way works; asked at `checkedAt`, at most ten seconds ago."""

    online: bool
    checked_at: Instant
    http: PortReply
    udp: PortReply


async def _probe_of(request: Request, services: Services) -> TrackerProbe:
    state = request.app.state
    if not hasattr(state, "tracker_probe"):
        state.tracker_probe = TrackerProbe(services.settings.tracker_ports)
    return cast("TrackerProbe", state.tracker_probe)


@router.get("/api/tracker-health")
def show_tracker_health(
    services: Services, probe: Annotated[TrackerProbe, Depends(_probe_of)]
) -> TrackerHealthReply:
    """Ask the tracker's ports, HTTP and UDP, at most once in ten seconds."""
    found = probe.availability(services.clock())
    return TrackerHealthReply(
        online=found.http or bool(found.udp),
        checked_at=found.at,
        http=PortReply(enabled=True, up=found.http),
        udp=PortReply(enabled=found.udp is not None, up=bool(found.udp)),
    )
