"""Contract of the queue of reports: filtered, decided once, with all that brings about."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.accounts import account_id, grant, member, moderator
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.reports import WORDS, code_of, decide, filed, own, queue
from tests.kit.torrents import accepted


@pytest.fixture
def bob(api: Api, admin: Browser) -> Browser:
    return member(api, "bob")


# The queue


def test_list_reports_filters_by_target_and_status(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, bob, "Listed")
    torrent = mona.get(f"/api/torrents/{info_hash}").json()["id"]
    about_bob, about_torrent = (
        filed(alice, "user", account_id(bob)),
        filed(alice, "torrent", torrent),
    )
    decide(mona, about_bob, "dismissed")
    assert [row["id"] for row in queue(mona)["data"]] == [about_torrent, about_bob]
    only = queue(mona, target_type="torrent")
    assert [row["id"] for row in only["data"]] == [about_torrent]
    assert only["counts"] == {"pending": 1, "resolved": 0, "dismissed": 0, "all": 1}
    assert only["pagination"]["total"] == 1
    target = only["data"][0]["target"]
    assert target == {"kind": "torrent", "name": "Listed", "link": f"/torrents/{info_hash}"}
    assert [row["id"] for row in queue(mona, status="dismissed")["data"]] == [about_bob]
    both = queue(mona, status="pending", target_type="user")
    assert (both["data"], both["pagination"]["total"]) == ([], 0)
    assert [row["id"] for row in queue(mona, page=2, limit=1)["data"]] == [about_bob]
    after = queue(mona, limit=1)["nextCursor"]
    assert [row["id"] for row in queue(mona, limit=1, after=after)["data"]] == [about_bob]
    for query in ("status=lost", "target_type=site", "limit=51", "page=0", "after=x"):
        assert mona.get(f"/api/admin/reports?{query}").status_code == 400, query


def test_decide_report_once_and_the_next_is_told_by_whom(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    milo = moderator(api, "milo")
    report = filed(alice, "user", account_id(bob))
    reply = decide(mona, report, "resolved", resolution="Warned him.")
    assert reply.status_code == 200, reply.text
    decided = reply.json()
    assert decided["success"] is True
    assert (decided["status"], decided["resolution"]) == ("resolved", "Warned him.")
    assert (decided["ban"], decided["bannedUntil"]) == ("none", None)
    assert decided["torrentRejected"] is False
    (row,) = queue(milo)["data"]
    assert {name: decided[name] for name in row} == row
    before = api.topics()
    for status in ("resolved", "dismissed"):
        again = decide(milo, report, status)
        assert (again.status_code, code_of(again)) == (409, "report_already_decided")
        assert again.json()["data"]["moderator"]["username"] == "mona"
        assert again.json()["data"]["status"] == "resolved"
    assert api.topics() == before


def test_of_two_moderators_at_once_one_decides(api: Api, alice: Browser, bob: Browser) -> None:
    callers = {name: moderator(api, name) for name in ("mona", "milo")}
    report = filed(alice, "user", account_id(bob))
    ready, replies = threading.Barrier(2), {}

    def act(name: str, status: str) -> None:
        ready.wait(10)
        replies[name] = decide(callers[name], report, status)

    threads = [
        threading.Thread(target=act, args=pair)
        for pair in (("mona", "resolved"), ("milo", "dismissed"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(reply.status_code for reply in replies.values()) == [200, 409]
    winner, loser = sorted(replies, key=lambda name: replies[name].status_code)
    assert replies[loser].json()["data"]["moderator"]["username"] == winner
    topics = api.topics()
    assert topics.count("report.resolved.1") + topics.count("report.dismissed.1") == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "pending"},
        {"status": "withdrawn"},
        {"status": "resolved", "resolution": "x" * 501},
        {"status": "resolved", "resolution": "\0"},
        {"status": "resolved", "banDuration": "2d"},
        {"status": "resolved", "banDuration": "1d", "banReason": "x" * 501},
        {"status": "dismissed", "banDuration": "1d"},
    ],
)
def test_decide_report_explains_bad_input(
    api: Api, alice: Browser, bob: Browser, mona: Browser, body: dict[str, Any]
) -> None:
    report = filed(alice, "user", account_id(bob))
    before = api.topics()
    reply = mona.put(f"/api/admin/reports/{report}", json=body)
    assert reply.status_code == 400, reply.text
    assert api.topics() == before


def test_decide_report_of_a_missing_one(alice: Browser, mona: Browser) -> None:
    for report in (uuid4(), account_id(alice)):
        reply = decide(mona, report)
        assert (reply.status_code, code_of(reply)) == (404, "report_not_found")
    assert decide(mona, "nonsense").status_code == 400


# What a decision brings about


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"banReason": "Selling.", "resolution": "Note."}, "Selling."),
        ({"banReason": "  ", "resolution": "Note."}, "Note."),
        ({}, WORDS),
    ],
)
def test_a_resolved_report_bans_in_the_same_append(
    api: Api, alice: Browser, bob: Browser, mona: Browser, body: dict[str, str], reason: str
) -> None:
    bobs = account_id(bob)
    report = filed(alice, "user", bobs)
    reply = decide(mona, report, banDuration="7d", **body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["ban"] == "7d"
    assert reply.json()["bannedUntil"] is not None
    assert bob.get("/api/me").status_code == 401
    recorded = [each.envelope for each in api.log.read(0, 1000)[0]]
    facts = {each.fact.TOPIC: each for each in recorded}
    ban, resolved = facts["account.banned.1"], facts["report.resolved.1"]
    assert ban.meta.command == resolved.meta.command
    assert ban.fact.reason.text == reason
    assert (ban.fact.until - ban.meta.at).days == 7
    # The address stays free: only a ban by hand takes it along.
    assert "address.banned.1" not in facts


def test_bans_follow_rank_and_a_refused_one_changes_nothing(
    api: Api, alice: Browser, mona: Browser, admin: Browser
) -> None:
    milo = moderator(api, "milo")
    about_admin = filed(alice, "user", account_id(admin))
    about_milo = filed(alice, "user", account_id(milo))
    about_mona = filed(alice, "user", account_id(mona))
    before = api.topics()
    for report, code, status in (
        (about_admin, "administrator_ban", 403),
        (about_milo, "moderator_ban", 403),
        (about_mona, "report_about_you", 403),
    ):
        reply = decide(mona, report, banDuration="permanent")
        assert (reply.status_code, code_of(reply)) == (status, code)
    assert api.topics() == before
    assert decide(admin, about_milo, banDuration="permanent").json()["bannedUntil"] is None
    assert milo.get("/api/me").status_code == 401


def test_a_ban_of_an_administrator_is_not_replaced_by_a_moderator(
    api: Api, alice: Browser, bob: Browser, mona: Browser, admin: Browser
) -> None:
    bobs = account_id(bob)
    report = filed(alice, "user", bobs)
    assert admin.post(f"/api/admin/users/{bobs}/ban", json={"reason": "Enough."}).status_code == 200
    reply = decide(mona, report, banDuration="1d")
    assert (reply.status_code, code_of(reply)) == (403, "administrators_ban")
    assert decide(mona, report).status_code == 200


@pytest.mark.parametrize(("first", "lasts"), [("7d", 7), ("permanent", None)])
def test_the_longer_of_two_bans_stays(
    api: Api, alice: Browser, bob: Browser, mona: Browser, first: str, lasts: int | None
) -> None:
    carol, bobs = member(api, "carol"), account_id(bob)
    reports = [filed(reporter, "user", bobs) for reporter in (alice, carol)]
    until = decide(mona, reports[0], banDuration=first).json()["bannedUntil"]
    assert (until is None) == (lasts is None)
    reply = decide(mona, reports[1], banDuration="1d")
    assert (reply.status_code, reply.json()["bannedUntil"]) == (200, until)
    assert api.topics().count("account.banned.1") == 1
    again = filed(alice, "user", bobs)
    longer = decide(mona, again, banDuration="1y").json()["bannedUntil"]
    assert longer is None if until is None else longer > until
    assert api.topics().count("account.banned.1") == (1 if until is None else 2)


@pytest.mark.parametrize(
    "body",
    [
        {"status": "dismissed"},
        {"status": "resolved"},
        {"status": "resolved", "banDuration": "1d"},
    ],
)
def test_nobody_decides_a_report_about_himself(
    api: Api, alice: Browser, mona: Browser, admin: Browser, body: dict[str, str]
) -> None:
    report = filed(alice, "user", account_id(mona))
    before = api.topics()
    reply = decide(mona, report, **body)
    assert (reply.status_code, code_of(reply)) == (403, "report_about_you")
    assert api.topics() == before
    assert decide(admin, report, body["status"]).status_code == 200


def test_only_a_report_of_a_member_bans(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, bob)
    torrent = mona.get(f"/api/torrents/{info_hash}").json()["id"]
    report = filed(alice, "torrent", torrent)
    reply = decide(mona, report, banDuration="1d")
    assert (reply.status_code, code_of(reply)) == (400, "ban_without_member")
    assert "report.resolved.1" not in api.topics()


def test_a_resolved_report_of_a_torrent_rejects_it_in_its_thread(
    api: Api, alice: Browser, bob: Browser, mona: Browser, anonymous: Browser
) -> None:
    info_hash = accepted(mona, bob)
    torrent = mona.get(f"/api/torrents/{info_hash}").json()["id"]
    report = filed(alice, "torrent", torrent, "This is a virus, see below.")
    reply = decide(mona, report, resolution="Confirmed by a scan.")
    assert reply.status_code == 200, reply.text
    assert reply.json()["torrentRejected"] is True
    assert anonymous.get(f"/api/torrents/{info_hash}").status_code == 404
    thread = bob.get(f"/api/torrents/{info_hash}/moderation/messages").json()
    assert thread["status"] == "rejected"
    message = thread["messages"][-1]
    assert message["body"] == (
        "Report accepted: This is a virus, see below.\n\nModerator note: Confirmed by a scan."
    )
    assert (message["author"]["username"], message["statusChange"]) == ("mona", "rejected")
    commands = {
        each.envelope.fact.TOPIC: each.envelope.meta.command for each in api.log.read(0, 1000)[0]
    }
    assert commands["torrent.rejected.1"] == commands["report.resolved.1"]
    (row,) = own(alice)["data"]
    assert row["target"] == {"kind": "torrent", "name": "Leaves of Grass", "link": None}
    # A report of what is rejected already has nothing left to reject.
    other = filed(mona, "torrent", torrent)
    assert decide(mona, other).json()["torrentRejected"] is False


def test_a_dismissed_report_of_a_torrent_leaves_it(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, bob)
    torrent = mona.get(f"/api/torrents/{info_hash}").json()["id"]
    reply = decide(mona, filed(alice, "torrent", torrent), "dismissed", resolution="Fine as it is.")
    assert reply.json()["torrentRejected"] is False
    assert "torrent.rejected.1" not in api.topics()
    thread = bob.get(f"/api/torrents/{info_hash}/moderation/messages").json()
    assert [message["body"] for message in thread["messages"]] == ["Approved."]


def test_staff_and_reporter_are_told_without_a_word_in_clear(
    api: Api, alice: Browser, bob: Browser, mona: Browser
) -> None:
    report = filed(alice, "user", account_id(bob))
    decide(mona, report, "dismissed")
    told = [
        each.envelope.fact
        for each in api.log.read(0, 1000)[0]
        if each.envelope.fact.TOPIC == "notice.raised.1"
    ]
    assert [(fact.kind, fact.recipient, str(fact.subject)) for fact in told] == [
        ("new_report_filed", None, report),
        ("report_actioned", account_id(alice), report),
    ]
    # Who decides his own report needs no telling.
    decide(mona, filed(mona, "user", account_id(bob)), "dismissed")
    assert api.topics().count("notice.raised.1") == 3


def test_staff_without_moderation_decides_reports(api: Api, alice: Browser, bob: Browser) -> None:
    grant(api, bob, "administrator")
    report = filed(alice, "user", account_id(administrator_of(api)))
    assert decide(bob, report, "dismissed").status_code == 200


def administrator_of(api: Api) -> Browser:
    """The founder, signed in anew."""
    browser = api.browser()
    assert browser.log_in("root").status_code == 200
    return browser
