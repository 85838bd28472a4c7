"""Every setting an administrator may change at run time: type, bounds, default, meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from domain.client_lists import client_list_fault
from domain.texts import is_storable

SettingValue = bool | int | str | None


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    `kind` is bool, int or str. `lowest` and `highest` bound a number, or the length of a text.
    `choices` are the only words allowed where there are any. `nullable` settings may be unset. `check` tells what else is
    wrong with a text.
    """

    key: str
    kind: type
    default: SettingValue
    meaning: str
    unit: str = ""
    lowest: int = 0
    highest: int = 2**62
    choices: tuple[str, ...] = ()
    nullable: bool = False
    check: Callable[[str], str | None] | None = None

    def fault(self, value: object) -> str | None:
        """Why `value` can't be this setting's; None when it can."""
        if value is None and self.nullable:
            return None
        if type(value) is not self.kind:
            return f"must be {_WORDS[self.kind]}"
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        fault = self._size_fault(value)
        if fault is None and self.check is not None and isinstance(value, str):
            return self.check(value)
        return fault

    def _size_fault(self, value: object) -> str | None:
        if isinstance(value, str) and not is_storable(value):
            return "must not contain NUL characters or halves of a character"
        if isinstance(value, str):
            return _bounds(len(value), self.lowest, self.highest, "characters")
        if isinstance(value, int) and not isinstance(value, bool):
            return _bounds(value, self.lowest, self.highest, self.unit)
        return None


_WORDS = {bool: "true or false", int: "a whole number", str: "a text"}


def _bounds(number: int, lowest: int, highest: int, unit: str) -> str | None:
    if lowest <= number <= highest:
        return None
    return f"must be {lowest} to {highest} {unit}".rstrip()


def _text(key: str, default: str, highest: int, meaning: str, *, lowest: int = 0) -> Setting:
    return Setting(
        key=key, kind=str, default=default, lowest=lowest, highest=highest, meaning=meaning
    )


def _client_list(key: str, meaning: str) -> Setting:
    return Setting(
        key=key, kind=str, default="", highest=2_000, meaning=meaning, check=client_list_fault
    )


def _number(
    key: str, default: int, unit: str, meaning: str, *, lowest: int = 0, highest: int = 2**62
) -> Setting:
    return Setting(
        key=key,
        kind=int,
        default=default,
        unit=unit,
        lowest=lowest,
        highest=highest,
        meaning=meaning,
    )


def _switch(key: str, meaning: str, *, default: bool) -> Setting:
    return Setting(key=key, kind=bool, default=default, meaning=meaning)


_TABLE = (
    _switch("registrationOpen", "Anyone may make an account.", default=True),
    _switch(
        "inviteEnabled", "Members may invite; an invitation opens registration.", default=False
    ),
    _number("defaultInvites", 2, "invitations", "Invitations a new member may give.", highest=100),
    _number("starterUpload", 0, "bytes", "Upload credit a new member starts with."),
    Setting(
        key="catalogueVisibility",
        kind=str,
        default="public",
        choices=("public", "members"),
        meaning="Who may see the torrents.",
    ),
    Setting(
        key="require2FAScope",
        kind=str,
        default="off",
        choices=("off", "staff", "all"),
        meaning="Who must have a second factor; without one he gets to set one up and no further.",
    ),
    _number(
        "addressLinkDays",
        60,
        "days",
        "How long after a month its addresses in the peer ledger can be linked.",
        lowest=1,
        highest=3650,
    ),
    _number(
        "ledgerKeepDays",
        400,
        "days",
        "How long single announces are kept; 0 for ever, and never less than 30 days.",
        highest=36_500,
    ),
    _number(
        "creditMaxBytesPerSecond",
        2**30,
        "bytes a second",
        "What one client can credit with one torrent; what it claims above is withheld.",
        lowest=2**17,
        highest=2**34,
    ),
    _number(
        "mutationsPerMinute",
        10,
        "changes",
        "Changes a member may make in a minute, and so a stranger's address; staff may make 60.",
        lowest=1,
        highest=10_000,
    ),
    _client_list(
        "allowedClients",
        "How peer ids of allowed torrent clients begin, such as `-qB4, -TR`; empty allows all.",
    ),
    _client_list("deniedClients", "How peer ids of refused torrent clients begin."),
    _text("siteTitle", "Trackarr", 500, "Title of the site's pages.", lowest=1),
    _text("siteTagline", "Private BitTorrent Tracker", 500, "One line under the title."),
)
SETTINGS: Mapping[str, Setting] = {setting.key: setting for setting in _TABLE}
DEFAULTS: Mapping[str, SettingValue] = {key: setting.default for key, setting in SETTINGS.items()}
