"""`up --demo` makes a site to look at: members, every state, a swarm, and a clean history."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property

import psycopg
import pytest

from ops.demo_content import ADMINISTRATOR, MEMBERS, MODERATOR, TORRENTS
from tests.e2e.conftest import open_folder
from tests.kit.installation import Installation
from tests.kit.remote import RemoteBrowser

pytestmark = pytest.mark.timeout(180)
FILL_SECONDS = 90
MEMBER_LINE = re.compile(
    r"^demo +\| (\w+) +([0-9a-f]{14}) +(administrator|moderator|member) ", re.MULTILINE
)


@dataclass
class DemoSite:
    """A filled installation, with what `up` printed about its members."""

    installation: Installation
    passwords: dict[str, str]
    roles: dict[str, str]
    stack: ExitStack

    @cached_property
    def stranger(self) -> RemoteBrowser:
        return self.stack.enter_context(closing(self._browser()))

    @cached_property
    def members(self) -> dict[str, RemoteBrowser]:
        """Every member, signed in with the password that was printed."""
        browsers = {}
        for name, password in self.passwords.items():
            browser = self.stack.enter_context(closing(self._browser()))
            assert browser.log_in(name, password).status_code == 200
            browsers[name] = browser
        return browsers

    def _browser(self) -> RemoteBrowser:
        token = (self.installation.folder / "operator-token.secret").read_text()
        return RemoteBrowser(self.installation.url, operator_token=token)


def newest_fact(demo: DemoSite) -> int:
    """The log's last position, which no read model is behind of."""
    with psycopg.connect(demo.installation.run_state["urls"]["app_url"]) as conn:
        row = conn.execute("SELECT max(notification_id) FROM log.events").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoSite]:
    with open_folder() as folder, ExitStack() as stack:
        installation = Installation(folder / "data", TRACKARR_RATE_LIMITS="on").start("--demo")
        try:
            end = time.monotonic() + FILL_SECONDS
            while "Ctrl-C stops" not in installation.log:
                assert time.monotonic() < end, installation.log[-4000:]
                time.sleep(0.1)
            found = MEMBER_LINE.findall(installation.log)
            yield DemoSite(
                installation,
                {name: password for name, password, _role in found},
                {name: role for name, _password, role in found},
                stack,
            )
        finally:
            assert installation.stop() == 0, installation.log[-4000:]


def test_every_member_signs_in_with_the_printed_password(demo: DemoSite) -> None:
    assert set(demo.passwords) == {ADMINISTRATOR, MODERATOR, *MEMBERS}
    for name, browser in demo.members.items():
        me = browser.get("/api/me").json()
        assert me["username"] == name
        assert [role["id"] for role in me["roles"]] == (
            [] if demo.roles[name] == "member" else [demo.roles[name]]
        )


def test_the_next_step_is_to_sign_in(demo: DemoSite) -> None:
    assert "next: sign in" in demo.installation.log
    assert "register the first account" not in demo.installation.log


def test_registration_is_closed_again(demo: DemoSite) -> None:
    status = demo.stranger.get("/api/auth/status").json()
    assert status["registrationOpen"] is False


def test_there_is_a_torrent_in_every_state(demo: DemoSite) -> None:
    moderator = demo.members[MODERATOR]
    queue = moderator.get("/api/mod/torrents/pending").json()
    states = {torrent["name"]: torrent["moderationStatus"] for torrent in queue}
    assert sorted(states.values()) == ["changes_requested", "pending", "pending", "rejected"]
    listed = demo.stranger.get("/api/torrents").json()["data"]
    assert {row["name"] for row in listed} == {torrent.name for torrent in TORRENTS} - set(states)


def test_decisions_and_answers_stand_in_the_threads(demo: DemoSite) -> None:
    moderator = demo.members[MODERATOR]
    queue = moderator.get("/api/mod/torrents/pending").json()
    hashes = {row["name"]: row["infoHash"] for row in queue}
    refused = [torrent for torrent in TORRENTS if torrent.decision in {"request-changes", "reject"}]
    for torrent in refused:
        path = f"/api/torrents/{hashes[torrent.name]}/moderation/messages"
        said = [message["body"] for message in moderator.get(path).json()["messages"]]
        assert said == [words for words in (torrent.message, torrent.answer) if words]
    assert any(torrent.answer for torrent in refused)


def test_the_swarms_are_what_was_announced(demo: DemoSite) -> None:
    listed = demo.stranger.get("/api/torrents").json()["data"]
    swarms = {row["name"]: row["stats"] for row in listed}
    for torrent in TORRENTS:
        if torrent.name not in swarms:
            continue
        done = [name for name, percent in torrent.leechers if percent == 100]
        stay = [name for name in done if name not in torrent.leaving]
        assert swarms[torrent.name] == {
            "seeders": 1 + len(stay),
            "leechers": len(torrent.leechers) - len(done),
            "completed": len(done),
        }


def test_what_was_downloaded_was_uploaded(demo: DemoSite) -> None:
    figures = [browser.get("/api/me").json() for browser in demo.members.values()]
    uploaded = sum(me["uploaded"] - me["bonusUploaded"] for me in figures)
    assert uploaded == sum(me["downloaded"] for me in figures) > 0


def test_a_second_filling_is_refused_and_changes_nothing(demo: DemoSite) -> None:
    before = newest_fact(demo)
    again = demo.installation.command("demo")
    assert again.returncode == 1
    assert again.stdout == ""
    assert "has content already" in again.stderr
    assert newest_fact(demo) == before


def test_the_history_verifies(demo: DemoSite) -> None:
    verified = demo.installation.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
