"""Contract of `GET /api/users/:id` and `GET /api/users/:id/uploads`."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from application.site import ChangeSettings
from interfaces.http.models import instant_text
from tests.contracts.test_me import add_totals
from tests.kit.accounts import account_id, member
from tests.kit.adult import adult_category, asked_for_adult
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded

FIELDS = {
    "id",
    "username",
    "displayName",
    "bio",
    "isAdmin",
    "isModerator",
    "roles",
    "uploaded",
    "downloaded",
    "ratio",
    "uploadsCount",
    "showLastSeen",
    "lastSeen",
    "createdAt",
    "followersCount",
    "viewerFollowing",
}


@pytest.fixture
def bert(api: Api, admin: Browser) -> Browser:
    return member(api, "bert")


def page_of(browser: Browser) -> str:
    return f"/api/users/{account_id(browser)}"


def test_show_member_tells_anyone_who_he_is(
    alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    alice.patch("/api/me", json={"displayName": "Alice A.", "bio": "I seed."})
    shown = anonymous.get(page_of(alice)).json()
    assert set(shown) == FIELDS
    assert (shown["username"], shown["displayName"]) == ("alice", "Alice A.")
    assert (shown["bio"], shown["roles"], shown["isAdmin"]) == ("I seed.", [], False)
    staff = anonymous.get(page_of(mona)).json()
    assert (staff["isModerator"], [role["id"] for role in staff["roles"]]) == (True, ["moderator"])


def test_show_member_gives_figures_and_the_ratio(api: Api, alice: Browser, bert: Browser) -> None:
    assert bert.get(page_of(alice)).json()["ratio"] == 1.0
    add_totals(api, alice, uploaded=3_000, downloaded=2_000)
    shown = bert.get(page_of(alice)).json()
    assert (shown["uploaded"], shown["downloaded"], shown["ratio"]) == (3_000, 2_000, 1.5)
    add_totals(api, alice, uploaded=3_000, downloaded=0)
    assert bert.get(page_of(alice)).json()["ratio"] is None


def test_show_member_hides_last_seen_from_all_but_himself_and_staff(
    alice: Browser, bert: Browser, mona: Browser, admin: Browser, anonymous: Browser
) -> None:
    page = page_of(alice)
    assert all(each.get(page).json()["lastSeen"] for each in (anonymous, bert, alice))
    alice.patch("/api/me", json={"showLastSeen": False})
    for outsider in (anonymous, bert):
        shown = outsider.get(page).json()
        assert (shown["showLastSeen"], shown["lastSeen"]) == (False, None)
    for insider in (alice, mona, admin):
        assert insider.get(page).json()["lastSeen"] is not None


def test_show_member_knows_the_last_use_of_a_session_and_the_last_sign_in(
    api: Api, alice: Browser, anonymous: Browser
) -> None:
    page = page_of(alice)
    api.clock.ahead = timedelta(hours=30)
    assert alice.cookie is not None
    api.services.sessions.forget(api.services.cookie.open(alice.cookie) or b"")
    alice.get("/api/me")
    used = anonymous.get(page).json()["lastSeen"]
    assert used > instant_text(api.clock() - timedelta(minutes=1))
    alice.post("/api/auth/logout")
    api.clock.ahead = timedelta(hours=60)
    alice.log_in("alice")
    alice.post("/api/auth/logout")
    again = anonymous.get(page).json()["lastSeen"]
    assert again > instant_text(api.clock() - timedelta(minutes=1))


def test_show_member_shows_no_secret(alice: Browser, mona: Browser) -> None:
    text = mona.get(page_of(alice)).text.lower()
    for word in ("salt", "verifier", "passkey", "token", "hash", "address", '"ip', "lastip"):
        assert word not in text


@pytest.mark.parametrize("tail", ["", "/uploads"])
def test_a_member_nobody_has_and_what_is_no_id(
    anonymous: Browser, admin: Browser, tail: str
) -> None:
    missing = anonymous.get(f"/api/users/{uuid4()}{tail}")
    assert (missing.status_code, missing.json()["data"]["code"]) == (404, "account_not_found")
    bad = anonymous.get(f"/api/users/seven{tail}")
    assert (bad.status_code, bad.json()["message"][:4]) == (400, "id: ")


@pytest.mark.parametrize("tail", ["", "/uploads"])
def test_a_closed_catalogue_shows_strangers_no_member(
    api: Api, alice: Browser, anonymous: Browser, tail: str
) -> None:
    page = page_of(alice) + tail
    assert anonymous.get(page).status_code == 200
    api.dispatch(ChangeSettings(changes={"catalogueVisibility": "members"}))
    assert anonymous.get(page).status_code == 401
    assert alice.get(page).status_code == 200


def test_list_member_uploads_shows_accepted_ones_and_hidden_ones_to_insiders(
    alice: Browser, bert: Browser, mona: Browser, anonymous: Browser
) -> None:
    accepted(mona, alice, "Leaves of Grass")
    uploaded(alice, "Not yet")
    accepted(mona, bert, "By another")
    page = f"{page_of(alice)}/uploads"
    for outsider in (anonymous, bert):
        shown = outsider.get(page).json()
        assert [row["name"] for row in shown["data"]] == ["Leaves of Grass"]
        assert shown["pagination"]["total"] == 1
    for insider in (alice, mona):
        shown = insider.get(page).json()
        assert {row["name"] for row in shown["data"]} == {"Leaves of Grass", "Not yet"}
        assert (shown["pagination"]["total"], shown["pagination"]["limit"]) == (2, 25)


def test_adult_uploads_are_listed_for_members_who_asked_for_such(
    admin: Browser, alice: Browser, bert: Browser, mona: Browser, anonymous: Browser
) -> None:
    category = adult_category(admin)["id"]
    for name in ("Adult", "Waiting"):
        made = uploaded(alice, name, categoryId=category)["infoHash"]
        if name == "Adult":
            assert mona.post(f"/api/mod/torrents/{made}/approve").status_code == 200
    accepted(mona, alice, "Plain")
    asked_for_adult(bert)
    page = f"{page_of(alice)}/uploads"

    def shown(browser: Browser) -> tuple[list[str], int, str | None]:
        told = browser.get(page, params={"limit": 2}).json()
        names = [row["name"] for row in told["data"]]
        return names, told["pagination"]["total"], told["nextCursor"]

    # He himself and staff, who see what waits as well, see no adult ones unasked.
    for browser in (anonymous, alice, mona):
        assert shown(browser) == (["Plain"], 1, None)
    assert shown(bert) == (["Plain", "Adult"], 2, None)
    asked_for_adult(alice)
    assert shown(alice)[:2] == (["Plain", "Waiting"], 3)


def test_list_member_uploads_walks_pages_both_ways(
    alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    names = [f"Volume {number}" for number in range(3)]
    for name in names:
        accepted(mona, alice, name)
    page = f"{page_of(alice)}/uploads"
    first = anonymous.get(page, params={"limit": 2}).json()
    assert first["pagination"]["pages"] == 2
    by_page = anonymous.get(page, params={"limit": 2, "page": 2}).json()
    by_cursor = anonymous.get(page, params={"limit": 2, "after": first["nextCursor"]}).json()
    assert by_page["data"] == by_cursor["data"]
    walked = [row["name"] for row in first["data"] + by_page["data"]]
    assert sorted(walked) == names
    assert by_cursor["nextCursor"] is None


def test_list_member_uploads_refuses_bad_paging(alice: Browser, anonymous: Browser) -> None:
    page = f"{page_of(alice)}/uploads"
    for params in ({"page": 0}, {"limit": 101}, {"limit": 0}, {"after": "?"}, {"page": 90_000}):
        assert anonymous.get(page, params=params).status_code == 400, params
