"""What the demo holds: members, categories, and torrents in each state of moderation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1, sha256
from typing import Literal

from bencodepy import encode

MIB = 1 << 20
PIECE = MIB
BLOCK = 1 << 14
"""The content of a torrent is one block of this many bytes over and over."""

ADMINISTRATOR = "admin"
MODERATOR = "mona"
MEMBERS = ("alice", "bruno", "chandra", "dmitri", "eleni")
"""Ordinary members; all names here are made up."""

CATEGORIES: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...] = (
    ("Movies", 2000, (("HD", 2040), ("UHD/4K", 2045))),
    ("TV", 5000, (("HD", 5040), ("Documentary", 5080))),
    ("Audio", 3000, (("Lossless", 3040),)),
    ("Books", 7000, (("Ebooks", 7020),)),
)
"""Name and newznab number of each category, and of those below it."""

Decision = Literal["approve", "request-changes", "reject"]


@dataclass(frozen=True)
class DemoTorrent:
    """One upload, what becomes of it, and who is in its swarm.

    `files` are paths and sizes in bytes. `decision` is the moderator's, None leaves it pending.
    `leechers` give the percent each has at the end; at 100 he completes and seeds, unless he is
    in `leaving`.
    """

    name: str
    category: str
    uploader: str
    description: str
    files: tuple[tuple[str, int], ...]
    tags: tuple[str, ...] = ()
    decision: Decision | None = "approve"
    message: str = ""
    answer: str = ""
    leechers: tuple[tuple[str, int], ...] = ()
    leaving: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(size for _path, size in self.files)


TORRENTS: tuple[DemoTorrent, ...] = (
    DemoTorrent(
        name="Night Train to Reykjavik (1962) 1080p",
        category="movies-hd",
        uploader="alice",
        description="A feature film nobody has made yet. Restored from the only negative.",
        files=(("Night.Train.to.Reykjavik.1962.1080p.mkv", 1_431_655_765),),
        tags=("drama", "restored"),
        leechers=(("bruno", 100), ("chandra", 100), ("dmitri", 40)),
    ),
    DemoTorrent(
        name="The Tide Tables, Season 1",
        category="tv-documentary",
        uploader="bruno",
        description="Six evenings with the keepers of small harbours.",
        files=tuple((f"The.Tide.Tables.S01E0{n}.mkv", 311_427_072 + n) for n in range(1, 7)),
        tags=("sea", "complete season"),
        message="Names and samples are in order, thank you.",
        leechers=(("alice", 100), ("eleni", 65)),
        leaving=("alice",),
    ),
    DemoTorrent(
        name="Quartet for Four Kettles [FLAC]",
        category="audio-lossless",
        uploader=MODERATOR,
        description="Kitchen music, recorded in one take. Uploads of staff need no approval.",
        files=tuple((f"0{n} Movement {n}.flac", 41_943_040 + 977 * n) for n in range(1, 5)),
        tags=("chamber",),
        decision=None,
        leechers=(("chandra", 100),),
    ),
    DemoTorrent(
        name="Field Guide to Imaginary Birds",
        category="books-ebooks",
        uploader="chandra",
        description="Two hundred plates, with their calls in notation.",
        files=(("Field Guide to Imaginary Birds.epub", 28_311_552),),
        tags=("nature",),
    ),
    DemoTorrent(
        name="The Last Lighthouse (2019) 2160p",
        category="movies-uhd-4k",
        uploader="dmitri",
        description="Waits in the queue: no moderator has looked at it.",
        files=(("The.Last.Lighthouse.2019.2160p.mkv", 4_294_967_296 + 12_345),),
        decision=None,
    ),
    DemoTorrent(
        name="Letters from the Lower Deck",
        category="books-ebooks",
        uploader="eleni",
        description="Waits in the queue as well.",
        files=(("Letters from the Lower Deck.epub", 3_145_728), ("cover.jpg", 524_288)),
        decision=None,
    ),
    DemoTorrent(
        name="Gardens of the North S02E03",
        category="tv-hd",
        uploader="eleni",
        description="One episode.",
        files=(("gardens203.mkv", 733_000_000),),
        decision="request-changes",
        message="The file needs season and episode in its name, and please say where it is from.",
        answer="It is from the broadcast of last Sunday; a renamed file is on its way.",
    ),
    DemoTorrent(
        name="Night Train to Reykjavik, filmed in a cinema",
        category="movies-hd",
        uploader="dmitri",
        description="A worse copy of a film the site has.",
        files=(("night-train-cam.avi", 734_003_200),),
        decision="reject",
        message="A recording off a screen, and we have the restored film.",
    ),
)


@lru_cache(maxsize=32)
def torrent_file(torrent: DemoTorrent) -> bytes:
    """The .torrent file (BEP 3), private (BEP 27), with the true piece hashes of its content."""
    info: dict[bytes, object] = {
        b"name": torrent.name.replace("/", "-").encode(),
        b"piece length": PIECE,
        b"pieces": _piece_hashes(torrent),
        b"private": 1,
    }
    if len(torrent.files) == 1:
        info[b"name"] = torrent.files[0][0].encode()
        info[b"length"] = torrent.size
    else:
        info[b"files"] = [
            {b"length": size, b"path": [path.encode()]} for path, size in torrent.files
        ]
    file: bytes = encode({b"info": info})
    return file


def _piece_hashes(torrent: DemoTorrent) -> bytes:
    whole, rest = divmod(torrent.size, PIECE)
    # Every piece begins at the start of a block, so all whole pieces are the same.
    piece = _block(torrent.name) * (PIECE // BLOCK)
    hashes = sha1(piece).digest() * whole  # noqa: S324 (BEP 3)
    return hashes + (sha1(piece[:rest]).digest() if rest else b"")  # noqa: S324


def _block(name: str) -> bytes:
    seed = sha256(name.encode()).digest()
    return seed * (BLOCK // len(seed))
