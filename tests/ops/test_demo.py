"""The demo's content is real, its swarm adds up, and it fills nothing but a running new site."""

from __future__ import annotations

from hashlib import sha1, sha256
from pathlib import Path

import libtorrent as lt
import pytest
from bencodepy import decode

from ops import cli
from ops.demo import local_host
from ops.demo_content import BLOCK, CATEGORIES, PIECE, TORRENTS, DemoTorrent, torrent_file
from ops.demo_swarm import Announcer, Peer, run_swarm, totals

SMALL = DemoTorrent(
    name="Small",
    category="books",
    uploader="ann",
    description="",
    files=(("a", PIECE + 5), ("b", 3)),
    leechers=(("bob", 100), ("cid", 33)),
    leaving=("bob",),
)


class Overheard(Announcer):
    """Writes announces down where the real one sends them."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int, int, int]] = []

    def announce(self, peer: Peer, event: str = "") -> None:
        self.heard.append((peer.member, event, peer.uploaded, peer.downloaded, peer.left))


def peer(member: str, torrent: DemoTorrent = SMALL) -> Peer:
    return Peer(member, torrent, "0" * 32, b"\x01" * 20, 51413)


@pytest.mark.parametrize("torrent", TORRENTS, ids=lambda torrent: torrent.name)
def test_every_file_is_a_torrent_a_client_takes(torrent: DemoTorrent) -> None:
    content = torrent_file(torrent)
    read = lt.torrent_info(lt.bdecode(content))
    assert read.is_valid()
    assert read.priv()
    assert read.total_size() == torrent.size
    assert read.num_files() == len(torrent.files)
    assert content == torrent_file.__wrapped__(torrent)


def test_piece_hashes_are_those_of_the_described_content() -> None:
    pieces = decode(torrent_file(SMALL))[b"info"][b"pieces"]
    block = sha256(b"Small").digest() * (BLOCK // 32)
    content = (block * (2 * PIECE // BLOCK))[: SMALL.size]
    wanted = sha1(content[:PIECE]).digest() + sha1(content[PIECE:]).digest()
    assert pieces == wanted


def test_categories_of_the_torrents_exist() -> None:
    slugs = {name.lower() for name, _number, _below in CATEGORIES}
    assert {torrent.category.split("-")[0] for torrent in TORRENTS} <= slugs
    assert {torrent.decision for torrent in TORRENTS} == {
        None,
        "approve",
        "request-changes",
        "reject",
    }


def test_what_one_gets_the_other_gave() -> None:
    seeder, bob, cid = peer("ann"), peer("bob"), peer("cid")
    heard = Overheard()
    run_swarm(heard, seeder, [bob, cid])
    size = SMALL.size
    assert (bob.downloaded, bob.left) == (size, 0)
    assert cid.downloaded == size * 33 // 100
    assert seeder.uploaded == bob.downloaded + cid.downloaded
    assert list(totals([seeder, bob, cid])) == [
        ("ann", seeder.uploaded, 0),
        ("bob", 0, size),
        ("cid", 0, cid.downloaded),
    ]


def test_clients_start_complete_once_and_leave() -> None:
    heard = Overheard()
    run_swarm(heard, peer("ann"), [peer("bob"), peer("cid")])
    events = [(member, event) for member, event, *_ in heard.heard if event]
    assert events == [
        ("ann", "started"),
        ("bob", "started"),
        ("cid", "started"),
        ("bob", "completed"),
        ("bob", "stopped"),
    ]
    for member in ("ann", "bob", "cid"):
        moved = [up + down for who, _event, up, down, _left in heard.heard if who == member]
        assert moved == sorted(moved)
        assert moved[0] == 0


@pytest.mark.parametrize(
    ("bind", "host"),
    [
        (("127.0.0.1", "::1"), "127.0.0.1"),
        (("0.0.0.0",), "127.0.0.1"),
        (("::",), "[::1]"),
        (("192.0.2.7",), "192.0.2.7"),
        (("2001:db8::7",), "[2001:db8::7]"),
        (("192.0.2.7", "127.0.0.1"), "127.0.0.1"),
    ],
)
def test_listeners_are_reached_from_this_machine(bind: tuple[str, ...], host: str) -> None:
    assert local_host(bind) == host


def test_nothing_is_filled_where_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKARR_DATA_DIR", str(tmp_path / "data"))
    assert cli.run(["demo"]) == 1
    assert "Trackarr does not run on this data folder" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["demo", "--help"]) == 0
    assert "members, torrents and a swarm" in capsys.readouterr().out
