"""Clients of other makers move a real file through the site; credit is what each of them says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Site
from tests.kit.other_clients import Aria2, OtherClient, QBittorrent, RTorrent, Transmission
from tests.kit.programs import until
from tests.kit.remote import download, eventually
from tests.kit.torrent_client import TorrentClient
from tests.kit.torrent_maker import make_content, sha256

pytestmark = pytest.mark.timeout(180)
SIZE = 3_000_010
CLIENTS = pytest.mark.parametrize(
    "make", [Transmission, Aria2, QBittorrent, RTorrent], ids=lambda made: made.__name__.lower()
)


@CLIENTS
def test_it_seeds_to_libtorrent(
    site: Site, tmp_path: Path, make: Callable[[Path, Path], OtherClient]
) -> None:
    other = make(tmp_path / "seed", tmp_path / "state")
    content = make_content(tmp_path / "seed", f"seeded-by-{make.__name__}.bin", SIZE)
    info_hash = site.upload(content)
    before = site.figures(site.admin), site.figures(site.member)
    other.add(download(site.admin, info_hash))
    until(other.has_all, what="checking the seed")
    eventually(lambda: site.live(info_hash), (1, 0))
    leecher = TorrentClient(tmp_path / "leech")
    leecher.add(download(site.member, info_hash))
    leecher.wait(leecher.is_seeding, what="the transfer")
    eventually(lambda: site.live(info_hash), (2, 0))
    received, sent = leecher.stop(), other.stop()

    assert sha256(tmp_path / "leech" / content.name) == sha256(content)
    assert sent[0] >= SIZE
    eventually(lambda: site.gained(site.admin, before[0]), (sent[0], 0))
    eventually(lambda: site.gained(site.member, before[1]), received)
    eventually(lambda: site.live(info_hash), (0, 0))
    leecher.close()
    other.close()


@CLIENTS
def test_it_leeches_from_libtorrent(
    site: Site, tmp_path: Path, make: Callable[[Path, Path], OtherClient]
) -> None:
    other = make(tmp_path / "leech", tmp_path / "state")
    content = make_content(tmp_path / "seed", f"leeched-by-{make.__name__}.bin", SIZE)
    info_hash = site.upload(content)
    before = site.figures(site.admin), site.figures(site.member)
    seeder = TorrentClient(tmp_path / "seed")
    seeder.add(download(site.admin, info_hash))
    seeder.wait(seeder.is_seeding, what="checking the seed")
    seeder.wait_for_reply()
    other.add(download(site.member, info_hash))
    until(other.announced, what="its first announce")
    # Transmission dials no loopback address: the seeder finds it by announcing once more.
    seeder.announce()
    until(other.has_all, what="the transfer")
    eventually(lambda: site.live(info_hash), (2, 0) if other.tells_completion else (1, 1))
    received, sent = other.stop(), seeder.stop()

    assert sha256(tmp_path / "leech" / content.name) == sha256(content)
    assert received[1] >= SIZE
    eventually(lambda: site.gained(site.admin, before[0]), sent)
    eventually(lambda: site.gained(site.member, before[1]), received)
    eventually(lambda: site.live(info_hash), (0, 0))
    snatched = site.admin.get(f"/api/torrents/{info_hash}").json()["stats"]["completed"]
    # A snatch is what an announce says before `stopped`, which only ends a session.
    assert snatched == int(other.tells_completion)
    seeder.close()
    other.close()
