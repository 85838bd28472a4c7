"""Contract of the catalogue: lists, pages and files."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import psycopg
from bencodepy import decode

from application.site import ChangeSettings
from domain.passkeys import PasskeyScope, make_passkey
from interfaces.http.models import Reply
from interfaces.http.paging import Page, write_cursor
from interfaces.http.torrent_replies import TorrentReply
from interfaces.http.torrents import content_disposition
from projections.torrent_listing import fill_counts
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.corpus import sample
from tests.kit.torrents import accepted, info_hash_of, torrent_file, upload, uploaded


def find_number(api: Api, username: str) -> int:
    with psycopg.connect(api.app_url) as conn:
        row = conn.execute(
            "SELECT number FROM users_1.accounts WHERE username = %s", [username]
        ).fetchone()
    assert row is not None
    return int(row[0])


def names(reply: Any) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [row["name"] for row in reply.json()["data"]]


def test_list_torrents_shows_accepted_ones_to_everybody_and_own_ones_to_their_uploader(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    accepted(mona, alice, "Seen")
    uploaded(alice, "Waiting")
    bob = member(api, "bob")
    assert names(anonymous.get("/api/torrents")) == ["Seen"]
    assert names(bob.get("/api/torrents")) == ["Seen"]
    assert names(alice.get("/api/torrents")) == ["Waiting", "Seen"]
    assert names(mona.get("/api/torrents")) == ["Waiting", "Seen"]
    for caller, total in ((anonymous, 1), (bob, 1), (alice, 2), (mona, 2)):
        assert caller.get("/api/torrents").json()["pagination"] == {
            "page": 1,
            "limit": 20,
            "total": total,
            "pages": 1,
            "totalExact": True,
        }


def test_list_torrents_rows_are_what_the_document_says(mona: Browser, alice: Browser) -> None:
    accepted(mona, alice, "Seen")
    reply = alice.get("/api/torrents")
    Page[TorrentReply].model_validate_json(reply.content)
    (row,) = reply.json()["data"]
    assert row["moderationStatus"] == "accepted"
    assert row["moderatedBy"]["username"] == "mona"
    assert row["stats"] == {"seeders": 0, "leechers": 0, "completed": 0}
    assert not {"torrentData", "fileRef", "description"} & set(row)


def test_list_torrents_walks_all_rows_by_page_and_by_cursor(
    api: Api, mona: Browser, anonymous: Browser
) -> None:
    for number in range(7):
        last = upload(mona, torrent_file(f"T{number}", size=(number * 5 % 7 + 1) * 1000))
    # A stranger's reads wait for nobody's writes unless they ask.
    reached = {"X-After": last.headers["X-Log-Position"]}
    assert anonymous.get("/api/torrents", headers=reached).status_code == 200
    for sort, order in (("recent", "desc"), ("name", "asc"), ("size", "desc"), ("seeders", "asc")):
        query: dict[str, Any] = {"limit": 3, "sort": sort, "order": order}
        paged = [
            name
            for page in (1, 2, 3)
            for name in names(anonymous.get("/api/torrents", params={**query, "page": page}))
        ]
        walked: list[str] = []
        after = None
        while True:
            reply = anonymous.get(
                "/api/torrents", params={**query, **({"after": after} if after else {})}
            )
            walked += names(reply)
            after = reply.json()["nextCursor"]
            if after is None:
                break
        assert paged == walked, sort
        assert sorted(walked) == [f"T{number}" for number in range(7)], sort
    assert names(anonymous.get("/api/torrents"))[0] == "T6"
    by_size = anonymous.get("/api/torrents", params={"sortBy": "size"}).json()["data"]
    assert [row["size"] for row in by_size] == [7000, 6000, 5000, 4000, 3000, 2000, 1000]


def test_list_torrents_sorts_by_what_the_ledger_says(
    api: Api, mona: Browser, anonymous: Browser
) -> None:
    for name in ("A", "B", "C"):
        uploaded(mona, name)
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        for name, seeders, snatches in (("A", 1, 9), ("B", 7, 0)):
            conn.execute(
                "INSERT INTO accounting_1.torrent_live SELECT number, %s, 2"
                " FROM torrents_4.torrents WHERE name = %s",
                [seeders, name],
            )
            conn.execute(
                "INSERT INTO accounting_1.torrent_totals SELECT number, 0, 0, 0, 0, 0, %s"
                " FROM torrents_4.torrents WHERE name = %s",
                [snatches, name],
            )
        assert fill_counts(conn) == 2
        assert fill_counts(conn) == 0
    assert names(anonymous.get("/api/torrents?sort=seeders")) == ["B", "A", "C"]
    assert names(anonymous.get("/api/torrents?sort=completed&order=desc")) == ["A", "C", "B"]
    row = anonymous.get("/api/torrents?q=B").json()["data"][0]
    assert row["stats"] == {"seeders": 7, "leechers": 2, "completed": 0}


def test_list_torrents_filters_by_category_with_children(
    admin: Browser, anonymous: Browser
) -> None:
    def category(name: str, **more: Any) -> str:
        reply = admin.post("/api/admin/categories", json={"name": name, **more})
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    movies = category("Movies")
    films_hd = category("HD", parentId=movies)
    books = category("Books")
    for name, chosen in (("M", movies), ("H", films_hd), ("B", books)):
        uploaded(admin, name, categoryId=chosen)
    uploaded(admin, "None")
    for wanted, found in (
        (movies, ["H", "M"]),
        ("movies", ["H", "M"]),
        ("movies-hd", ["H"]),
        (books.upper(), ["B"]),
        ("nothing", []),
    ):
        for word in ("category", "categoryId"):
            reply = anonymous.get("/api/torrents", params={word: wanted})
            assert names(reply) == found, wanted
            assert reply.json()["pagination"]["total"] == len(found)


def test_list_torrents_searches_names_whatever_their_spelling(
    mona: Browser, anonymous: Browser
) -> None:
    titles = [
        "Amélie.2001.1080p",
        "Björk - Homogenic",
        "Логан й",
        "჻★【 】100%_real",
        "東京物語",
        "AC/DC",
    ]
    for title in titles:
        uploaded(mona, title.replace("/", "-"), name=title)
    for asked, found in (
        ("amelie 1080P", [titles[0]]),
        ("AME\u0301LIE", [titles[0]]),
        ("bjork", [titles[1]]),
        ("логан", [titles[2]]),
        ("и", []),
        ("real", [titles[3]]),
        ("京物", [titles[4]]),
        ("ac/dc", [titles[5]]),
        ("1080p homogenic", []),
        ("%", []),
        ("'; DROP TABLE torrents; --", []),
    ):
        for word in ("q", "search"):
            reply = anonymous.get("/api/torrents", params={word: asked})
            assert names(reply) == found, asked
    info_hash = anonymous.get("/api/torrents?q=bjork").json()["data"][0]["infoHash"]
    assert names(anonymous.get(f"/api/torrents?q={info_hash.upper()}")) == [titles[1]]


def test_list_torrents_refuses_what_it_cannot_answer(admin: Browser, anonymous: Browser) -> None:
    cursor = "WyJyZWNlbnQiLDEsMSwxXQ"
    for query in (
        "limit=101",
        "limit=0",
        "page=0",
        "page=x",
        "page=6000&limit=20",
        "sort=beauty",
        "order=up",
        "after=junk",
        # A name of half a surrogate pair.
        f"after={write_cursor('name', 1, chr(0xD800), 1)}&sort=name",
        f"after={cursor}&sort=size",
        f"after={cursor}&order=asc",
        "q=" + "x" * 256,
    ):
        reply = anonymous.get(f"/api/torrents?{query}")
        assert reply.status_code == 400, (query, reply.text)
    assert anonymous.get(f"/api/torrents?after={cursor}").status_code == 200
    for harmless in ("q=%00", "category=%00", "category=%F0", "q=%ED%A0%80", "q=" + "%25" * 80):
        assert anonymous.get(f"/api/torrents?{harmless}").status_code == 200, harmless


def test_list_torrents_is_for_members_where_the_operator_closed_it(
    api: Api, mona: Browser, anonymous: Browser
) -> None:
    info_hash = uploaded(mona)["infoHash"]
    api.dispatch(ChangeSettings(changes={"catalogueVisibility": "members"}))
    assert anonymous.get("/api/torrents").status_code == 401
    assert anonymous.get(f"/api/torrents/{info_hash}").status_code == 401
    assert mona.get("/api/torrents").status_code == 200


def test_show_torrent_by_each_of_its_hashes(mona: Browser, anonymous: Browser) -> None:
    data = upload(mona, sample("hybrid-single")).json()["data"]
    v1, v2 = data["infoHash"], data["infoHashV2"]
    for known in (v1, v1.upper(), v2, v2[:40]):
        reply = anonymous.get(f"/api/torrents/{known}")
        assert reply.status_code == 200, known
        assert reply.json()["infoHash"] == v1
    other = v2[:63] + ("0" if v2[63] != "0" else "1")
    for unknown in (other, "0" * 40, "0" * 64, "abc", "g" * 40, "%00" * 40):
        assert anonymous.get(f"/api/torrents/{unknown}").status_code == 404, unknown


def test_show_torrent_hides_what_is_not_accepted(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    bob = member(api, "bob")
    for caller in (anonymous, bob):
        for path in ("", "/moderation/messages", "/download"):
            reply = caller.get(f"/api/torrents/{info_hash}{path}")
            assert reply.status_code == (401 if caller is anonymous and path else 404)
            if reply.status_code == 404:
                gone = caller.get(f"/api/torrents/{'0' * 40}{path}").json()
                assert reply.json() == {**gone, "url": reply.json()["url"]}
    for caller in (alice, mona):
        assert caller.get(f"/api/torrents/{info_hash}").status_code == 200


def test_download_torrent_carries_the_callers_own_key_for_this_torrent(
    api: Api, mona: Browser, alice: Browser, anonymous: Browser
) -> None:
    info_hash = accepted(mona, alice, "Shared")
    assert anonymous.get(f"/api/torrents/{info_hash}/download").status_code == 401
    reply = mona.get(f"/api/torrents/{info_hash}/download")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/x-bittorrent"
    file = decode(reply.content)
    assert info_hash_of(reply.content) == info_hash
    tiers = [[url.decode() for url in tier] for tier in file[b"announce-list"]]
    assert file[b"announce"].decode() == tiers[0][0]
    found = re.fullmatch(r"http://localhost:8080/announce/([0-9a-f]{32})", tiers[0][0])
    assert found is not None
    assert tiers[1:] == [[f"udp://localhost:6969/announce/{found[1]}"]]
    account = find_number(api, "mona")
    assert found[1] == make_passkey(
        api.log.keyring.active("passkeys").material,
        account,
        scope=PasskeyScope.TORRENT,
        epoch=1,
        torrent=1,
    )
    other = alice.get(f"/api/torrents/{info_hash}/download").content
    assert found[1].encode() not in other


def test_download_torrent_of_a_pending_one_is_for_its_uploader_and_staff(
    api: Api, mona: Browser, alice: Browser
) -> None:
    info_hash = uploaded(alice)["infoHash"]
    assert alice.get(f"/api/torrents/{info_hash}/download").status_code == 200
    assert mona.get(f"/api/torrents/{info_hash}/download").status_code == 200
    assert member(api, "bob").get(f"/api/torrents/{info_hash}/download").status_code == 404


def test_download_torrent_names_the_file_safely_and_exactly(mona: Browser) -> None:
    title = 'Björk "★" 100% \u202ereversed; filename=evil'
    info_hash = uploaded(mona, "Plain", name=title)["infoHash"]
    header = mona.get(f"/api/torrents/{info_hash}/download").headers["content-disposition"]
    assert header.isascii()
    found = re.fullmatch(
        r"attachment; filename=\"([\w.-]+)\"; filename\*=UTF-8''([\w.%~-]+)", header
    )
    assert found is not None, header
    assert unquote(found[2]) == f"{title}.torrent"


def test_content_disposition_cannot_be_ended_by_a_name() -> None:
    header = content_disposition('a\r\nX-Evil: 1\0"; filename=b' + "\ud800" + "★" * 300)
    assert "\r" not in header
    assert "\n" not in header
    assert header.isascii()
    assert len(unquote(header.rsplit("'", 1)[1]).encode()) <= 255


def test_a_reply_has_no_field_of_the_store() -> None:
    assert issubclass(TorrentReply, Reply)
    assert not {"file_ref", "nfo_ref", "content_signature"} & set(TorrentReply.model_fields)
