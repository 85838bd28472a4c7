"""The site: founded once, and its settings."""

from __future__ import annotations

import pytest

from domain import site
from domain.site import SiteFounded, SiteSettingsChanged
from domain.site_settings import DEFAULTS, SETTINGS, Setting
from tests.kit.domain import AN_ID, folded, refuses_foreign_facts

FOUNDED = SiteFounded(founder=AN_ID)
CLOSED = SiteSettingsChanged(changes={"registrationOpen": False})


def test_found_site_closes_registration_behind_the_founder() -> None:
    assert site.found_site(site.UNFOUNDED, AN_ID) == [FOUNDED, CLOSED]


def test_found_site_happens_once() -> None:
    founded = folded(site.evolve, FOUNDED, CLOSED)
    assert founded is not None
    with pytest.raises(site.SiteAlreadyFounded):
        site.found_site(founded, AN_ID)
    assert FOUNDED.claims() == SiteFounded(founder=site.SITE).claims()


def test_settings_have_defaults_until_they_are_changed() -> None:
    state = folded(site.evolve, CLOSED, SiteSettingsChanged(changes={"defaultInvites": 5}))
    assert state is not None
    assert state.version == 2
    assert state.setting("registrationOpen") is False
    assert state.setting("defaultInvites") == 5
    assert state.setting("siteTitle") == DEFAULTS["siteTitle"]


def test_the_site_refuses_foreign_facts() -> None:
    refuses_foreign_facts(site.evolve, FOUNDED)


def test_change_settings_records_only_what_differs() -> None:
    wanted = {"registrationOpen": True, "siteTitle": "Harbour", "defaultInvites": 2}
    assert site.change_settings(site.UNFOUNDED, wanted) == [
        SiteSettingsChanged(changes={"siteTitle": "Harbour"})
    ]
    assert site.change_settings(site.UNFOUNDED, dict(DEFAULTS)) == []
    assert site.change_settings(site.UNFOUNDED, {}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("registrationOpen", 1),
        ("registrationOpen", "true"),
        ("registrationOpen", None),
        ("defaultInvites", True),
        ("defaultInvites", 1.0),
        ("defaultInvites", "1"),
        ("defaultInvites", -1),
        ("defaultInvites", 101),
        ("starterUpload", 2**62 + 1),
        ("siteTitle", ""),
        ("siteTitle", "x" * 501),
        ("siteTitle", "a\0b"),
        ("siteTitle", "a\ud800"),
        ("siteTitle", ["a"]),
        ("catalogueVisibility", "secret"),
    ],
)
def test_change_settings_refuses_other_types_and_values(key: str, value: object) -> None:
    with pytest.raises(site.SettingInvalid, match=f"^{key}: must "):
        site.change_settings(site.UNFOUNDED, {key: value})


def test_change_settings_names_every_fault_and_every_unknown_name() -> None:
    with pytest.raises(site.SettingUnknown, match=r"one: .*; two: "):
        site.change_settings(site.UNFOUNDED, {"one": 1, "siteTitle": "", "two": 2})
    with pytest.raises(site.SettingInvalid, match=r"siteTitle: .*; defaultInvites: "):
        site.change_settings(site.UNFOUNDED, {"siteTitle": "", "defaultInvites": -1})


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: str(setting.key))
def test_every_default_is_a_value_its_setting_can_have(setting: Setting) -> None:
    assert setting.fault(setting.default) is None


def test_a_nullable_setting_may_be_unset() -> None:
    setting = Setting(key="logo", kind=str, default=None, meaning="A logo.", nullable=True)
    assert setting.fault(None) is None
    assert setting.fault("x") is None
