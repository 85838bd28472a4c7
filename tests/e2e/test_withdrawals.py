"""A torrent taken out while clients are in its swarm: trackers refuse it within a second."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.e2e.conftest import Site
from tests.kit.remote import download, eventually
from tests.kit.stubborn_clients import Session, announce_over_http, announce_over_udp


def test_a_withdrawn_torrent_is_refused_within_a_second(site: Site, tmp_path: Path) -> None:
    content = tmp_path / "leaves.txt"
    content.write_bytes(b"grass" * 20_000)
    info_hash = site.upload(content)
    port = site.installation.tracker_port
    session = session_of(site, info_hash)

    def is_let_in() -> bool:
        return announce_over_http(port, session, (0, 0), "started", seconds=10) is not None

    eventually(is_let_in, wanted=True)
    reply = site.admin.delete(f"/api/torrents/{info_hash}")
    assert reply.status_code == 200, reply.text
    gone = time.monotonic()
    while is_let_in():
        assert time.monotonic() - gone < 1
        time.sleep(0.05)
    assert not announce_over_udp(port, session, (0, 0), "")
    assert site.member.get(f"/api/torrents/{info_hash}").status_code == 404
    assert site.upload(content) == info_hash
    assert not is_let_in()
    session = session_of(site, info_hash)
    eventually(is_let_in, wanted=True)


def session_of(site: Site, info_hash: str) -> Session:
    """The member's client, with the key in the file he downloads, which opens that upload only."""
    found = re.search(rb"/announce/([0-9a-f]{32})", download(site.member, info_hash))
    assert found is not None
    return Session(
        found[1].decode(), bytes.fromhex(info_hash), 1, by_udp=False, leeches=True, stops=False
    )
