"""Contract of a torrent's siblings: `cross-seeds` and `cross-seed-stats`."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from bencodepy import decode, encode

from interfaces.http import cross_seeds as routes
from interfaces.http.cross_seeds import (
    GIVEN_UP,
    KEPT,
    REMEMBERED,
    CrossSeedsTooSlow,
    FiguresCache,
)
from projections import cross_seeds
from projections.cross_seeds import LISTED, CrossSeedFigures
from tests.kit.accounts import member
from tests.kit.adult import adult_category, asked_for_adult, gated
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import torrent_file, upload

NOBODY = "f" * 40


def now() -> datetime:
    return datetime.now(UTC)


def sibling(
    browser: Browser, source: str, *, by: Browser | None = None, name: str = "Walden", **fields: Any
) -> str:
    """Upload the same content with another info hash, approved by `by`; the hash."""
    outer = decode(torrent_file(name))
    outer[b"info"][b"source"] = source.encode()
    reply = upload(browser, bytes(encode(outer)), **fields)
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    info_hash: str = data["infoHash"]
    # What moderators upload is accepted at once.
    if by is not None and data["moderationStatus"] == "pending":
        assert by.post(f"/api/mod/torrents/{info_hash}/approve").status_code == 200
    return info_hash


def path_of(info_hash: str, what: str = "cross-seeds") -> str:
    return f"/api/torrents/{info_hash}/{what}"


def hashes(browser: Browser, info_hash: str) -> list[str]:
    reply = browser.get(path_of(info_hash))
    assert reply.status_code == 200
    body = reply.json()
    assert body["total"] == len(body["items"])
    return [item["infoHash"] for item in body["items"]]


@pytest.mark.parametrize("what", ["cross-seeds", "cross-seed-stats"])
def test_siblings_are_for_members_who_may_see_the_torrent(
    api: Api, anonymous: Browser, alice: Browser, mona: Browser, what: str
) -> None:
    bob = member(api, "bob")
    shown, hidden = sibling(bob, "A", by=mona), sibling(bob, "B")
    outcomes = {
        who: [
            browser.get(path_of(info_hash, what)).status_code
            for info_hash in (shown, hidden, NOBODY, "nonsense")
        ]
        for who, browser in (("nobody", anonymous), ("alice", alice), ("mona", mona))
    }
    assert outcomes["nobody"] == [401] * 4
    assert outcomes["alice"] == [200, 404, 404, 404]
    assert outcomes["mona"] == [200, 200, 404, 404]


def test_list_cross_seeds_shows_what_the_caller_may_see_newest_first(
    api: Api, alice: Browser, mona: Browser
) -> None:
    bob = member(api, "bob")
    own = sibling(mona, "own", by=mona)
    first = sibling(mona, "first", by=mona)
    second = sibling(alice, "second", by=mona)
    pending = sibling(alice, "pending")
    sibling(mona, "another", by=mona, name="Another book")
    assert hashes(bob, own) == [second, first]
    assert hashes(alice, own) == [pending, second, first]
    assert hashes(mona, own) == [pending, second, first]
    assert hashes(bob, second) == [first, own]
    item = bob.get(path_of(own)).json()["items"][0]
    assert set(item) == {
        "id", "infoHash", "name", "size", "moderationStatus", "createdAt", "category", "uploader",
    }  # fmt: skip
    assert (item["name"], item["moderationStatus"]) == ("Walden", "accepted")
    assert item["uploader"]["username"] == "alice"


def test_adult_siblings_are_for_members_who_asked_for_such(
    api: Api, admin: Browser, alice: Browser, mona: Browser
) -> None:
    bob = member(api, "bob")
    asked_for_adult(bob)
    made = adult_category(admin)
    own, plain = sibling(mona, "own", by=mona), sibling(mona, "plain", by=mona)
    adult = sibling(mona, "adult", by=mona, categoryId=made["id"])
    assert hashes(alice, own) == hashes(mona, own) == hashes(admin, own) == [plain]
    assert hashes(bob, own) == [adult, plain]
    assert hashes(bob, adult) == [plain, own]
    for browser in (alice, mona, admin):
        for what in ("cross-seeds", "cross-seed-stats"):
            reply = browser.get(path_of(adult, what))
            assert (reply.status_code, reply.json()) == (200, gated(adult, made))
    assert bob.get(path_of(adult, "cross-seed-stats")).json()["otherTorrentCount"] == 2


@pytest.mark.by_hand
def test_list_cross_seeds_is_bounded(api: Api, mona: Browser) -> None:
    own = sibling(mona, "own", by=mona)
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO torrents_4.torrents
            SELECT (r).* FROM (
                SELECT jsonb_populate_record(t, jsonb_build_object(
                    'id', gen_random_uuid(), 'number', t.number + n, 'listed', t.listed + n,
                    'info_hash', lpad(to_hex(n), 40, '0'))) AS r
                FROM torrents_4.torrents t, generate_series(1, %s) n
            ) made
            """,
            [LISTED + 5],
        )
        conn.execute(
            """
            INSERT INTO cross_seeds_1.contents
            SELECT t.id, t.content_signature, t.listed FROM torrents_4.torrents t
            ON CONFLICT DO NOTHING
            """
        )
    found = hashes(mona, own)
    assert found == [f"{n:040x}" for n in range(LISTED + 5, 5, -1)]


def hold(api: Api, account: int, info_hash: str, **figures: int) -> None:
    """Give an account number a holding of the torrent."""
    row = {"uploaded": 0, "seeding": 0, "leeching": 0, **figures}
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO accounting_1.holdings (account, torrent, uploaded, downloaded,
                raw_uploaded, raw_downloaded, seed_seconds, snatches, first_at, last_at,
                completed_at, bytes_left, seeding, leeching)
            SELECT %(account)s, number, %(uploaded)s, 0, 0, 0, 0, 0, 1, 1, 0, 0, %(seeding)s,
                %(leeching)s
            FROM torrents_4.torrents WHERE info_hash = %(info_hash)s
            """,
            {**row, "account": account, "info_hash": info_hash},
        )


def uploaded_in_all(api: Api, info_hash: str, uploaded: int) -> None:
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO accounting_1.torrent_totals
            SELECT number, %s, 0, 0, 0, 0, 0 FROM torrents_4.torrents WHERE info_hash = %s
            """,
            [uploaded, info_hash],
        )


def test_show_cross_seed_stats_counts_members_of_accepted_siblings(
    api: Api, alice: Browser, mona: Browser
) -> None:
    own, other = sibling(mona, "own", by=mona), sibling(mona, "other", by=mona)
    hidden = sibling(alice, "hidden")
    large = 9_007_199_254_740_993
    hold(api, 101, own, uploaded=large, seeding=2)
    hold(api, 101, other, leeching=1)
    hold(api, 102, own, uploaded=10, leeching=1)
    hold(api, 102, other, seeding=1)
    hold(api, 103, own, uploaded=1_000, seeding=1)
    hold(api, 103, hidden, seeding=1)
    hold(api, 104, own, uploaded=1_000, seeding=1)
    hold(api, 104, other)
    uploaded_in_all(api, own, large + 2_010)
    reply = alice.get(path_of(own, "cross-seed-stats"))
    assert reply.status_code == 200
    assert reply.json() == {
        "otherTorrentCount": 1,
        "seederCount": 2,
        "leecherCount": 1,
        "uploadedShareBytes": str(large + 10),
        "totalUploadedBytes": str(large + 2_010),
    }
    # Staff are told no more: the sums are the same for everybody.
    assert mona.get(path_of(own, "cross-seed-stats")).json() == reply.json()


def test_show_cross_seed_stats_are_kept_for_half_a_minute(api: Api, mona: Browser) -> None:
    own = sibling(mona, "own", by=mona)

    def others() -> int:
        count: int = mona.get(path_of(own, "cross-seed-stats")).json()["otherTorrentCount"]
        return count

    assert others() == 0
    sibling(mona, "other", by=mona)
    assert others() == 0
    api.clock.ahead = KEPT
    assert others() == 1


def test_a_withdrawn_torrent_is_nobodys_sibling(mona: Browser, admin: Browser) -> None:
    own, other = sibling(mona, "own", by=mona), sibling(mona, "other", by=mona)
    assert hashes(mona, own) == [other]
    assert admin.delete(f"/api/torrents/{other}").status_code == 200
    assert hashes(mona, own) == []


def test_figures_are_kept_of_so_many_torrents_only() -> None:
    at = datetime(2026, 5, 16, tzinfo=UTC)
    cache, first = FiguresCache(), uuid4()
    figures = CrossSeedFigures(siblings=1, seeders=0, leechers=0, shared=0, uploaded=0)
    cache.keep(first, at, figures)
    for number in range(REMEMBERED - 1):
        cache.keep(UUID(int=number), at, figures)
    assert cache.fresh(first, at) is figures
    cache.keep(uuid4(), at, figures)
    assert cache.fresh(UUID(int=0), at) is None
    assert cache.fresh(first, at + KEPT) is None
    assert cache.fresh(first, at - timedelta(seconds=1)) is None


FIGURES = CrossSeedFigures(siblings=1, seeders=0, leechers=0, shared=0, uploaded=0)


def test_sums_are_given_up_when_they_take_too_long(
    api: Api, mona: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = sibling(mona, "own", by=mona)
    monkeypatch.setattr(cross_seeds, "LONGEST", "100ms")
    with psycopg.connect(api.app_url) as conn:
        conn.execute("LOCK TABLE accounting_1.holdings")
        reply = mona.get(path_of(own, "cross-seed-stats"))
    assert reply.status_code == 503
    assert reply.json()["data"]["code"] == "cross_seeds_too_slow"
    assert reply.headers["retry-after"] == "5"
    # Nothing stands in the way any more, but so soon it is not tried again.
    assert mona.get(path_of(own, "cross-seed-stats")).status_code == 503
    assert mona.get(path_of(own)).status_code == 200
    api.clock.ahead = GIVEN_UP
    assert mona.get(path_of(own, "cross-seed-stats")).json()["otherTorrentCount"] == 0


def test_sums_of_a_torrent_are_made_once_for_all_who_ask_at_once() -> None:
    cache, torrent, begun = FiguresCache(), uuid4(), Event()
    made: list[UUID] = []

    def make() -> CrossSeedFigures:
        made.append(torrent)
        begun.set()
        # Long enough for the others to come; if they did not wait they would be here too.
        time.sleep(0.3)
        return FIGURES

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(cache.find, torrent, now, make)
        assert begun.wait(5)
        others = [pool.submit(cache.find, torrent, now, make) for _ in range(6)]
        # Those of another torrent need not wait.
        assert cache.find(uuid4(), now, lambda: FIGURES) is FIGURES
        assert not first.done()
        assert {each.result(5) for each in (first, *others)} == {FIGURES}
    assert made == [torrent]


def test_who_waits_too_long_for_sums_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PATIENCE", 0.05)
    cache, torrent, begun, done = FiguresCache(), uuid4(), Event(), Event()

    def make() -> CrossSeedFigures:
        begun.set()
        assert done.wait(5)
        return FIGURES

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.find, torrent, now, make)
        assert begun.wait(5)
        with pytest.raises(CrossSeedsTooSlow):
            cache.find(torrent, now, make)
        done.set()
        assert first.result(5) is FIGURES
    assert cache.find(torrent, now, make) is FIGURES


def test_who_waits_for_sums_keeps_no_connection(
    api: Api, mona: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = sibling(mona, "own", by=mona)
    held: list[int] = []

    def noting(cache: FiguresCache, torrent: UUID, clock: object, make: object) -> CrossSeedFigures:
        stats = api.services.reads.get_stats()
        held.append(stats["pool_size"] - stats["pool_available"])
        return FIGURES

    monkeypatch.setattr(FiguresCache, "find", noting)
    assert mona.get(path_of(own, "cross-seed-stats")).json()["otherTorrentCount"] == 1
    assert held == [0]
