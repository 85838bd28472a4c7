"""Contract of `GET /api/debug/:hash`: a torrent's row and its swarm, for moderators."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.errors import QueryCanceled

from interfaces.http import torrent_debug
from tests.kit.accounts import member
from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded
from tests.projections.ledger_kit import START, keep, spread_records
from tracker import wire

MINUTE = 60_000_000


def path_of(info_hash: str) -> str:
    return f"/api/debug/{info_hash}"


def number_of(api: Api, table: str, column: str, value: str) -> int:
    with psycopg.connect(api.app_url) as conn:
        row = conn.execute(f"SELECT number FROM {table} WHERE {column} = %s", [value]).fetchone()
    assert row is not None
    return int(row[0])


def swarm(api: Api, info_hash: str, *clients: dict[str, Any]) -> None:
    """Archive an announce for each, and let accounting know their members as in the swarm."""
    torrent = number_of(api, "torrents_4.torrents", "info_hash", info_hash)
    records = spread_records(len(clients), seed=3)
    records["torrent"] = torrent
    for place, client in enumerate(clients):
        for name, value in client.items():
            records[place][name] = value
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        keep(conn, records, [len(clients)])
        conn.execute(
            """
            INSERT INTO accounting_1.holdings
            SELECT account::bigint & 4294967295, torrent, 7, 8, 9, 10, 11, 0, min(at), max(at), 0, 0,
                   count(*) FILTER (WHERE lft = 0), count(*) FILTER (WHERE lft > 0)
            FROM ledger.records GROUP BY account, torrent
            """
        )


def client(account: int, minutes: int, peer: bytes, **more: Any) -> dict[str, Any]:
    return {
        "account": account,
        "at": START + minutes * MINUTE,
        "peer": peer,
        "tag": peer[:8],
        "event": wire.EVENT_NONE,
        "flags": 0,
        "family": 4,
        "protocol": wire.PROTOCOL_HTTP,
        **more,
    }


QB, TR = b"-qB4630-abcdefghijkl", b"-TR4050-abcdefghijkl"
ODD = bytes(range(240, 250)) + bytes(10)


def peers(browser: Browser, info_hash: str, **params: Any) -> list[dict[str, Any]]:
    reply = browser.get(path_of(info_hash), params=params)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["peers"]
    return found


def test_show_torrent_debug_is_for_moderators(
    api: Api, anonymous: Browser, alice: Browser, mona: Browser, admin: Browser
) -> None:
    info_hash = accepted(mona, alice)
    outcomes = [
        browser.get(path_of(info_hash)).status_code for browser in (anonymous, alice, mona, admin)
    ]
    assert outcomes == [401, 403, 200, 200]
    for missing in ("f" * 40, "nonsense", "%00"):
        assert mona.get(path_of(missing)).status_code == 404


def test_show_torrent_debug_tells_the_row(alice: Browser, mona: Browser) -> None:
    made = uploaded(alice)
    body = mona.get(path_of(made["infoHash"])).json()
    row = body["torrent"]
    assert (row["id"], row["infoHash"], row["uploader"]) == (made["id"], made["infoHash"], "alice")
    assert (row["moderationStatus"], row["fileCount"]) == ("pending", 1)
    assert len(row["contentSignature"]) == 64
    assert (body["peers"], body["nextCursor"]) == ([], None)
    assert set(body["swarm"].values()) == {0}


def test_show_torrent_debug_tells_who_announces_what(
    api: Api, alice: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, alice)
    account = number_of(api, "users_1.accounts", "username", "alice")
    last = client(account, 5, QB, up=100, down=50, left=0, port=51_413, event=wire.EVENT_COMPLETED)
    swarm(
        api,
        info_hash,
        client(account, 0, QB, up=1, down=2, left=9, event=wire.EVENT_STARTED),
        client(2**31 + 5, 2, ODD, left=2**62, flags=wire.FLAG_LATE, protocol=wire.PROTOCOL_UDP),
        last,
        client(account, 7, TR, left=0),
        client(account, 8, TR, left=0, event=wire.EVENT_STOPPED),
    )
    mine, other = peers(mona, info_hash)
    assert (mine["username"], mine["accountNumber"]) == ("alice", account)
    assert (mine["uploaded"], mine["rawDownloaded"], mine["seedSeconds"]) == (7, 10, 11)
    assert mine["firstAt"] == "2024-03-04T00:00:00.000Z"
    (seen,) = mine["clients"]
    assert (seen["peerId"], seen["client"], seen["event"]) == (QB.hex(), "-qB4630-", "completed")
    assert (seen["uploaded"], seen["downloaded"], seen["left"]) == (100, 50, 0)
    assert (seen["isSeeder"], seen["port"], seen["protocol"]) == (True, 51_413, "http")
    assert seen["announcedAt"] == "2024-03-04T00:05:00.000Z"
    assert (other["accountNumber"], other["username"], other["userId"]) == (2**31 + 5, None, None)
    (stranger,) = other["clients"]
    assert (stranger["client"], stranger["left"], stranger["isSeeder"]) == (None, None, False)
    assert (stranger["late"], stranger["protocol"]) == (True, "udp")
    assert len(stranger["addressHash"]) == 32


def test_show_torrent_debug_pages_by_member(api: Api, alice: Browser, mona: Browser) -> None:
    info_hash = accepted(mona, alice)
    swarm(api, info_hash, *(client(1_000 + n, n, QB, left=0) for n in range(5)))
    seen, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        body = mona.get(path_of(info_hash), params=params).json()
        seen += [(peer["accountNumber"], len(peer["clients"])) for peer in body["peers"]]
        cursor = body["nextCursor"]
        if cursor is None:
            break
    assert seen == [(1_000 + n, 1) for n in range(5)]
    for bad in ({"limit": 0}, {"limit": 101}, {"cursor": "x"}, {"cursor": "WyJhIl0"}):
        assert mona.get(path_of(info_hash), params=bad).status_code == 400


def test_show_torrent_debug_shows_sixteen_clients_of_a_member(
    api: Api, alice: Browser, mona: Browser
) -> None:
    info_hash = accepted(mona, alice)
    many = (client(77, n, b"-qB4630-%012d" % n, left=0) for n in range(20))
    swarm(api, info_hash, *many)
    (peer,) = peers(mona, info_hash)
    assert peer["seeding"] == 20
    newest = [bytes.fromhex(one["peerId"])[-2:].decode() for one in peer["clients"]]
    assert newest == [f"{n:02}" for n in range(19, 3, -1)]


def test_a_search_that_takes_too_long_is_said_plainly(
    api: Api, alice: Browser, mona: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    info_hash = accepted(mona, alice)

    def slow(*_: Any) -> None:
        raise QueryCanceled

    monkeypatch.setattr(torrent_debug, "list_swarm_clients", slow)
    reply = mona.get(path_of(info_hash))
    assert (reply.status_code, reply.json()["data"]["code"]) == (503, "swarm_too_busy")


def test_a_hidden_torrent_is_shown_to_moderators_alone(api: Api, mona: Browser) -> None:
    bob = member(api, "bob")
    info_hash = uploaded(bob)["infoHash"]
    # Its uploader is no moderator: the page is about other members.
    assert bob.get(path_of(info_hash)).status_code == 403
    assert mona.get(path_of(info_hash)).status_code == 200
