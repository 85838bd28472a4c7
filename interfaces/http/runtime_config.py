"""What a web client must know before it can do anything."""

from __future__ import annotations

from fastapi import APIRouter, Response

from interfaces.http.deps import Services
from interfaces.http.models import Reply

router = APIRouter(tags=["Public"])

KEPT_SECONDS = 300
"""Browsers and proxies may keep the answer so long, as with the reference."""


class RuntimeConfigReply(Reply):
    """Announce URLs without a key, null where there is none; there is no `wss` tracker."""

    tracker_http_url: str
    tracker_udp_url: str | None
    tracker_ws_url: str | None = None
    public_url: str
    app_version: str


@router.get("/api/runtime-config")
def show_runtime_config(services: Services, response: Response) -> RuntimeConfigReply:
    """Show the addresses of the tracker and the version, the same for everybody."""
    response.headers["Cache-Control"] = f"public, max-age={KEPT_SECONDS}"
    settings = services.settings
    return RuntimeConfigReply(
        tracker_http_url=services.torrents.addresses.http,
        tracker_udp_url=services.torrents.addresses.udp,
        public_url=settings.public_url,
        app_version=settings.version,
    )
