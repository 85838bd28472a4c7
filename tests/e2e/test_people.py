"""Members on real processes, two of them serving the API: who is there, and who no longer may."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.e2e.conftest import Site, found_site, open_folder
from tests.kit.installation import Installation
from tests.kit.remote import RemoteBrowser

LOOKS = 30
"""Requests on connections of their own: both processes get some of them."""


@pytest.fixture(scope="module")
def people() -> Iterator[Site]:
    with open_folder() as folder:
        installation = Installation(folder / "var", TRACKARR_API_WORKERS="2").start()
        try:
            with found_site(installation) as site:
                yield site
        finally:
            assert installation.stop() == 0, installation.log[-4000:]


def statuses(site: Site, browser: RemoteBrowser) -> set[int]:
    """What `/api/me` answers this browser, asked over and over on new connections."""
    cookies = {cookie.name: cookie.value or "" for cookie in browser.client.cookies.jar}
    url = f"{site.installation.url}/api/me"
    return {httpx2.get(url, cookies=cookies).status_code for _ in range(LOOKS)}


def who_is_there(people: Site) -> None:
    assert statuses(people, people.member) == {200}
    page = people.admin.get("/api/admin/users").json()
    assert [item["username"] for item in page["items"]] == ["alice", "root"]
    assert page["items"][0]["lastIp"] in {"127.0.0.1", "::1"}
    assert page["stats"]["total"] == 2
    assert page["stats"]["onlineNow"] >= 1


def an_operator_resets_factors(people: Site) -> None:
    done = people.installation.command("user", "reset-factors", "alice")
    assert (done.returncode, done.stdout) == (0, "alice has no second factor\n"), done.stderr
    assert statuses(people, people.member) == {200}


def a_ban_acts_with_the_next_request(people: Site) -> None:
    assert statuses(people, people.member) == {200}
    alice = people.admin.get("/api/admin/users").json()["items"][0]["id"]
    banned = people.admin.post(f"/api/admin/users/{alice}/ban", json={"reason": "spam"})
    assert banned.status_code == 200, banned.text
    assert statuses(people, people.member) == {401}


def test_every_api_process_knows_who_is_there_and_who_no_longer(people: Site) -> None:
    """In this order: the last part ends the member's sessions."""
    who_is_there(people)
    an_operator_resets_factors(people)
    a_ban_acts_with_the_next_request(people)
