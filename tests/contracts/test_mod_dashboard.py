"""Contract of `GET /api/mod/dashboard`: counters, the caller's week, what came last."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.kit.accounts import account_id, moderator
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.reports import decide as decide_report
from tests.kit.reports import filed
from tests.kit.torrents import accepted, uploaded

PATH = "/api/mod/dashboard"


def dashboard(caller: Browser) -> dict[str, Any]:
    reply = caller.get(PATH)
    assert reply.status_code == 200, reply.text
    shown: dict[str, Any] = reply.json()
    return shown


def test_show_mod_dashboard_is_for_moderators(
    alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    assert anonymous.get(PATH).status_code == 401
    assert alice.get(PATH).status_code == 403
    assert mona.get(PATH).status_code == 200


def test_an_empty_site_has_nothing_to_do(mona: Browser) -> None:
    shown = dashboard(mona)
    assert shown["counts"] == {"pendingTorrents": 0, "pendingReports": 0, "activeHnr": 0}
    assert shown["myStats"] == {"actionsThisWeek": 0, "reportsClosedThisWeek": 0}
    assert (shown["recentPending"], shown["recentActions"]) == ([], [])
    assert shown["me"] == {
        "id": str(account_id(mona)),
        "username": "mona",
        "isAdmin": False,
        "isModerator": True,
    }


def test_what_waits_is_counted_through_every_change(
    alice: Browser, mona: Browser, admin: Browser
) -> None:
    names = ["One", "Two", "Three", "Four", "Five", "Six"]
    hashes = {name: uploaded(alice, name)["infoHash"] for name in names}
    # A moderator's own upload waits for nobody.
    uploaded(mona, "Mine")
    shown = dashboard(mona)
    assert shown["counts"]["pendingTorrents"] == 6
    assert [row["name"] for row in shown["recentPending"]] == names[:0:-1]

    def say(name: str, decision: str) -> int:
        body = {"message": "Because."}
        reply = mona.post(f"/api/mod/torrents/{hashes[name]}/{decision}", json=body)
        assert reply.status_code == 200, reply.text
        return int(dashboard(mona)["counts"]["pendingTorrents"])

    assert say("One", "approve") == 5
    assert say("Two", "request-changes") == 4
    assert say("Two", "reject") == 4
    assert say("Two", "reset") == 5
    reports = [filed(alice, "user", account_id(each)) for each in (mona, admin)]
    assert dashboard(mona)["counts"]["pendingReports"] == 2
    assert decide_report(admin, reports[0], "dismissed").status_code == 200
    assert alice.delete(f"/api/me/reports/{reports[1]}").status_code == 200
    assert dashboard(mona)["counts"]["pendingReports"] == 0


def test_the_last_decisions_tell_who_led_what_where(
    api: Api, alice: Browser, mona: Browser
) -> None:
    milo = moderator(api, "milo")
    first, second = accepted(mona, alice, "First"), uploaded(alice, "Second")["infoHash"]
    words = {"message": "No."}
    assert milo.post(f"/api/mod/torrents/{second}/reject", json=words).status_code == 200
    alice.post(f"/api/torrents/{second}/moderation/messages", json={"body": "Why?"})
    shown = dashboard(milo)["recentActions"]
    assert [
        (row["torrent"]["name"], row["moderator"]["username"], row["status"]) for row in shown
    ] == [("Second", "milo", "rejected"), ("First", "mona", "accepted")]
    assert shown[1]["torrent"]["infoHash"] == first
    for number in range(10):
        accepted(mona, alice, f"Another {number}")
    shown = dashboard(milo)["recentActions"]
    assert [row["torrent"]["name"] for row in shown] == [f"Another {n}" for n in range(9, -1, -1)]


def test_the_week_of_a_moderator_is_his_own_and_passes(
    api: Api, alice: Browser, mona: Browser
) -> None:
    milo = moderator(api, "milo")
    info_hash = accepted(mona, alice)
    body = {"message": "After all."}
    assert mona.post(f"/api/mod/torrents/{info_hash}/reject", json=body).status_code == 200
    mona.post(f"/api/torrents/{info_hash}/moderation/messages", json={"body": "Sorry."})
    decide_report(mona, filed(alice, "user", account_id(milo)), "dismissed")
    assert dashboard(mona)["myStats"] == {"actionsThisWeek": 2, "reportsClosedThisWeek": 1}
    assert dashboard(milo)["myStats"] == {"actionsThisWeek": 0, "reportsClosedThisWeek": 0}
    api.clock.ahead = timedelta(days=7, minutes=1)
    assert mona.log_in("mona").status_code == 200
    assert dashboard(mona)["myStats"] == {"actionsThisWeek": 0, "reportsClosedThisWeek": 0}
