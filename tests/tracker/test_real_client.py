"""libtorrent against the tracker: a hybrid torrent from every address is one peer."""

from __future__ import annotations

import socket
from pathlib import Path

import libtorrent as lt

from tests.kit.torrent_client import TorrentClient
from tests.kit.torrent_maker import make_content, make_torrent
from tests.tracker.running_tracker import Feed, account, eventually, general_key, running_tracker
from tracker import wire


def test_hybrid_torrent_is_one_peer(redis_url: str, tmp_path: Path) -> None:
    content = make_content(tmp_path / "seed", "content.bin", 200_000)
    torrent = make_torrent(content, kind="hybrid")
    hashes = lt.torrent_info(torrent).info_hashes()
    feed = Feed(redis_url)
    entry = wire.TorrentEntry(
        7, 1, hashes.v1.to_bytes(), hashes.v2.to_bytes()[:20], wire.TORRENT_ACCEPTED
    )
    feed.publish([account(1)], [entry])
    # The client announces on each family the tracker's name has an address of.
    families = {
        4 if found[0] == socket.AF_INET else 6 for found in socket.getaddrinfo("localhost", 1)
    }
    with running_tracker(redis_url) as tracker:
        decoded = lt.bdecode(torrent)
        url = f"http://localhost:{tracker.port}/announce/{general_key(1)}"
        decoded[b"announce"] = url.encode()
        client = TorrentClient(tmp_path / "seed", listen="127.0.0.1:0,[::1]:0")
        client.add(lt.bencode(decoded))
        # A client that has not read the answer to `started` never says `stopped`.
        client.wait_for_reply(more_than=2 * len(families) - 1)
        assert sum(r.event == wire.EVENT_STARTED for r in feed.records()) >= 2 * len(families)
        client.stop()
        eventually(
            lambda: any(r.event == wire.EVENT_STOPPED for r in feed.records()),
            "libtorrent did not say that it stops",
            seconds=30,
        )
        client.close()
        # A family that the name has no address of is "unreachable", and was never asked.
        assert [text for text in client.tracker_errors if "unreachable" not in text] == []
        assert tracker.service.counters.replaced == 0
    records = feed.records()
    assert {(r.torrent, r.account, r.tag[:3]) for r in records} == {(7, 1, b"-LT")}
    assert len({(r.peer, r.key) for r in records}) == 1
    assert {r.family for r in records} == families
    assert all(r.left == 0 for r in records if r.event == wire.EVENT_STARTED)
