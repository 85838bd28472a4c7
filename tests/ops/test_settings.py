"""Settings: read, derived, refused with a sentence; the example and the page tell all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.failures import SettingsRefused
from ops.settings import GROUPS, load_settings
from ops.settings_text import example, reference


def test_nothing_given_means_loopback_and_no_servers() -> None:
    settings = load_settings({})
    assert settings.servers.database_url is None
    assert settings.network.is_loopback
    assert settings.network.http_announce_url == "http://localhost:8080/announce"
    assert settings.network.udp_tracker_url == "udp://localhost:6969"
    assert settings.network.rp_id == "localhost"
    assert settings.tracker.peer_life_seconds == 3900


def test_announce_urls_follow_the_public_host() -> None:
    network = load_settings(
        {"TRACKARR_PUBLIC_URL": "https://tracker.example/", "TRACKARR_TRACKER_PORT": "9000"}
    ).network
    assert network.web_url == "https://tracker.example"
    assert network.http_announce_url == "http://tracker.example:9000/announce"
    assert network.rp_origin == "https://tracker.example"


@pytest.mark.parametrize(
    ("bind", "given", "host"),
    [
        ("127.0.0.1, ::1", "", "127.0.0.1"),
        ("0.0.0.0, ::", "", "127.0.0.1"),
        ("::", "", "::1"),
        ("192.0.2.7", "", "192.0.2.7"),
        ("0.0.0.0", "tracker.internal", "tracker.internal"),
    ],
)
def test_the_tracker_is_asked_where_it_listens(bind: str, given: str, host: str) -> None:
    network = load_settings({"TRACKARR_BIND": bind, "TRACKARR_TRACKER_ADDRESS": given}).network
    assert network.tracker_host == host


def test_lists_and_switches_are_written_as_an_operator_would() -> None:
    settings = load_settings({"TRACKARR_BIND": "0.0.0.0, ::", "TRACKARR_RATE_LIMITS": "off"})
    assert settings.network.bind == ("0.0.0.0", "::")
    assert not settings.network.is_loopback
    assert not settings.protection.rate_limits


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("TRACKARR_API_PROT", "1", "TRACKARR_API_PROT is not a setting"),
        ("TRACKARR_API_PORT", "32768", "TRACKARR_API_PORT: input should be less than 32768"),
        ("TRACKARR_UDP_PORT", "many", "TRACKARR_UDP_PORT: input should be a valid integer"),
        ("TRACKARR_BIND", "localhost", "TRACKARR_BIND: 'localhost' does not appear to be"),
        ("TRACKARR_PUBLIC_URL", "example", "TRACKARR_PUBLIC_URL: should be a URL beginning with"),
        ("TRACKARR_TRACKER_PORT", "8000", "TRACKARR_API_PORT and TRACKARR_TRACKER_PORT are the"),
        ("TRACKARR_DATA_DIR_FILE", "x", "TRACKARR_DATA_DIR_FILE is not a setting"),
        ("DATABASE_URL_FILE", "/nowhere/at/all", "DATABASE_URL_FILE: cannot read"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(key: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsRefused, match=sentence) as refused:
        load_settings({key: value})
    assert refused.value.sentence.endswith(".")


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:hidden-word@host/0\n")
    settings = load_settings({"REDIS_URL_FILE": str(tmp_path / "url")})
    assert settings.servers.redis_url is not None
    assert settings.servers.redis_url.get_secret_value() == "redis://:hidden-word@host/0"
    assert "hidden-word" not in repr(settings)


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://one")
    given = {"REDIS_URL": "redis://two", "REDIS_URL_FILE": str(tmp_path / "url")}
    with pytest.raises(SettingsRefused, match="REDIS_URL or REDIS_URL_FILE, not both"):
        load_settings(given)


def test_settings_are_frozen() -> None:
    settings = load_settings({})
    with pytest.raises(ValueError, match="frozen"):
        settings.network.api_port = 1  # type: ignore[misc]


def test_the_example_and_the_page_name_every_setting_with_its_meaning() -> None:
    for group in GROUPS:
        for field, key in group.keys().items():
            assert group.model_fields[field].description, key
            assert f"\n#{key}=" in example()
            assert f"| `{key}` |" in reference()


def test_the_example_loads_when_every_line_is_switched_on() -> None:
    lines = [line[1:] for line in example().splitlines() if line.startswith("#") and "=" in line]
    given = dict(line.split("=", 1) for line in lines if not line.startswith(" "))
    assert load_settings(given) == load_settings({})
