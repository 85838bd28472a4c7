"""The main job: a real client moves a real file, and the credit is what it says to the byte."""

from __future__ import annotations

import os
from pathlib import Path

import libtorrent as lt
import psycopg
import pytest

from ops.scheduling import NICENESS
from tests.e2e.conftest import Site
from tests.kit.remote import download, eventually
from tests.kit.torrent_client import TorrentClient
from tests.kit.torrent_maker import Kind, make_content, sha256

pytestmark = pytest.mark.timeout(180)
SIZE = 3_000_010


@pytest.mark.parametrize("kind", ["v1", "hybrid", "v2"])
@pytest.mark.parametrize("private", [True, False], ids=["private", "public"])
def test_a_transfer_is_credited_to_the_byte(
    site: Site, tmp_path: Path, kind: Kind, private: bool
) -> None:
    content = make_content(tmp_path / "seed", f"film-{kind}-{private}.bin", SIZE)
    info_hash = site.upload(content, kind=kind, private=private)
    before = site.figures(site.admin), site.figures(site.member)

    seeder, leecher = TorrentClient(tmp_path / "seed"), TorrentClient(tmp_path / "leech")
    seeder.add(download(site.admin, info_hash))
    seeder.wait(seeder.is_seeding, what="checking the seed")
    seeder.wait_for_reply()
    leecher.add(download(site.member, info_hash))
    leecher.wait(leecher.is_seeding, what="the transfer")
    eventually(lambda: site.live(info_hash), (2, 0))
    received, sent = leecher.stop(), seeder.stop()

    assert sha256(tmp_path / "leech" / content.name) == sha256(content)
    assert received[1] >= SIZE
    assert sent[0] >= SIZE
    eventually(lambda: site.gained(site.admin, before[0]), sent)
    eventually(lambda: site.gained(site.member, before[1]), received)
    eventually(lambda: site.live(info_hash), (0, 0))
    assert site.admin.get(f"/api/torrents/{info_hash}").json()["stats"]["completed"] == 1
    seeder.close()
    leecher.close()


def test_a_transfer_over_udp_alone_is_credited_to_the_byte(site: Site, tmp_path: Path) -> None:
    content = make_content(tmp_path / "seed", "film-udp.bin", SIZE)
    info_hash = site.upload(content)
    before = site.figures(site.admin), site.figures(site.member)

    seeder, leecher = TorrentClient(tmp_path / "seed"), TorrentClient(tmp_path / "leech")
    seeder.add(_udp_only(download(site.admin, info_hash)))
    seeder.wait(seeder.is_seeding, what="checking the seed")
    seeder.wait_for_reply()
    leecher.add(_udp_only(download(site.member, info_hash)))
    leecher.wait(leecher.is_seeding, what="the transfer")
    eventually(lambda: site.live(info_hash), (2, 0))
    received, sent = leecher.stop(), seeder.stop()

    assert sha256(tmp_path / "leech" / content.name) == sha256(content)
    assert sent[0] >= SIZE
    eventually(lambda: site.gained(site.admin, before[0]), sent)
    eventually(lambda: site.gained(site.member, before[1]), received)
    eventually(lambda: site.live(info_hash), (0, 0))
    assert site.admin.get("/api/stats/public").json()["protocols"]["udp"] is True
    seeder.close()
    leecher.close()


@pytest.mark.parametrize("hosts", [["[::1]"], ["127.0.0.1", "[::1]"]], ids=["ipv6", "both"])
@pytest.mark.parametrize("tier", [0, 1], ids=["http", "udp"])
def test_a_client_on_another_family_or_on_both_is_credited_once(
    site: Site, tmp_path: Path, hosts: list[str], tier: int
) -> None:
    content = make_content(tmp_path / "seed", f"film-{tier}-{len(hosts)}.bin", SIZE)
    info_hash = site.upload(content, kind="hybrid")
    before = site.figures(site.admin), site.figures(site.member)
    listen = ",".join(f"{host}:0" for host in hosts)
    seeder = TorrentClient(tmp_path / "seed", listen=listen)
    leecher = TorrentClient(tmp_path / "leech", listen=listen)
    seeder.add(_at_hosts(download(site.admin, info_hash), tier, hosts))
    seeder.wait(seeder.is_seeding, what="checking the seed")
    seeder.wait_for_reply()
    leecher.add(_at_hosts(download(site.member, info_hash), tier, hosts))
    leecher.wait(leecher.is_seeding, what="the transfer")
    # One client on two addresses and two hashes is one peer.
    eventually(lambda: site.live(info_hash), (2, 0))
    received, sent = leecher.stop(), seeder.stop()

    assert sha256(tmp_path / "leech" / content.name) == sha256(content)
    assert sent[0] >= SIZE
    eventually(lambda: site.gained(site.admin, before[0]), sent)
    eventually(lambda: site.gained(site.member, before[1]), received)
    eventually(lambda: site.live(info_hash), (0, 0))
    assert site.admin.get(f"/api/torrents/{info_hash}").json()["stats"]["completed"] == 1
    seeder.close()
    leecher.close()


def test_the_history_verifies_afterwards(site: Site) -> None:
    verified = site.installation.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _udp_only(torrent: bytes) -> bytes:
    """A downloaded file without its HTTP tier, which must come first."""
    decoded = lt.bdecode(torrent)
    http, udp = decoded[b"announce-list"]
    assert http[0].startswith(b"http://")
    assert udp[0].startswith(b"udp://")
    decoded[b"announce"] = udp[0]
    decoded[b"announce-list"] = [udp]
    return bytes(lt.bencode(decoded))


def _at_hosts(torrent: bytes, tier: int, hosts: list[str]) -> bytes:
    """A downloaded file with one tier only, its trackers reached under these hosts at once."""
    decoded = lt.bdecode(torrent)
    (url,) = decoded[b"announce-list"][tier]
    urls = [url.replace(b"localhost", host.encode()) for host in hosts]
    assert url not in urls
    decoded[b"announce"] = urls[0]
    decoded[b"announce-list"] = [urls]
    return bytes(lt.bencode(decoded))


def test_crediting_gives_way_to_answers(site: Site) -> None:
    state = site.installation.run_state
    with psycopg.connect(state["urls"]["owner_url"]) as conn:
        rows = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'trackarr credit'"
        ).fetchall()
        assert os.getpriority(os.PRIO_PROCESS, conn.info.backend_pid) < NICENESS
    assert [os.getpriority(os.PRIO_PROCESS, pid) for (pid,) in rows] == [NICENESS]
    worker = Path("/proc", str(state["pids"]["worker"]))
    threads = worker / "task"
    shares = [os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in threads.iterdir()]
    assert NICENESS in shares
    assert min(shares) < NICENESS
    group = worker / "autogroup"
    if group.exists():
        assert f"nice {NICENESS}" in group.read_text()
