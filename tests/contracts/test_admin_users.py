"""Contract of `GET /api/admin/users`: filters, sorts, pages, figures, and whose address is shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from application.store.presence import RedisPresence
from interfaces.http.models import instant_text
from interfaces.presence import take_over_presence
from tests.contracts.test_me import add_totals
from tests.kit.accounts import account_id, member
from tests.kit.api import Api
from tests.kit.browser import Browser

PATH = "/api/admin/users"
FROM = "203.0.113.9"
FIELDS = {
    "id",
    "username",
    "displayName",
    "isAdmin",
    "isModerator",
    "isBanned",
    "banReason",
    "bannedAt",
    "bannedUntil",
    "roles",
    "uploaded",
    "downloaded",
    "ratio",
    "uploadsCount",
    "invitesRemaining",
    "lastIp",
    "lastIpHash",
    "createdAt",
    "lastSeen",
}


@pytest.fixture
def bert(api: Api, admin: Browser) -> Browser:
    return member(api, "bert")


def names(browser: Browser, **params: Any) -> list[str]:
    reply = browser.get(PATH, params=params)
    assert reply.status_code == 200, reply.text
    return [item["username"] for item in reply.json()["items"]]


def take_over(api: Api) -> None:
    """What the scheduler does each minute, after what each api process does each second."""
    api.services.presence.push()
    store = RedisPresence(api.redis)
    take_over_presence(api.services.reads.connection, api.log, store, api.clock())


def ban(api: Api, who: Browser, by: Browser, days: int | None = None) -> None:
    body = {"reason": "spam", **({"duration": days} if days else {})}
    assert by.post(f"{PATH}/{account_id(who)}/ban", json=body).status_code == 200


def from_address(api: Api, name: str, address: str) -> Browser:
    browser = Browser(api.app, address=address)
    assert browser.log_in(name).status_code == 200
    return browser


def test_list_members_is_for_staff(
    anonymous: Browser, alice: Browser, mona: Browser, admin: Browser
) -> None:
    codes = [each.get(PATH).status_code for each in (anonymous, alice, mona, admin)]
    assert codes == [401, 403, 200, 200]


def test_list_members_tells_what_staff_need(api: Api, alice: Browser, mona: Browser) -> None:
    add_totals(api, alice, uploaded=3_000, downloaded=2_000)
    alice.patch("/api/me", json={"displayName": "Alice A."})
    page = mona.get(PATH).json()
    assert (page["total"], page["totalExact"], page["page"], page["pageSize"]) == (3, True, 1, 25)
    assert page["nextCursor"] is None
    assert [item["username"] for item in page["items"]] == ["mona", "alice", "root"]
    shown = page["items"][1]
    assert set(shown) == FIELDS
    assert (shown["uploaded"], shown["downloaded"], shown["ratio"]) == (3_000, 2_000, 1.5)
    assert (shown["displayName"], shown["roles"], shown["isBanned"]) == ("Alice A.", [], False)
    assert [role["id"] for role in page["items"][0]["roles"]] == ["moderator"]
    assert [item["isAdmin"] for item in page["items"]] == [False, False, True]


def test_list_members_shows_a_member_who_came_this_moment(api: Api, admin: Browser) -> None:
    for sort in ("username", "createdAt", "lastSeen", "uploaded", "downloaded", "ratio"):
        member(api, f"new-{sort}")
        assert f"new-{sort}" in names(admin, sort=sort)


def test_list_members_shows_addresses_to_administrators_only(
    api: Api, alice: Browser, bert: Browser, mona: Browser, admin: Browser
) -> None:
    for name in ("alice", "bert"):
        from_address(api, name, FROM).get("/api/me")
    from_address(api, "bert", "2001:db8::1").get("/api/me")
    by_mona = {item["username"]: item for item in mona.get(PATH).json()["items"]}
    by_root = {item["username"]: item for item in admin.get(PATH).json()["items"]}
    assert by_root["alice"]["lastIp"] == FROM
    assert FROM not in mona.get(PATH).text
    assert by_mona["alice"]["lastIp"] is None
    assert len(by_mona["alice"]["lastIpHash"]) == 12
    assert by_mona["alice"]["lastIpHash"] == by_root["alice"]["lastIpHash"]
    assert by_mona["mona"]["lastIpHash"] is None


def test_equal_addresses_have_equal_hashes_and_others_others(api: Api) -> None:
    mask = api.services.address_mask
    assert mask.hash(FROM) == mask.hash(FROM) != mask.hash("203.0.113.10")


def test_list_members_finds_by_part_of_a_name(
    alice: Browser, bert: Browser, admin: Browser
) -> None:
    assert names(admin, search="LIC") == ["alice"]
    assert names(admin, search="%") == names(admin, search="nobody") == []
    assert admin.get(PATH, params={"search": "b"}).json()["total"] == 1


def test_list_members_filters_by_ban_and_role(
    api: Api, alice: Browser, bert: Browser, mona: Browser, admin: Browser
) -> None:
    role = admin.post(
        "/api/admin/roles", json={"name": "Veteran", "color": "#112233", "priority": 5}
    ).json()
    given = role.get("id") or role["data"]["id"]
    attach = admin.post(f"{PATH}/{account_id(alice)}/roles", json={"roleId": given})
    assert attach.status_code == 200, attach.text
    ban(api, bert, mona, days=2)
    assert names(admin, banned="true") == ["bert"]
    assert names(admin, banned="false", sort="username", dir="asc") == ["alice", "mona", "root"]
    assert names(admin, admin="true") == ["root"]
    assert names(admin, mod="true") == ["mona"]
    assert names(admin, mod="false", admin="false", dir="asc") == ["alice", "bert"]
    assert names(admin, role=given) == ["alice"]
    assert names(admin, role="none") == ["bert"]
    assert names(admin, role=str(uuid4())) == []
    shown = admin.get(PATH, params={"search": "bert"}).json()["items"][0]
    assert (shown["isBanned"], shown["banReason"]) == (True, "spam")
    assert shown["bannedUntil"] > shown["bannedAt"]


def test_a_ban_whose_time_is_over_is_none(api: Api, bert: Browser, mona: Browser) -> None:
    ban(api, bert, mona, days=1)
    api.clock.ahead = timedelta(days=1, minutes=1)
    assert names(mona, banned="true") == []
    page = mona.get(PATH).json()
    assert page["stats"]["banned"] == 0
    assert [item["isBanned"] for item in page["items"]] == [False] * 3


def test_list_members_filters_by_activity(
    api: Api, alice: Browser, bert: Browser, admin: Browser
) -> None:
    take_over(api)
    for hours, quiet in ((31 * 24, "idle"), (31 * 24 + 40, None)):
        api.clock.ahead = timedelta(hours=hours)
        admin.log_in("root")
        if quiet:
            assert bert.log_in("bert").status_code == 200
            bert.get("/api/me")
    admin.get("/api/me")
    take_over(api)
    assert names(admin, activity="online") == ["root"]
    assert names(admin, activity="active") == ["root"]
    assert names(admin, activity="idle") == ["alice"]
    assert names(admin, activity="never") == []
    assert names(admin, sort="lastSeen") == ["root", "bert", "alice"]
    assert names(admin, sort="lastSeen", dir="asc") == ["alice", "bert", "root"]


def test_list_members_sorts_by_figures_as_of_the_last_copy(
    api: Api, alice: Browser, bert: Browser, admin: Browser
) -> None:
    add_totals(api, alice, uploaded=50, downloaded=100)
    add_totals(api, bert, uploaded=10, downloaded=0)
    take_over(api)
    assert names(admin, sort="uploaded", dir="desc") == ["alice", "bert", "root"]
    assert names(admin, sort="downloaded", dir="desc") == ["alice", "bert", "root"]
    assert names(admin, sort="ratio", dir="desc") == ["bert", "alice", "root"]
    by_name = admin.get(PATH, params={"search": "bert"}).json()["items"][0]
    assert by_name["ratio"] is None


@pytest.mark.parametrize(
    "sort", ["username", "createdAt", "lastSeen", "uploaded", "downloaded", "ratio"]
)
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_and_cursor_walk_over_each_member_once(
    api: Api, alice: Browser, bert: Browser, mona: Browser, sort: str, direction: str
) -> None:
    asked = {"sort": sort, "dir": direction, "pageSize": 1}
    by_page = [names(mona, **asked, page=page)[0] for page in range(1, 5)]
    walked, cursor = [], None
    for _ in range(4):
        page = mona.get(PATH, params={**asked, **({"after": cursor} if cursor else {})}).json()
        walked += [item["username"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert walked == by_page
    assert sorted(walked) == ["alice", "bert", "mona", "root"]
    assert names(mona, **asked, page=5) == []


@pytest.mark.parametrize(
    "params",
    [
        {"page": 0},
        {"pageSize": 0},
        {"pageSize": 101},
        {"sort": "password"},
        {"dir": "up"},
        {"banned": "perhaps"},
        {"activity": "asleep"},
        {"search": "x" * 101},
        {"search": "a\0b"},
        {"role": "a\0b"},
        {"after": "nothing"},
        {"page": 100_000, "pageSize": 100},
    ],
)
def test_list_members_explains_bad_input(mona: Browser, params: dict[str, Any]) -> None:
    reply = mona.get(PATH, params=params)
    assert reply.status_code == 400, reply.text


def test_figures_count_everybody(
    api: Api, alice: Browser, bert: Browser, mona: Browser, admin: Browser
) -> None:
    ban(api, bert, mona)
    stats = admin.get(PATH, params={"search": "alice"}).json()["stats"]
    assert stats == {
        "total": 4,
        "banned": 1,
        "admins": 1,
        "moderators": 1,
        "activeLast24h": 4,
        "onlineNow": 4,
    }
    api.clock.ahead = timedelta(minutes=6)
    stats = admin.get(PATH).json()["stats"]
    assert (stats["activeLast24h"], stats["onlineNow"]) == (4, 1)


def test_without_redis_the_directory_says_who_is_there(
    api: Api, alice: Browser, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_over(api)
    monkeypatch.setattr(api.services.presence, "count_since", lambda _at: None)
    api.redis.flushall()
    stats = admin.get(PATH).json()["stats"]
    assert (stats["activeLast24h"], stats["onlineNow"]) == (2, 2)


def test_last_seen_comes_from_the_vault_once_redis_forgot(
    api: Api, alice: Browser, admin: Browser
) -> None:
    from_address(api, "alice", FROM)
    api.clock.ahead = timedelta(minutes=30)
    before = from_address(api, "alice", "203.0.113.77")
    before.get("/api/me")
    at = instant_text(api.clock() - timedelta(seconds=30))
    take_over(api)
    api.redis.flushall()
    api.services.presence._known.clear()
    shown = next(item for item in admin.get(PATH).json()["items"] if item["username"] == "alice")
    assert shown["lastIp"] == "203.0.113.77"
    assert shown["lastSeen"] > at


def test_each_take_over_finds_members_far_behind_the_newest(
    api: Api, admin: Browser, alice: Browser
) -> None:
    """As after an import, whose numbers are taken long before its facts are written."""
    take_over(api)
    missed = account_id(alice)
    with api.services.reads.connection() as conn:
        conn.execute("DELETE FROM member_directory_2.members WHERE account = %s", [missed])
        conn.execute(
            "UPDATE member_directory_2.members SET number = 100000 WHERE account = %s",
            [account_id(admin)],
        )
    take_over(api)
    with api.services.reads.connection() as conn:
        found = conn.execute(
            "SELECT count(*) AS found FROM member_directory_2.members WHERE account = %s", [missed]
        ).fetchone()
    assert found is not None
    assert next(iter(found.values() if isinstance(found, dict) else found)) == 1
