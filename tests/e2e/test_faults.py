"""Processes are killed in the middle of a transfer; no acknowledged byte is lost or counted twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import psycopg
import pytest

from tests.e2e.conftest import Site
from tests.kit.remote import download, eventually, upload
from tests.kit.torrent_client import TorrentClient
from tests.kit.torrent_maker import make_content, make_torrent, sha256

pytestmark = pytest.mark.timeout(240)
SIZE = 4_000_037
UPLOAD_LIMIT = 1_200_000
"""Bytes per second: the transfer lasts long enough to be interrupted."""
CALM_ROUNDS = 3
KILLED = ["tracker", "worker", "api", "scheduler", "postgres", "valkey"]


@pytest.mark.parametrize("names", [[name] for name in KILLED] + [KILLED], ids="-".join)
def test_killed_in_the_middle_of_a_transfer(site: Site, tmp_path: Path, names: list[str]) -> None:
    content = make_content(tmp_path / "seed", f"film-{'-'.join(names)}.bin", SIZE)
    uploaded = upload(site.admin, make_torrent(content), name=content.stem, category=site.category)
    info_hash = uploaded["infoHash"]
    before = site.figures(site.admin), site.figures(site.member)
    seeder = TorrentClient(tmp_path / "seed", upload_limit=UPLOAD_LIMIT)
    leecher = TorrentClient(tmp_path / "leech")
    seeder.add(download(site.admin, info_hash))
    leecher.add(download(site.member, info_hash))
    seeder.wait_for_reply()
    leecher.wait(lambda: leecher.downloaded > SIZE // 4, what="a first part")

    both = (seeder, leecher)
    _announce(both)
    assert leecher.downloaded < SIZE
    pids = {name: site.installation.run_state["pids"][name] for name in names}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    leecher.wait(lambda: _announced(both) and leecher.is_seeding(), what="the rest", seconds=60)
    site.installation.wait_ready()
    _acknowledged(both)
    received, sent = leecher.stop(), seeder.stop()

    assert sha256(tmp_path / "leech" / content.name) == sha256(content)
    _revived(site, pids)
    eventually(lambda: site.gained(site.admin, before[0]), sent, seconds=40)
    eventually(lambda: site.gained(site.member, before[1]), received, seconds=40)
    answered = len(seeder.replies) + len(leecher.replies)
    assert answered > 4
    eventually(lambda: _recorded(site, info_hash) >= answered, wanted=True, seconds=40)
    seeder.close()
    leecher.close()


def test_redis_with_nothing_in_it_is_filled_again(site: Site, tmp_path: Path) -> None:
    """Without a hand's work: members keep their credit, and what comes next is credited too."""
    content = make_content(tmp_path / "seed", "film-emptied.bin", SIZE)
    uploaded = upload(site.admin, make_torrent(content), name=content.stem, category=site.category)
    info_hash = uploaded["infoHash"]
    before = site.figures(site.admin), site.figures(site.member)
    assert site.installation.stop() == 0
    shutil.rmtree(site.installation.folder / "valkey")
    site.installation.start()
    seeder, leecher = TorrentClient(tmp_path / "seed"), TorrentClient(tmp_path / "leech")
    seeder.add(download(site.admin, info_hash))
    leecher.add(download(site.member, info_hash))
    leecher.wait(lambda: _announced((seeder, leecher)) and leecher.is_seeding(), what="the film")
    # The worker numbers the new stream behind the old one, which starts the tracker anew:
    # clients say `stopped` but once, so not into that.
    eventually(lambda: _recorded(site, info_hash) > 0, wanted=True, seconds=40)
    _settled((seeder, leecher))
    received, sent = leecher.stop(), seeder.stop()
    assert received[1] >= SIZE
    eventually(lambda: site.gained(site.admin, before[0]), sent, seconds=40)
    eventually(lambda: site.gained(site.member, before[1]), received, seconds=40)
    answered = len(seeder.replies) + len(leecher.replies)
    eventually(lambda: _recorded(site, info_hash) >= answered, wanted=True, seconds=40)
    seeder.close()
    leecher.close()


def test_the_history_verifies_afterwards(site: Site) -> None:
    verified = site.installation.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _announce(clients: tuple[TorrentClient, ...]) -> None:
    for client in clients:
        client.announce()


def _announced(clients: tuple[TorrentClient, ...]) -> bool:
    _announce(clients)
    return True


def _acknowledged(clients: tuple[TorrentClient, ...]) -> None:
    """Announce until the tracker answers each client again."""
    for client in clients:
        known = len(client.replies)

        def answered(client: TorrentClient = client, known: int = known) -> bool:
            client.announce()
            return len(client.replies) > known

        client.wait(answered, what="an answer after the restart")


def _settled(clients: tuple[TorrentClient, ...]) -> None:
    """Announce until the tracker answered each client for some seconds without a refusal."""
    calm = 0
    while calm < CALM_ROUNDS:
        refused = sum(len(client.tracker_errors) for client in clients)
        _acknowledged(clients)
        time.sleep(1)
        now_refused = sum(len(client.tracker_errors) for client in clients)
        calm = calm + 1 if now_refused == refused else 0


def _revived(site: Site, killed: dict[str, int]) -> None:
    """Wait until the supervisor has new processes in the place of the killed ones."""

    def same() -> list[str]:
        pids = site.installation.run_state["pids"]
        return [name for name, pid in killed.items() if pids.get(name) in (None, pid)]

    eventually(same, [])


def _recorded(site: Site, info_hash: str) -> int:
    """Peer records of a torrent in the ledger."""
    with psycopg.connect(site.installation.run_state["urls"]["app_url"]) as conn:
        row = conn.execute(
            "SELECT count(*) FROM ledger.records r JOIN torrents_4.torrents t ON t.number = r.torrent"
            " WHERE t.info_hash = %s AND r.event <> 4",
            (info_hash,),
        ).fetchone()
    assert row is not None
    return int(row[0])
