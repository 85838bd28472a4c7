"""Contract of `GET /api/me/downloads` and `GET /api/me/seeds`."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.contracts.test_me import add_totals
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import uploaded

PATHS = ("/api/me/downloads", "/api/me/seeds")
MINUTE = 60_000_000
NOON = 1_767_268_800_000_000
"""2026-01-01T12:00:00Z in microseconds."""


def hold(api: Api, browser: Browser, name: str, **figures: int) -> None:
    """What the credit fold would have written of one member with one torrent."""
    account = add_totals(api, browser, uploaded=0, downloaded=0)
    row = dict.fromkeys(
        ("downloaded", "completed_at", "seed_seconds", "seeding", "leeching", "first_at"), 0
    )
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO accounting_1.holdings (account, torrent, uploaded, downloaded,
                raw_uploaded, raw_downloaded, seed_seconds, snatches, first_at, last_at,
                completed_at, bytes_left, seeding, leeching)
            SELECT %(account)s, number, 7, %(downloaded)s, 7, %(downloaded)s, %(seed_seconds)s, 0,
                %(first_at)s, %(first_at)s, %(completed_at)s, 0, %(seeding)s, %(leeching)s
            FROM torrents_4.torrents WHERE name = %(name)s
            """,
            {**row, **figures, "account": account, "name": name},
        )


@pytest.fixture
def holder(api: Api, alice: Browser, mona: Browser) -> Browser:
    """Alice seeds one, loads one, finished one earlier, and seeds an upload of her own."""
    for name in ("Seeded", "Loading", "Finished", "Own"):
        uploaded(mona, name)
    hold(
        api, alice, "Seeded", downloaded=5, completed_at=NOON, seed_seconds=60, seeding=1,
        first_at=NOON - MINUTE,
    )  # fmt: skip
    hold(api, alice, "Loading", downloaded=5, leeching=1, first_at=NOON)
    hold(api, alice, "Finished", downloaded=5, completed_at=NOON, first_at=NOON - 3 * MINUTE)
    hold(api, alice, "Own", seed_seconds=9, seeding=2, first_at=NOON - 2 * MINUTE)
    return alice


def names(browser: Browser, path: str, **params: Any) -> list[str]:
    reply = browser.get(path, params=params)
    assert reply.status_code == 200, reply.text
    return [item["name"] for item in reply.json()["items"]]


def test_list_downloads_shows_what_was_downloaded_begun_last_first(holder: Browser) -> None:
    shown = holder.get("/api/me/downloads").json()
    assert [item["name"] for item in shown["items"]] == ["Loading", "Seeded", "Finished"]
    assert (shown["total"], shown["page"], shown["pageSize"]) == (3, 1, 25)
    seeded = shown["items"][1]
    assert set(seeded) == {
        "id", "infoHash", "name", "size", "category", "downloadedAt", "completedAt", "isHnr",
        "isExempt", "imdbId", "tmdbId", "tvdbId", "igdbId", "openlibraryId", "uploaded",
        "downloaded",
    }  # fmt: skip
    assert (seeded["uploaded"], seeded["downloaded"], seeded["isHnr"]) == (7, 5, False)
    assert seeded["downloadedAt"] == "2026-01-01T11:59:00.000Z"
    assert seeded["completedAt"] == "2026-01-01T12:00:00.000Z"
    assert shown["items"][0]["completedAt"] is None


def test_list_downloads_pages(holder: Browser) -> None:
    assert names(holder, "/api/me/downloads", pageSize=2) == ["Loading", "Seeded"]
    assert names(holder, "/api/me/downloads", pageSize=2, page=2) == ["Finished"]
    assert names(holder, "/api/me/downloads", page=9) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, ["Seeded", "Own"]),
        ("active", ["Seeded", "Own"]),
        ("pending", ["Loading"]),
        ("completed", ["Finished"]),
        ("hnr", []),
        ("all", ["Loading", "Seeded", "Own", "Finished"]),
    ],
)
def test_list_seeds_by_state(holder: Browser, status: str | None, expected: list[str]) -> None:
    shown = holder.get("/api/me/seeds", params={"status": status} if status else {}).json()
    assert [item["name"] for item in shown["items"]] == expected
    assert shown["total"] == len(expected)
    assert shown["counts"] == {"active": 2, "pending": 1, "completed": 1, "hnr": 0, "all": 4}


def test_list_seeds_shows_the_swarm_and_the_time(api: Api, holder: Browser) -> None:
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO accounting_1.torrent_live (torrent, seeders, leechers)
            SELECT number, 4, 3 FROM torrents_4.torrents WHERE name = 'Seeded'
            """
        )
    seeded = holder.get("/api/me/seeds").json()["items"][0]
    assert set(seeded) == {
        "id", "infoHash", "name", "size", "category", "downloadedAt", "completedAt", "isHnr",
        "isExempt", "seedTime", "requiredSeedTime", "seeders", "leechers", "completed",
    }  # fmt: skip
    assert (seeded["seedTime"], seeded["seeders"], seeded["leechers"]) == (60, 4, 3)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_what_another_holds(holder: Browser, admin: Browser, path: str) -> None:
    assert names(admin, path) == []
    assert admin.get(path).json()["total"] == 0


@pytest.mark.parametrize("path", PATHS)
def test_a_withdrawn_torrent_is_not_listed(holder: Browser, mona: Browser, path: str) -> None:
    hashes = {item["name"]: item["infoHash"] for item in holder.get(path).json()["items"]}
    assert "Seeded" in hashes
    assert mona.delete(f"/api/torrents/{hashes['Seeded']}").status_code == 200
    assert "Seeded" not in names(holder, path)


@pytest.mark.parametrize("path", PATHS)
def test_lists_of_ones_own_torrents_refuse_strangers_and_bad_paging(
    anonymous: Browser, alice: Browser, path: str
) -> None:
    assert anonymous.get(path).status_code == 401
    for params in ({"page": 0}, {"pageSize": 0}, {"pageSize": 101}, {"page": 90_000}):
        assert alice.get(path, params=params).status_code == 400, params
    assert alice.get("/api/me/seeds", params={"status": "some"}).status_code == 400
