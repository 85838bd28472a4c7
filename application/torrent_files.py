"""The .torrent file a member downloads: the stored one with his own announce addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bencodepy import Bencached, encode

from domain.metainfo import stored_values


def personal_torrent(stored: bytes, tiers: Sequence[Sequence[str]]) -> bytes:
    """The stored file with announce addresses around the raw bytes of its `info`.

    `tiers` are those of `announce-list` (BEP 12), the first address of the first also becomes
    `announce`. HTTP comes first: only libtorrent-based clients send a key over UDP. `info` and
    `piece layers` are passed through as bytes, so the info hash cannot change.
    """
    outer = {key: Bencached(value) for key, value in stored_values(stored).items()}
    addresses = [[url.encode() for url in tier] for tier in tiers]
    file: bytes = encode({**outer, b"announce": addresses[0][0], b"announce-list": addresses})
    return file


def torrent_file_name(name: str) -> str:
    """A name for the download that every file system and header takes."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) + ".torrent"
