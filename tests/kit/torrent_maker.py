"""Real .torrent files for content made on the spot."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import libtorrent as lt

Kind = Literal["v1", "v2", "hybrid"]
_FLAGS = {
    "v1": lt.create_torrent.v1_only,
    "v2": lt.create_torrent.v2_only,
    "hybrid": 0,
}


def make_content(folder: Path, name: str, size: int) -> Path:
    """Write `size` random bytes to `folder/name`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(os.urandom(size))
    return path


def make_torrent(path: Path, *, kind: Kind = "v1", private: bool = True) -> bytes:
    """A .torrent for the file or folder at `path`, without any tracker in it."""
    torrent = lt.create_torrent(lt.list_files(str(path)), 65536, _FLAGS[kind])
    torrent.set_priv(private)
    lt.set_piece_hashes(torrent, str(path.parent))
    return bytes(lt.bencode(torrent.generate()))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
