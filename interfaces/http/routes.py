"""Every router of the API: one line per feature."""

from __future__ import annotations

from fastapi import APIRouter

from interfaces.http import auth, health, me, site_settings

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    auth.router,
    me.router,
    site_settings.router,
)
