"""Two tracker shards under `trackarr up`: transfers, a killed shard, a rolling restart, layouts."""

from __future__ import annotations

import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote_from_bytes

import bencodepy
import libtorrent as lt
import pytest

from tests.e2e.conftest import Site, found_site, open_folder
from tests.kit.installation import Installation
from tests.kit.remote import download, eventually, upload
from tests.kit.torrent_client import TorrentClient
from tests.kit.torrent_maker import Kind, make_content, make_torrent, sha256
from tracker.shard_map import owner_of

pytestmark = pytest.mark.timeout(240)
SIZE = 1_500_007
SHARDS = 2


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_folder() as folder:
        installation = Installation(
            folder / "data",
            TRACKARR_TRACKER_SHARDS=str(SHARDS),
            TRACKARR_TRACKER_ANNOUNCES_PER_MINUTE="0",
        ).start()
        try:
            with found_site(installation) as founded:
                yield founded
        finally:
            assert installation.stop() == 0, installation.log[-4000:]


def upload_for(
    site: Site, folder: Path, shard: int, *, kind: Kind = "v1", name: str = "film"
) -> tuple[Path, str, bytes]:
    """Content whose torrent belongs to this shard of two; with its page's and its own hash."""
    for number in range(64):
        content = make_content(folder, f"{name}-{kind}-{shard}-{number}.bin", SIZE)
        torrent = make_torrent(content, kind=kind)
        canonical: bytes = lt.load_torrent_buffer(torrent).info_hashes.v1.to_bytes()
        if owner_of(canonical, SHARDS) == shard:
            uploaded = upload(site.admin, torrent, name=content.stem, category=site.category)
            return content, str(uploaded["infoHash"]), canonical
        content.unlink()
    raise AssertionError("64 hashes of the same shard")


@pytest.mark.parametrize(
    ("kind", "shard", "tier"),
    [("v1", 0, 0), ("hybrid", 1, 0), ("v1", 1, 1), ("hybrid", 0, 1)],
    ids=["v1-http", "hybrid-http", "v1-udp", "hybrid-udp"],
)
def test_a_transfer_is_credited_whichever_shard_has_it(
    site: Site, tmp_path: Path, kind: Kind, shard: int, tier: int
) -> None:
    seed, leech = tmp_path / "seed", tmp_path / "leech"
    content, page, _ = upload_for(site, seed, shard, kind=kind, name=f"film-{tier}")
    before = site.figures(site.admin), site.figures(site.member)
    seeder, leecher = TorrentClient(seed), TorrentClient(leech)
    seeder.add(one_tier(download(site.admin, page), tier))
    seeder.wait(seeder.is_seeding, what="checking the seed")
    seeder.wait_for_reply()
    leecher.add(one_tier(download(site.member, page), tier))
    leecher.wait(leecher.is_seeding, what="the transfer")
    received, sent = leecher.stop(), seeder.stop()
    assert sha256(leech / content.name) == sha256(content)
    eventually(lambda: gained(site.figures(site.admin), before[0]), sent)
    eventually(lambda: gained(site.figures(site.member), before[1]), received)
    seeder.close()
    leecher.close()


def one_tier(torrent: bytes, tier: int) -> bytes:
    """The torrent with its HTTP (0) or its UDP (1) tracker alone."""
    decoded = bencodepy.Bencode().decode(torrent)
    decoded[b"announce-list"] = [decoded[b"announce-list"][tier]]
    decoded[b"announce"] = decoded[b"announce-list"][0][0]
    return bytes(bencodepy.Bencode().encode(decoded))


def gained(now: tuple[int, int], before: tuple[int, int]) -> tuple[int, int]:
    return now[0] - before[0], now[1] - before[1]


class Announcer:
    """A member's client that announces one torrent, without a second try."""

    def __init__(self, torrent: bytes, info_hash: bytes) -> None:
        decoded = bencodepy.Bencode().decode(torrent)
        self.url = decoded[b"announce"].decode()
        self.info_hash = info_hash
        self.answered = 0
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def announce(self, uploaded: int, *, event: str = "") -> None:
        query = (
            f"?info_hash={quote_from_bytes(self.info_hash)}&peer_id=-XX0100-abcdefghijkl&port=5001"
            f"&uploaded={uploaded}&downloaded=0&left=0&compact=1&event={event}"
        )
        with urllib.request.urlopen(self.url + query, timeout=20) as reply:
            body = reply.read()
        if b"failure reason" in body:
            raise AssertionError(body)

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            try:
                # Nothing to credit: the other tests count bytes.
                self.announce(0)
            except (OSError, AssertionError) as fault:
                self.faults.append(repr(fault))
            else:
                self.answered += 1

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Announce all the time while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(30)


def test_a_rolling_restart_refuses_and_drops_nothing(site: Site, tmp_path: Path) -> None:
    announcers = []
    for shard in range(SHARDS):
        _, page, info_hash = upload_for(site, tmp_path, shard, name="rolling")
        announcers.append(Announcer(download(site.admin, page), info_hash))
    before = site.installation.run_state["pids"]
    with announcers[0].steady(), announcers[1].steady():
        done = site.installation.command("restart")
        assert done.returncode == 0, done.stdout + done.stderr
        counts = [announcer.answered for announcer in announcers]
        eventually(
            lambda: all(a.answered > n for a, n in zip(announcers, counts, strict=True)),
            wanted=True,
        )
    assert [announcer.faults for announcer in announcers] == [[], []]
    after = site.installation.run_state["pids"]
    names = {"api", "tracker", "tracker-2", "scheduler", "worker"}
    assert {name for name in after if after[name] != before[name]} == names
    assert {line.split()[0] for line in done.stdout.splitlines()} == names


def test_a_killed_shard_refuses_no_connection_and_the_others_answer(
    site: Site, tmp_path: Path
) -> None:
    announcers = []
    for shard in range(SHARDS):
        _, page, info_hash = upload_for(site, tmp_path, shard, name="killed")
        announcers.append(Announcer(download(site.admin, page), info_hash))
    with announcers[0].steady(), announcers[1].steady():
        pid = site.installation.run_state["pids"]["tracker-2"]
        os.kill(pid, signal.SIGKILL)
        eventually(
            lambda: site.installation.run_state["pids"].get("tracker-2") not in {pid, None},
            wanted=True,
        )
        counts = [announcer.answered for announcer in announcers]
        eventually(
            lambda: all(a.answered > n + 5 for a, n in zip(announcers, counts, strict=True)),
            wanted=True,
        )
    faults = [fault for announcer in announcers for fault in announcer.faults]
    # What the killed process had in its hands is cut or told to come again; nothing is refused.
    assert not [fault for fault in faults if "refused" in fault], faults
    assert len(faults) <= 4, faults


def test_totals_go_on_growing_over_a_change_of_layout(site: Site, tmp_path: Path) -> None:
    """Two shards, one, two: from each torrent's first total to its last, exactly."""
    announcers = []
    for shard in (0, 1):
        _, page, info_hash = upload_for(site, tmp_path, shard, name="layout")
        announcers.append(Announcer(download(site.member, page), info_hash))
    before = site.figures(site.member)
    for announcer in announcers:
        announcer.announce(1_000, event="started")
    for shards, total in (("1", 3_000), ("2", 7_000)):
        assert site.installation.stop() == 0
        site.installation.environment["TRACKARR_TRACKER_SHARDS"] = shards
        site.installation.start()
        for announcer in announcers:
            announcer.announce(total)
    for announcer in announcers:
        announcer.announce(8_500, event="stopped")
    eventually(lambda: gained(site.figures(site.member), before), (2 * 7_500, 0))


def test_the_history_verifies_afterwards(site: Site) -> None:
    done = site.installation.command("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
