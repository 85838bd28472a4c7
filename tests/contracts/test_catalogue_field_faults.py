"""Faults other catalogues had in the field, as trials against ours; and where the rest are tried.

Rows on sign-in and limits are tried in test_field_faults, those on announces in
tests/tracker/test_field_faults.
"""

from __future__ import annotations

import ast
import calendar
import secrets
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from interfaces.http.app import create_app
from interfaces.http.rate_limits import RateLimiter
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.forum import category as forum_category
from tests.kit.forum import started
from tests.kit.torrents import accepted, uploaded

TESTS: Final = Path(__file__).parent.parent


class Row(NamedTuple):
    """The tests that show a row, as `file:test`; and what of it has no route yet, with why."""

    shown: tuple[str, ...]
    later: str = ""


HERE: Final = "contracts/test_catalogue_field_faults"
BAD: Final = "contracts/test_catalogue_bad_input"
UPLOAD: Final = "contracts/test_torrents_upload:test_upload_torrent"
DOWNLOAD: Final = "contracts/test_torrents:test_download_torrent"
EDITS: Final = "contracts/test_torrent_edits"
FEEDS: Final = "the feeds and Torznab have no routes yet, so there is no XML to be read"
FIELD: Final[Mapping[str, Row]] = {
    "torrust-index 282: another info hash than the stored one": Row(
        (
            f"{UPLOAD}_makes_it_private_and_says_so",
            "domain/test_metainfo_private:test_a_client_reads_the_same_hashes_from_the_stored_file",
            "application/test_torrent_files:test_a_client_finds_the_recorded_hashes_and_our_addresses",
            "e2e/test_transfer:test_a_transfer_is_credited_to_the_byte",
        ),
        later=FEEDS,
    ),
    "torrust-index 300: v2 upload is a 500": Row(
        (
            f"{UPLOAD}_takes_or_refuses_in_words_what_clients_take",
            f"{UPLOAD}_refuses_what_clients_refuse",
            "contracts/test_torrents:test_show_torrent_by_each_of_its_hashes",
            "tracker/test_field_faults:test_both_hashes_of_a_hybrid_are_one_peer_and_one_credit",
            "e2e/test_transfer:test_a_transfer_is_credited_to_the_byte",
            "e2e/test_transfer:test_a_client_on_another_family_or_on_both_is_credited_once",
        )
    ),
    "rqbit 660: 20 KB of `l` kills the process": Row(
        (
            f"{UPLOAD}_names_the_fault_of_any_bytes_within_a_second",
            f"{BAD}:test_bytes_that_killed_others_are_refused_before_an_upload_too",
            "domain/test_metainfo:test_hostile_bytes_are_refused_within_a_second",
            "domain/test_metainfo_fuzz:test_arbitrary_bytes_are_refused_in_words",
        )
    ),
    "Radarr 1537: bare `&` breaks the feed": Row(
        (
            "contracts/test_torrent_names:test_a_title_comes_back_as_it_was_sent_everywhere",
            f"{HERE}:test_a_title_of_the_field_is_found_by_itself",
        ),
        later=FEEDS,
    ),
    "Radarr 7381: two items with one guid": Row(
        (
            f"{HERE}:test_no_torrent_is_on_two_pages",
            f"{HERE}:test_edits_between_pages_show_nothing_twice",
            "contracts/test_torrents:test_list_torrents_walks_all_rows_by_page_and_by_cursor",
        ),
        later=FEEDS,
    ),
    "Radarr 1231, Sonarr 590: no date, or no zone": Row(
        (f"{HERE}:test_dates_bear_their_zone_wherever_the_server_stands",), later=FEEDS
    ),
    "cross-seed 327 and 492: limit reached told as another fault": Row(
        (
            f"{HERE}:test_a_download_over_the_limit_works_after_the_time_it_is_told",
            "contracts/test_field_faults:test_after_the_time_to_wait_the_same_request_works",
        ),
        later=FEEDS,
    ),
    "autobrr 1980, Transmission 3972, Tribler 5112: non-ASCII names": Row(
        (
            "contracts/test_torrent_names:test_a_title_comes_back_as_it_was_sent_everywhere",
            "contracts/test_torrent_names:test_both_normal_forms_of_a_name_find_each_other",
            f"{HERE}:test_a_title_of_the_field_is_found_by_itself",
            f"{DOWNLOAD}_names_the_file_safely_and_exactly",
            "contracts/test_torrents:test_content_disposition_cannot_be_ended_by_a_name",
        ),
        later=FEEDS,
    ),
    "Prowlarr 1041: keys in logs": Row(
        (
            "e2e/test_canaries:test_no_log_line_holds_a_secret",
            "e2e/test_canaries:test_no_error_holds_a_secret",
            f"{DOWNLOAD}_carries_the_callers_own_key_for_this_torrent",
        )
    ),
}
BAD_INPUT: Final[Mapping[str, Row]] = {
    "titles with `]]>`, `&`, right-to-left marks, 4-byte emoji, 255 bytes, NFD and NFC": Row(
        (
            "contracts/test_torrent_names:test_a_title_comes_back_as_it_was_sent_everywhere",
            "contracts/test_torrent_names:test_both_normal_forms_of_a_name_find_each_other",
            "contracts/test_forum:test_start_forum_topic_disarms_mark_up_and_keeps_titles_text",
            f"{HERE}:test_a_title_of_the_field_is_found_by_itself",
        )
    ),
    "control characters": Row(
        (
            "contracts/test_torrent_names:test_what_is_no_line_of_text_is_no_title",
            "contracts/test_torrent_names:test_a_name_inside_the_file_becomes_one_line_of_text",
            "contracts/test_forum:test_start_forum_topic_refuses_bad_input",
            "contracts/test_comments:test_post_comment_refuses_bad_words",
            f"{BAD}:test_paths_inside_a_file_are_shown_as_lines_of_text",
        )
    ),
    "lone surrogates": Row(
        (
            f"{EDITS}:test_a_lone_surrogate_is_refused_everywhere",
            f"{BAD}:test_half_a_surrogate_pair_is_no_text_of_an_upload",
            f"{BAD}:test_no_charset_makes_half_a_pair_of_sound_text",
            f"{BAD}:test_half_a_surrogate_pair_is_no_text_of_a_community",
            "contracts/test_torrents:test_list_torrents_refuses_what_it_cannot_answer",
            "contracts/test_openapi_fuzz:test_every_answer_is_declared",
        )
    ),
    "header injection in file names": Row(
        (
            "contracts/test_torrent_names:test_the_name_of_the_uploaded_file_names_nothing",
            "contracts/test_torrent_names:test_an_upload_form_with_a_torn_header_is_refused_in_words",
            "contracts/test_torrents:test_content_disposition_cannot_be_ended_by_a_name",
        )
    ),
    "mark-up attacks": Row(
        (
            "application/test_markup:test_clean_markup_disarms",
            "application/test_markup:test_clean_markup_disarms_any_heap_of_attacks",
            "application/test_markup:test_no_text_costs_much_time_or_space",
            "contracts/test_forum:test_start_forum_topic_disarms_mark_up_and_keeps_titles_text",
            "contracts/test_comments:test_post_comment_disarms_mark_up",
        )
    ),
    "two edits at once": Row(
        (
            f"{EDITS}:test_edits_at_once_apply_one_after_the_other",
            f"{EDITS}:test_of_two_edits_of_one_version_one_wins",
            f"{EDITS}:test_an_edit_and_an_approval_at_once_leave_a_state_that_was_decided",
            "contracts/test_forum:test_two_edits_at_once_tell_who_was_first",
            "contracts/test_moderation:test_two_moderators_at_once_one_wins_and_the_other_learns_who",
        )
    ),
    "delete while someone downloads": Row(
        (
            f"{BAD}:test_a_torrent_deleted_while_members_download_it_breaks_nothing",
            f"{EDITS}:test_withdraw_torrent_twice_at_once_records_it_once",
            "contracts/test_forum:test_deleting_a_topic_while_members_answer_leaves_nothing_behind",
            "e2e/test_withdrawals:test_a_withdrawn_torrent_is_refused_within_a_second",
        )
    ),
}


@pytest.mark.parametrize("fault", [*FIELD, *BAD_INPUT])
def test_every_fault_is_shown_by_tests_that_are_there(fault: str) -> None:
    row = {**FIELD, **BAD_INPUT}[fault]
    assert row.shown
    for reference in row.shown:
        path, name = reference.split(":")
        assert name in functions_of(path), reference


@lru_cache
def functions_of(path: str) -> frozenset[str]:
    """Names of the functions of a file of tests."""
    tree = ast.parse((TESTS / f"{path}.py").read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def found(browser: Browser, **params: Any) -> list[str]:
    reply = browser.get("/api/torrents", params=params)
    assert reply.status_code == 200, reply.text
    return [row["name"] for row in reply.json()["data"]]


FIELD_TITLES: Final = {
    "latin": "Björk",
    "cyrillic": "Логан",
    "ornaments": "჻★【 】",
    "an emoji": "🌸",
    "marks": "≠ ★",
    "composed": unicodedata.normalize("NFC", "Ångström Café"),
    "decomposed": unicodedata.normalize("NFD", "Ångström Café"),
    "separator": "AC/DC",
    "255 bytes": "é" * 127 + "e",
    "bare ampersand": "A & B <i> \"q\" 'x' ]]> &amp; &#x41;",
    "right to left": "سلسلة \u202eabc\u202c \u200fשלום\u200e",
}


@pytest.mark.parametrize("kind", FIELD_TITLES)
def test_a_title_of_the_field_is_found_by_itself(
    mona: Browser, alice: Browser, anonymous: Browser, kind: str
) -> None:
    """autobrr issue 1980, Transmission issue 3972, Tribler issue 5112, Radarr issue 1537."""
    title = FIELD_TITLES[kind]
    uploaded(mona, "content", name=title)
    uploaded(mona, "other", name="Another one ★★")
    uploaded(alice, "waiting", name=title)
    for form in ("NFC", "NFD"):
        asked = unicodedata.normalize(form, title)
        assert found(anonymous, q=asked) == [title], form
        # Nobody but its uploader and staff finds what waits for a moderator.
        assert found(alice, q=asked) == found(mona, q=asked) == [title, title], form
        assert found(mona, q=asked, sort="name", limit=1, page=2) == [title]
        told = anonymous.get("/api/torrents", params={"q": asked}).json()["pagination"]
        assert told["total"] == 1


def walked(browser: Browser, **params: Any) -> Iterator[dict[str, Any]]:
    """Every row of a list, by cursor."""
    after: dict[str, Any] = {}
    while True:
        reply = browser.get("/api/torrents", params={**params, **after})
        assert reply.status_code == 200, reply.text
        yield from reply.json()["data"]
        if reply.json()["nextCursor"] is None:
            return
        after = {"after": reply.json()["nextCursor"]}


def paged(browser: Browser, **params: Any) -> Iterator[dict[str, Any]]:
    """Every row of a list, page by page."""
    page, pages = 1, 1
    while page <= pages:
        reply = browser.get("/api/torrents", params={**params, "page": page})
        assert reply.status_code == 200, reply.text
        yield from reply.json()["data"]
        page, pages = page + 1, reply.json()["pagination"]["pages"]


def shelf(admin: Browser, amount: int) -> tuple[str, list[str]]:
    """Torrents with three tags each in a child category, each edited twice; parent and hashes."""
    parent = admin.post("/api/admin/categories", json={"name": "Movies"}).json()["id"]
    child = admin.post("/api/admin/categories", json={"name": "HD", "parentId": parent}).json()[
        "id"
    ]
    hashes = []
    for number in range(amount):
        info_hash = uploaded(
            admin, f"Film {number}", categoryId=child, tags=["One", "Two", "Three"]
        )["infoHash"]
        for body in ({"description": "Better."}, {"name": f"Film {number} again"}):
            edited = admin.patch(f"/api/torrents/{info_hash}", json=body)
            assert edited.status_code == 200, edited.text
        hashes.append(info_hash)
    return parent, hashes


def test_no_torrent_is_on_two_pages(admin: Browser, anonymous: Browser) -> None:
    """Radarr issue 7381: a row for each tag and each edit, so the same torrent came twice."""
    parent, hashes = shelf(admin, 30)
    for params in (
        {},
        {"category": parent},
        {"tags": "one,two,three"},
        {"q": "film again"},
        {"category": parent, "tags": "two", "q": "film", "sort": "name"},
        {"sort": "seeders"},
        {"sort": "size", "order": "asc"},
    ):
        for browser in (anonymous, admin):
            for way in (walked, paged):
                ids = [row["infoHash"] for row in way(browser, limit=4, **params)]
                assert sorted(ids) == sorted(hashes), (params, way)


def test_edits_between_pages_show_nothing_twice(admin: Browser, anonymous: Browser) -> None:
    """Radarr issue 7381: an edit moves no torrent to another page of the newest ones."""
    _, hashes = shelf(admin, 12)
    seen: list[str] = []
    for number, row in enumerate(walked(anonymous, limit=3)):
        seen.append(row["infoHash"])
        body = {"name": f"Renamed {number}", "description": "Again."}
        assert admin.patch(f"/api/torrents/{hashes[number]}", json=body).status_code == 200
    assert seen == hashes[::-1]
    assert sorted(found(anonymous, q="renamed")) == sorted(f"Renamed {n}" for n in range(12))


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server stands where clocks are a quarter of an hour off everybody else's."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_dates_bear_their_zone_wherever_the_server_stands(
    far_away: None, admin: Browser, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    """Radarr issue 1231, Sonarr issue 590: no date, or one without a zone."""
    before = time.time()
    info_hash = accepted(mona, alice, "Film")
    path = f"/api/torrents/{info_hash}"
    assert alice.post(f"{path}/comments", json={"content": "Good."}).status_code == 201
    topic = started(alice, forum_category(admin), "Hello", "You")
    after = time.time()
    dates = [
        date
        for reply in (
            anonymous.get("/api/torrents"),
            anonymous.get(path),
            alice.get(f"{path}/moderation/messages"),
            anonymous.get(f"/api/forum/topics/{topic['id']}"),
            anonymous.get("/api/forum/categories"),
        )
        for date in dates_of(reply.json())
    ]
    assert len(dates) >= 10
    for date in dates:
        assert date.endswith("Z")
        moment = time.strptime(date.split(".")[0], "%Y-%m-%dT%H:%M:%S")
        assert before - 1 <= calendar.timegm(moment) <= after + 1, date


def dates_of(body: Any) -> Iterator[str]:
    """What stands under a name that ends in `At`, however deep."""
    if isinstance(body, list):
        for each in body:
            yield from dates_of(each)
    elif isinstance(body, dict):
        for name, value in body.items():
            if name.endswith("At") and isinstance(value, str):
                yield value
            yield from dates_of(value)


def test_a_download_over_the_limit_works_after_the_time_it_is_told(
    api: Api, mona: Browser, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cross-seed issues 327 and 492: a limit told as another fault, or without a time."""
    path = f"/api/torrents/{accepted(mona, alice, 'Film')}/download"
    limiter = RateLimiter(api.redis, secrets.token_bytes(32), lambda: 10)
    browser = replace(api, app=create_app(replace(api.services, limiter=limiter))).browser()
    browser.client.cookies = alice.client.cookies
    answers = [browser.get(path) for _ in range(101)]
    assert [answer.status_code for answer in answers] == [200] * 100 + [429]
    refused = answers[-1]
    wait = refused.headers["Retry-After"]
    assert wait.isdecimal()
    assert 1 <= int(wait) <= 60
    body = refused.json()
    assert (body["statusCode"], body["data"]["code"]) == (429, "rate_limited")
    assert body["data"]["retryAfter"] == int(wait)
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + int(wait))
    again = browser.get(path)
    assert (again.status_code, again.content) == (200, answers[0].content)
