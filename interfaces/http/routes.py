"""Every router of the API: one line per feature."""

from __future__ import annotations

from fastapi import APIRouter

from interfaces.http import (
    auth,
    categories,
    follows,
    health,
    me,
    member_torrents,
    moderation,
    passwords,
    sessions,
    site_settings,
    stats,
    torrent_uploads,
    torrents,
    users,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    auth.router,
    passwords.router,
    me.router,
    member_torrents.router,
    sessions.router,
    users.router,
    follows.router,
    site_settings.router,
    categories.router,
    torrents.router,
    torrent_uploads.router,
    moderation.router,
    stats.router,
)
