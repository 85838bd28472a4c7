"""Announce queries as real clients send them: order, spelling and extras of each, as measured."""

from __future__ import annotations

from dataclasses import dataclass

from tracker import wire

HASH = bytes.fromhex("00207e2a285b25ff0a3d2b9f26c3e4d15f7a8b9c")


@dataclass(frozen=True)
class ClientAnnounce:
    """A query and what it means."""

    client: str
    query: bytes
    peer_id: bytes
    port: int
    uploaded: int
    downloaded: int
    left: int
    event: int
    numwant: int
    key: bytes


# libtorrent leaves ( ) ! * ~ as they are and writes lower-case hex.
_LIBTORRENT_HASH = b"%00%20~*(%5b%25%ff%0a%3d%2b%9f%26%c3%e4%d1_z%8b%9c"
_UPPER_HASH = b"%00%20~%2A%28%5B%25%FF%0A%3D%2B%9F%26%C3%E4%D1_z%8B%9C"

ANNOUNCES = (
    ClientAnnounce(
        "libtorrent 2.1",
        b"info_hash=" + _LIBTORRENT_HASH + b"&peer_id=-LT2110-x!(a*~)bcdef&port=6891&uploaded=0"
        b"&downloaded=0&left=4194304&corrupt=0&key=0A1B2C3D&event=started&numwant=200&compact=1"
        b"&no_peer_id=1&supportcrypto=1&redundant=0",
        b"-LT2110-x!(a*~)bcdef",
        6891,
        0,
        0,
        4194304,
        wire.EVENT_STARTED,
        200,
        b"0A1B2C3D",
    ),
    ClientAnnounce(
        "qBittorrent 4.5.2, stop",
        b"info_hash=" + _LIBTORRENT_HASH + b"&peer_id=-qB4520-0123456789ab&port=6892"
        b"&uploaded=4194304&downloaded=0&left=0&corrupt=0&key=DEADBEEF&event=stopped&numwant=0"
        b"&compact=1&no_peer_id=1&supportcrypto=1&redundant=0",
        b"-qB4520-0123456789ab",
        6892,
        4194304,
        0,
        0,
        wire.EVENT_STOPPED,
        0,
        b"DEADBEEF",
    ),
    ClientAnnounce(
        "Transmission 3.00, regular",
        b"info_hash=" + _LIBTORRENT_HASH + b"&peer_id=-TR3000-abcdef012345&port=51413"
        b"&uploaded=4197632&downloaded=0&left=0&numwant=80&key=1f2e3d&compact=1&supportcrypto=1",
        b"-TR3000-abcdef012345",
        51413,
        4197632,
        0,
        0,
        wire.EVENT_NONE,
        80,
        b"1f2e3d",
    ),
    ClientAnnounce(
        "rTorrent 0.9.8",
        b"info_hash=" + _UPPER_HASH + b"&peer_id=-lt0D80-%FF%00%1B%7F%80abcdefg&key=4c1d2e3f"
        b"&compact=1&port=6900&uploaded=0&downloaded=0&left=1&event=started",
        b"-lt0D80-\xff\x00\x1b\x7f\x80abcdefg",
        6900,
        0,
        0,
        1,
        wire.EVENT_STARTED,
        -1,
        b"4c1d2e3f",
    ),
    ClientAnnounce(
        "aria2 1.36, completed",
        b"info_hash=" + _UPPER_HASH + b"&peer_id=A2-1-36-0-%00%FFabcdefgh&uploaded=0"
        b"&downloaded=4194304&left=0&compact=1&key=%01%02%FF%26%3D%25%00%41&numwant=50"
        b"&no_peer_id=1&port=6911&event=completed&supportcrypto=1",
        b"A2-1-36-0-\x00\xffabcdefgh",
        6911,
        0,
        4194304,
        0,
        wire.EVENT_COMPLETED,
        50,
        b"\x01\x02\xff&=%\x00A",
    ),
    ClientAnnounce(
        "webtorrent 2.8.5",
        b"left=16384&numwant=50&uploaded=0&downloaded=0&event=stopped&compact=1&info_hash="
        + _LIBTORRENT_HASH
        + b"&peer_id=-WW0208-%01abcdefghijk&port=7001",
        b"-WW0208-\x01abcdefghijk",
        7001,
        0,
        0,
        16384,
        wire.EVENT_STOPPED,
        50,
        b"",
    ),
)
