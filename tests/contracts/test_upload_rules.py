"""Contract of the upload rules, and that uploads, checks and edits are held to them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from httpx2 import Response

from projections.upload_rules import UploadRulesProjection
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import torrent_file, upload, uploaded
from tests.kit.upload_rules import NO_RULES

PATH = "/api/admin/upload-rules"
NOBODY = "00000000-0000-4000-8000-000000000000"


def change(admin: Browser, **rules: Any) -> Response:
    return admin.put(PATH, json={**NO_RULES, **rules})


def changed(admin: Browser, **rules: Any) -> Any:
    reply = change(admin, **rules)
    assert reply.status_code == 200, reply.text
    return reply.json()


def reason_of(reply: Response) -> tuple[int, str, Any]:
    data = reply.json()["data"]
    assert data["code"] == "upload_rule_broken", reply.text
    return reply.status_code, data["reason"], data["detail"]


def category(admin: Browser, name: str, parent: str | None = None) -> str:
    made = admin.post("/api/admin/categories", json={"name": name, "parentId": parent})
    return str(made.json()["id"])


def test_the_rules_are_public_and_their_patterns_for_members(
    admin: Browser, alice: Browser, mona: Browser, anonymous: Browser
) -> None:
    movies = category(admin, "Movies")
    child = category(admin, "HD", movies)
    category(admin, "Other")
    changed(
        admin,
        nfoRequired=True,
        maxTorrentSize=1_000_000,
        titleBlocklist="cam",
        titlePatternEnforced=True,
        categoryPatterns={movies: r".+\.\d{4}"},
        allowedExtensions=[".MKV", "mp4", "mkv"],
        requiredMediaIds=["imdb"],
    )
    shown = anonymous.get("/api/upload-rules").json()
    assert (shown["nfoRequired"], shown["maxTorrentSize"]) == (True, 1_000_000)
    assert shown["allowedExtensions"] == ["mkv", "mp4"]
    assert (shown["requiredMediaIds"], shown["tmdbIdRequired"]) == (["imdb"], False)
    assert shown["limits"]["torrentFileBytes"] == 10 * 1024 * 1024
    assert shown["limits"]["files"] == 20_000
    for field in ("titleBlocklist", "categoryPatterns", "effectiveCategoryPatterns", "bypassed"):
        assert shown[field] is None
    member = alice.get("/api/upload-rules").json()
    assert member["titleBlocklist"] == "cam"
    assert member["categoryPatterns"] == {movies: r".+\.\d{4}"}
    assert member["effectiveCategoryPatterns"] == {
        movies: r"^(?:.+\.\d{4})$",
        child: r"^(?:.+\.\d{4})$",
    }
    assert (member["bypassed"], mona.get("/api/upload-rules").json()["bypassed"]) == (False, True)


def test_changing_the_rules_is_for_administrators(
    api: Api, admin: Browser, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    for caller, status in ((anonymous, 401), (alice, 403), (mona, 403)):
        assert change(caller).status_code == status
        assert caller.get(PATH).status_code == status
    assert "upload_rules.changed.1" not in api.topics()
    assert admin.get(PATH).json()["version"] == 0


def test_change_upload_rules_replaces_all_of_them_at_once(api: Api, admin: Browser) -> None:
    first = changed(admin, nfoRequired=True, allowedExtensions=["mkv"], tmdbIdRequired=True)
    assert (first["version"], first["requiredMediaIds"]) == (1, ["tmdb"])
    assert admin.get(PATH).json() == first
    second = changed(admin, descriptionRequired=True, version=1)
    assert (second["nfoRequired"], second["descriptionRequired"]) == (False, True)
    # The reference has no such list: who does not send it, leaves it.
    assert (second["allowedExtensions"], second["tmdbIdRequired"]) == (["mkv"], False)
    before = api.topics()
    assert changed(admin, descriptionRequired=True)["version"] == 2
    assert api.topics() == before
    late = change(admin, version=1)
    assert (late.status_code, late.json()["data"]["code"]) == (
        409,
        "upload_rules_changed_meanwhile",
    )
    assert late.json()["data"]["changedBy"]["username"] == "root"
    assert late.json()["data"]["version"] == 2


def test_lists_that_are_not_sent_stay_as_they_are_by_now_not_as_pages_show_them(
    api: Api, admin: Browser
) -> None:
    changed(admin, allowedExtensions=["mkv"], requiredMediaIds=["imdb"])
    with api.held(UploadRulesProjection()):
        changed(admin, allowedExtensions=["mp4"], requiredMediaIds=["igdb"], tmdbIdRequired=True)
        late = changed(admin, descriptionRequired=True)
    assert (late["allowedExtensions"], late["requiredMediaIds"]) == (["mp4"], ["igdb"])
    shown = admin.get(PATH).json()
    assert (shown["allowedExtensions"], shown["requiredMediaIds"]) == (["mp4"], ["igdb"])
    assert (shown["descriptionRequired"], shown["tmdbIdRequired"]) == (True, False)


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"descriptionMinLength": -1}, "descriptionMinLength"),
        ({"descriptionMinLength": 10_001}, "descriptionMinLength"),
        ({"maxTorrentSize": 0}, "maxTorrentSize"),
        ({"maxTorrentSize": 1024**5 + 1}, "maxTorrentSize"),
        ({"titleBlocklist": "("}, "titleBlocklist"),
        ({"titleBlocklist": r"(a)\1"}, "titleBlocklist"),
        ({"titleBlocklist": "(?=a)"}, "titleBlocklist"),
        ({"titleBlocklist": "((a{100}){100}){100}"}, "titleBlocklist"),
        ({"titleBlocklist": "x" * 501}, "titleBlocklist"),
        ({"allowedExtensions": ["a/b"]}, "allowedExtensions"),
        ({"allowedExtensions": [""]}, "allowedExtensions"),
        ({"requiredMediaIds": ["anidb"]}, "requiredMediaIds"),
        ({"categoryPatterns": {NOBODY: "a"}}, f"categoryPatterns.{NOBODY}"),
        ({"categoryPatterns": {"movies": "a"}}, "categoryPatterns.movies"),
    ],
)
def test_change_upload_rules_names_what_can_not_be_kept(
    api: Api, admin: Browser, rules: dict[str, Any], field: str
) -> None:
    reply = change(admin, **rules)
    assert reply.status_code == 400, reply.text
    assert reply.json()["data"]["code"] == "upload_rules_invalid"
    assert list(reply.json()["data"]["invalidFields"]) == [field]
    assert "upload_rules.changed.1" not in api.topics()


def test_change_upload_rules_is_strict(api: Api, admin: Browser) -> None:
    for left_out in NO_RULES:
        body = {name: value for name, value in NO_RULES.items() if name != left_out}
        assert admin.put(PATH, json=body).status_code == 400, left_out
    for wrong in (
        {"nfoRequired": "yes"},
        {"descriptionMinLength": "3"},
        {"surprise": True},
        {"titleBlocklist": "a\0b"},
        {"categoryPatterns": []},
    ):
        assert change(admin, **wrong).status_code == 400, wrong
    assert "upload_rules.changed.1" not in api.topics()


def test_an_upload_breaks_each_rule_in_the_documented_order(
    api: Api, admin: Browser, alice: Browser
) -> None:
    movies = category(admin, "Movies")
    child = category(admin, "HD", movies)
    changed(
        admin,
        nfoRequired=True,
        descriptionRequired=True,
        descriptionMinLength=10,
        tmdbIdRequired=True,
        maxTorrentSize=50_000,
        allowedExtensions=["mkv"],
        titleBlocklist=r"\bcam\b",
        titlePatternEnforced=True,
        categoryPatterns={movies: r"[A-Z].+\.\d{4}"},
    )
    fields: dict[str, Any] = {"categoryId": child, "name": "A.Cam.Film"}
    large, small = torrent_file("film.avi"), torrent_file("film.avi", size=20_000)
    steps: list[tuple[bytes, dict[str, Any], tuple[str, Any]]] = [
        (large, {}, ("nfo_required", None)),
        (large, {"nfo": b"An NFO."}, ("description_required", None)),
        (large, {"description": "  short  "}, ("description_too_short", 10)),
        (large, {"description": "Long enough."}, ("tmdb_required", None)),
        (large, {"tmdbId": "movie/278"}, ("size_too_large", 50_000)),
        (small, {}, ("extension_not_allowed", "avi")),
    ]
    for content, more, (reason, detail) in steps:
        fields |= more
        assert reason_of(upload(alice, content, **fields)) == (400, reason, detail)
    mkv = torrent_file("film.mkv", size=20_000)
    assert reason_of(upload(alice, mkv, **fields)) == (400, "title_blocklisted", "Cam")
    fields["name"] = "A.Film"
    assert reason_of(upload(alice, mkv, **fields))[1:] == (
        "title_pattern_mismatch",
        r"^(?:[A-Z].+\.\d{4})$",
    )
    assert "torrent.uploaded.1" not in api.topics()
    fields["name"] = "a.film.1999"
    assert upload(alice, mkv, **fields).status_code == 200


def test_staff_bypass_the_rules_only_while_these_say_so(
    admin: Browser, mona: Browser, alice: Browser
) -> None:
    changed(admin, nfoRequired=True)
    assert upload(mona, torrent_file("One")).status_code == 200
    assert reason_of(upload(alice, torrent_file("Two")))[1] == "nfo_required"
    changed(admin, nfoRequired=True, staffBypass=False)
    assert reason_of(upload(mona, torrent_file("Three")))[1] == "nfo_required"


def test_a_child_may_have_a_pattern_of_its_own(admin: Browser, alice: Browser) -> None:
    movies = category(admin, "Movies")
    child = category(admin, "HD", movies)
    rules = {"titlePatternEnforced": True, "categoryPatterns": {movies: "a+", child: "b+"}}
    changed(admin, **rules)
    wanted = [(movies, "aaa", 200), (movies, "bbb", 400), (child, "bbb", 200), (child, "aaa", 400)]
    for number, (where, name, status) in enumerate(wanted):
        reply = upload(alice, torrent_file(f"T{number}"), name=name, categoryId=where)
        assert reply.status_code == status, (name, reply.text)
    assert upload(alice, torrent_file("Free"), name="ccc").status_code == 200
    changed(admin, **{**rules, "categoryPatterns": {movies: "a+", child: ""}})
    assert upload(alice, torrent_file("T9"), name="aaa", categoryId=child).status_code == 200
    changed(admin, **{**rules, "titlePatternEnforced": False})
    assert upload(alice, torrent_file("T10"), name="ccc", categoryId=child).status_code == 200


def test_a_pattern_others_would_search_for_ever_is_searched_at_once(
    admin: Browser, alice: Browser
) -> None:
    changed(admin, titleBlocklist="(a+)+b|(x*)*y")
    begun = time.process_time()
    assert upload(alice, torrent_file("Slow"), name="a" * 256).status_code == 200
    assert time.process_time() - begun < 2


def test_an_edit_is_held_to_the_rules_of_what_it_changes(
    api: Api, admin: Browser, alice: Browser, mona: Browser
) -> None:
    movies = category(admin, "Movies")
    path = f"/api/torrents/{uploaded(alice, 'Old one', tmdbId='278')['infoHash']}"
    changed(
        admin,
        descriptionRequired=True,
        tmdbIdRequired=True,
        nfoRequired=True,
        maxTorrentSize=1,
        titlePatternEnforced=True,
        categoryPatterns={movies: "[a-z]+"},
    )
    assert alice.patch(path, json={"name": "Old two"}).status_code == 200
    cases: list[tuple[dict[str, Any], str]] = [
        ({"categoryId": movies}, "title_pattern_mismatch"),
        ({"tmdbId": None}, "tmdb_required"),
        ({"description": "  "}, "description_required"),
    ]
    before = api.topics()
    for body, reason in cases:
        assert reason_of(alice.patch(path, json=body))[:2] == (400, reason)
    assert api.topics() == before
    assert alice.patch(path, json={"name": "plain", "categoryId": movies}).status_code == 200
    assert reason_of(alice.patch(path, json={"name": "NOT 1"}))[1] == "title_pattern_mismatch"
    assert mona.patch(path, json={"name": "By staff 1"}).status_code == 200
    assert alice.patch(path, json={"imdbId": "tt0111161"}).status_code == 200


def test_check_torrent_tells_which_rules_an_upload_would_break(
    api: Api, admin: Browser, alice: Browser, mona: Browser
) -> None:
    changed(admin, nfoRequired=True, descriptionRequired=True, maxTorrentSize=5)
    before = api.topics()
    name = "A.Film.1999.1080p.BluRay.x264"

    def check(caller: Browser, **fields: Any) -> Any:
        files = {"torrent": ("a.torrent", torrent_file("film"), "application/x-bittorrent")}
        return caller.post("/api/torrents/check", data=fields, files=files)

    told = check(alice, name=name, tags='["Poetry"]').json()
    assert told["exists"] is False
    assert told["brokenRules"] == [
        {"reason": "nfo_required", "detail": None},
        {"reason": "description_required", "detail": None},
        {"reason": "size_too_large", "detail": 5},
    ]
    assert told["suggestedTags"] == ["Poetry", "1080p", "BluRay", "x264"]
    assert check(mona, name=name).json()["brokenRules"] == []
    assert check(alice, categoryId=NOBODY).json()["data"]["code"] == "category_unknown"
    assert check(alice, tags="x").status_code == 400
    by_hash = alice.post("/api/torrents/check", json={"infoHash": told["infoHash"]}).json()
    assert (by_hash["brokenRules"], by_hash["suggestedTags"]) == (None, None)
    assert api.topics() == before
