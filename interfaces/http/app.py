"""The HTTP application: routes over services that are handed in."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from interfaces.http.address_gate import AddressGate, BannedNetworks
from interfaces.http.client_address import ClientAddresses
from interfaces.http.errors import ErrorReply, install_errors
from interfaces.http.openapi import install_openapi
from interfaces.http.request_counting import COUNTED
from interfaces.http.request_guards import RequestGuards, body_limits
from interfaces.http.routes import ROUTERS
from interfaces.http.security import Edge
from interfaces.http.services import HttpServices


def _operation_id(route: APIRoute) -> str:
    return route.name


def create_app(services: HttpServices) -> FastAPI:
    """Build the application. It opens and closes nothing: `services` live as long as it."""
    app = _routed(services.settings.version)
    app.state.services = services
    app.add_middleware(
        RequestGuards,
        limits=body_limits(ROUTERS, services.settings.max_body),
        at_once=services.settings.requests_at_once,
        patience=services.settings.body_patience_seconds,
    )
    banned = BannedNetworks(services.reads, reread_seconds=services.settings.bans_reread_seconds)
    app.add_middleware(AddressGate, banned=banned, clock=services.clock)
    app.add_middleware(
        Edge,
        addresses=ClientAddresses(services.settings.trusted_proxies),
        entropy=services.entropy,
        public_url=services.settings.public_url,
    )
    return app


def api_document(version: str) -> dict[str, Any]:
    """The OpenAPI document of this code; needs no services, as nothing is served."""
    return _routed(version).openapi()


def _routed(version: str) -> FastAPI:
    """Routes, errors and document, before anything stands behind them."""
    app = FastAPI(
        title="Trackarr",
        summary="A private BitTorrent tracker and its community, auditable to the byte.",
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        dependencies=[COUNTED],
    )
    install_errors(app)
    for router in ROUTERS:
        app.include_router(router)
    install_openapi(app, ErrorReply.model_json_schema())
    return app
