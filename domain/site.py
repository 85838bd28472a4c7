"""The site itself: founded once, and the settings its administrators change at run time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

import msgspec

from domain.errors import Conflict, Invalid
from domain.kernel import Claim, Envelope, Fact
from domain.site_settings import DEFAULTS, SETTINGS, SettingValue

SITE = UUID("5f0f7c1e-8f4b-5b8e-9a53-0f2a4f1d7e10")
"""The one aggregate of this kind."""


class SiteFounded(Fact, frozen=True):
    """The first account was registered; its owner administers the site."""

    TOPIC: ClassVar[str] = "site.founded.1"

    founder: UUID

    def claims(self) -> tuple[Claim, ...]:
        return (Claim("site.first_account", "1"),)


class SiteSettingsChanged(Fact, frozen=True):
    """An administrator changed settings; only the named ones have new values."""

    TOPIC: ClassVar[str] = "site.settings_changed.1"

    changes: dict[str, SettingValue]


FACTS: tuple[type[Fact], ...] = (SiteFounded, SiteSettingsChanged)


class SettingUnknown(Invalid):
    """There is no setting of this name."""

    code = "setting_unknown"


class SettingInvalid(Invalid):
    """A setting can't have this value."""

    code = "setting_invalid"


class SiteAlreadyFounded(Conflict):
    """The first account exists already."""

    code = "site_already_founded"
    message = "This site already has its first account."


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the site has its first account, and the settings that differ from the default."""

    version: int
    founder: UUID | None = None
    changed: Mapping[str, SettingValue] = {}

    def setting(self, key: str) -> SettingValue:
        """The value in force. Raises KeyError for a name the table does not have."""
        return self.changed.get(key, DEFAULTS[key])


UNFOUNDED = Site(version=0)


def evolve(state: Site | None, envelope: Envelope) -> Site:
    """The site after one more fact."""
    site = msgspec.structs.replace(state or UNFOUNDED, version=envelope.originator_version)
    match envelope.fact:
        case SiteFounded(founder=founder):
            return msgspec.structs.replace(site, founder=founder)
        case SiteSettingsChanged(changes=changes):
            return msgspec.structs.replace(site, changed={**site.changed, **changes})
        case unknown:
            raise TypeError(f"not a fact of the site: {type(unknown).__name__}")


def found_site(site: Site, founder: UUID) -> list[Fact]:
    """The first account was made: its owner administers, and registration closes behind him.

    Raises `SiteAlreadyFounded`.
    """
    if site.founder is not None:
        raise SiteAlreadyFounded()
    return [
        SiteFounded(founder=founder),
        SiteSettingsChanged(changes={"registrationOpen": False}),
    ]


def change_settings(site: Site, wanted: Mapping[str, object]) -> list[Fact]:
    """Facts for those of `wanted` that differ from what is in force.

    Types are taken literally: 1 is not true and "5" is not 5. Raises `SettingUnknown`,
    `SettingInvalid`; all faults are named at once.
    """
    unknown = [key for key in wanted if key not in SETTINGS]
    if unknown:
        raise SettingUnknown("; ".join(f"{key}: there is no such setting" for key in unknown))
    faults = [
        f"{key}: {fault}"
        for key, value in wanted.items()
        if (fault := SETTINGS[key].fault(value)) is not None
    ]
    if faults:
        raise SettingInvalid("; ".join(faults))
    changes: dict[str, SettingValue] = {
        key: value
        for key, value in wanted.items()
        if isinstance(value, bool | int | str | None) and site.setting(key) != value
    }
    return [SiteSettingsChanged(changes=changes)] if changes else []
