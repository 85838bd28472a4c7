"""Changing the site's settings."""

from __future__ import annotations

from typing import Any

import msgspec

from application.bus import Handler, Unit
from domain import site
from domain.site_settings import DEFAULTS, SettingValue


class ChangeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Set any settings to new values; others stay as they are."""

    changes: dict[str, Any]


def load_site(unit: Unit) -> site.Site:
    """The site as it is now, also before its first fact."""
    return unit.load(site.SITE, site.evolve) or site.UNFOUNDED


def handle_change_settings(unit: Unit, command: ChangeSettings) -> dict[str, SettingValue]:
    """Change them; all settings as they are then. Raises `SettingUnknown`, `SettingInvalid`."""
    current = load_site(unit)
    facts = site.change_settings(current, command.changes)
    unit.record(site.SITE, current.version, facts)
    return {**DEFAULTS, **current.changed, **command.changes}


HANDLERS: dict[type, Handler] = {ChangeSettings: handle_change_settings}
