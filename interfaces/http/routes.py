"""Every router of the API: one line per feature."""

from __future__ import annotations

from fastapi import APIRouter

from interfaces.http import (
    account_bans,
    admin_invites,
    auth,
    banned_addresses,
    categories,
    follows,
    health,
    invites,
    me,
    member_torrents,
    moderation,
    passwords,
    roles,
    security_keys,
    sessions,
    site_settings,
    stats,
    torrent_uploads,
    torrents,
    trusted_devices,
    two_factor,
    two_factor_sign_in,
    users,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    auth.router,
    passwords.router,
    two_factor_sign_in.router,
    two_factor.router,
    trusted_devices.router,
    security_keys.router,
    security_keys.sign_in_router,
    me.router,
    member_torrents.router,
    sessions.router,
    users.router,
    account_bans.router,
    roles.router,
    follows.router,
    invites.router,
    admin_invites.router,
    banned_addresses.router,
    site_settings.router,
    categories.router,
    torrents.router,
    torrent_uploads.router,
    moderation.router,
    stats.router,
)
