"""Every command's handler and every claim's refusal: one line per feature."""

from __future__ import annotations

from application import (
    account_bans,
    address_bans,
    address_keys,
    comments,
    follows,
    imports,
    invitations,
    moderation,
    passwords,
    profiles,
    roles,
    second_factor,
    security_keys,
    sessions,
    site,
    tags,
    taxonomy,
    torrent_edits,
    totp,
    trusted_devices,
    upload_rules,
    uploads,
    users,
)
from application.bus import Handlers, TakenErrors

HANDLERS: Handlers = {
    **users.HANDLERS,
    **roles.HANDLERS,
    **account_bans.HANDLERS,
    **sessions.HANDLERS,
    **totp.HANDLERS,
    **second_factor.HANDLERS,
    **trusted_devices.HANDLERS,
    **security_keys.HANDLERS,
    **profiles.HANDLERS,
    **follows.HANDLERS,
    **invitations.HANDLERS,
    **passwords.HANDLERS,
    **site.HANDLERS,
    **taxonomy.HANDLERS,
    **uploads.HANDLERS,
    **upload_rules.HANDLERS,
    **tags.HANDLERS,
    **torrent_edits.HANDLERS,
    **moderation.HANDLERS,
    **comments.HANDLERS,
    **address_keys.HANDLERS,
    **address_bans.HANDLERS,
    **imports.HANDLERS,
}
TAKEN: TakenErrors = {
    **users.TAKEN,
    **security_keys.TAKEN,
    **taxonomy.TAKEN,
    **uploads.TAKEN,
}
