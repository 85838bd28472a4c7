"""One whole installation for each module of end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.kit.installation import Installation
from tests.kit.remote import RemoteBrowser, upload
from tests.kit.torrent_maker import Kind, make_torrent


@dataclass
class Site:
    """A founded site: its administrator and one member, both signed in."""

    installation: Installation
    admin: RemoteBrowser
    member: RemoteBrowser
    category: str

    def figures(self, browser: RemoteBrowser) -> tuple[int, int]:
        """Credited upload and download of a caller, bytes."""
        me: dict[str, Any] = browser.get("/api/me").json()
        return me["uploaded"], me["downloaded"]

    def gained(self, browser: RemoteBrowser, since: tuple[int, int]) -> tuple[int, int]:
        """What was credited to a caller since `figures` gave `since`, bytes."""
        uploaded, downloaded = self.figures(browser)
        return uploaded - since[0], downloaded - since[1]

    def live(self, info_hash: str) -> tuple[int, int]:
        """Seeders and leechers of a torrent as its page shows them."""
        stats = self.admin.get(f"/api/torrents/{info_hash}").json()["stats"]
        return stats["seeders"], stats["leechers"]

    def upload(self, content: Path, *, kind: Kind = "v1", private: bool = True) -> str:
        """Upload a .torrent of `content` as the administrator; its info hash."""
        uploaded = upload(
            self.admin,
            make_torrent(content, kind=kind, private=private),
            name=content.stem,
            category=self.category,
        )
        return str(uploaded["infoHash"])


@contextmanager
def found_site(installation: Installation) -> Iterator[Site]:
    """Register the first two accounts, and make a category."""
    admin, member = RemoteBrowser(installation.url), RemoteBrowser(installation.url)
    assert admin.register("root").status_code == 200
    opened = admin.put("/api/admin/settings", json={"registrationOpen": True})
    assert opened.status_code == 200, opened.text
    assert member.register("alice").status_code == 200
    made = admin.post("/api/admin/categories", json={"name": "Films", "newznabId": 2000})
    assert made.status_code in {200, 201}, made.text
    category = admin.get("/api/categories").json()[0]["id"]
    yield Site(installation, admin, member, category)
    admin.close()
    member.close()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder PostgreSQL's unprivileged user may pass through when the tests run as root."""
    with TemporaryDirectory(prefix="trackarr-e2e-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_folder() as folder:
        installation = Installation(folder / "data").start()
        try:
            with found_site(installation) as founded:
                yield founded
        finally:
            assert installation.stop() == 0, installation.log[-4000:]
