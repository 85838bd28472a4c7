"""Contract of the public counters."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded


def test_show_public_stats_of_an_empty_site(anonymous: Browser) -> None:
    reply = anonymous.get("/api/stats/public")
    assert reply.status_code == 200
    body = reply.json()
    assert body["users"] == 0
    assert body["live"] == {"torrents": 0, "peers": 0}
    assert body["protocols"] == {"http": True, "udp": True, "ws": False}
    assert {name: body["cached"][name] for name in ("torrents", "seeders", "totalUploaded")} == {
        "torrents": 0,
        "seeders": 0,
        "totalUploaded": "0",
    }


def test_show_public_stats_counts_what_is_listed(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    uploaded(alice, "Waiting")
    info_hash = accepted(mona, alice, "Listed")
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        conn.execute("INSERT INTO accounting_1.torrent_live VALUES (1, 3, 4), (2, 5, 0)")
        conn.execute(
            "INSERT INTO accounting_1.member_totals VALUES (1, 9007199254740993, 0, 0, 0, 0, 0)"
        )
    body = anonymous.get("/api/stats/public").json()
    assert body["users"] == 3
    assert body["live"] == {"torrents": 1, "peers": 12}
    assert body["cached"]["seeders"] == 8
    assert body["cached"]["leechers"] == 4
    assert body["cached"]["totalUploaded"] == "9007199254740993"
    mona.post(f"/api/mod/torrents/{info_hash}/reject", json={"message": "Sorry."})
    kept = anonymous.get("/api/stats/public").json()
    assert kept["live"]["torrents"] == 0
    assert kept["cached"] == body["cached"]
    api.clock.ahead = timedelta(seconds=16)
    assert anonymous.get("/api/stats/public").json()["cached"]["torrents"] == 0
