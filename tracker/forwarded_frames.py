"""What shards of one host say to each other: announces and scrapes one way, answers the other.

Every frame starts with its size (4 bytes, itself included) and a number that ties an answer to
its question; all integers are little-endian. The format lives as long as one layout's processes
run beside each other, so a changed one needs another socket name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from tracker.protocol.announce import AnnounceRequest
from tracker.protocol.refusals import Refusal

FRAME_LIMIT: Final = 1 << 20
"""No honest frame is longer, in bytes."""
_HEAD: Final = struct.Struct("<IIB")
_ANNOUNCE: Final = struct.Struct("<20s20sHQQQBiBBB4sHH")
_SCRAPE: Final = struct.Struct("<BBH")
_REFUSED: Final = struct.Struct("<BB")
_HASH: Final = 20

KIND_ANNOUNCE: Final = 1
KIND_SCRAPE: Final = 2
KIND_ANSWERED: Final = 3
KIND_REFUSED: Final = 4
KIND_METRICS: Final = 5
"""Asks for a shard's metrics; it has no body."""

_COMPACT: Final = 1
_NO_PEER_ID: Final = 2


class BrokenFrame(Exception):
    """Bytes that no shard of this version sends."""


class ForwardedAnnounce(NamedTuple):
    """An announce as another shard took it: the client's own address, and what proves its right.

    `transaction_id` is UDP's, four bytes to be given back.
    """

    request: AnnounceRequest
    passkey: bytes
    address: bytes
    protocol: int
    transaction_id: bytes = bytes(4)


class ForwardedScrape(NamedTuple):
    """A scrape of hashes that all belong to the shard asked."""

    hashes: list[bytes]
    passkey: bytes
    address: bytes
    protocol: int


def pack_frame(kind: int, number: int, body: bytes) -> bytes:
    """One frame of any kind."""
    return _HEAD.pack(_HEAD.size + len(body), number, kind) + body


def split_frames(buffer: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """Take the whole frames off the front: kind, number and body of each. Raises BrokenFrame."""
    at, end = 0, len(buffer)
    while end - at >= _HEAD.size:
        size, number, kind = _HEAD.unpack_from(buffer, at)
        if not _HEAD.size <= size <= FRAME_LIMIT:
            raise BrokenFrame("a frame of an impossible size")
        if end - at < size:
            break
        yield kind, number, bytes(buffer[at + _HEAD.size : at + size])
        at += size
    del buffer[:at]


def pack_announce(forwarded: ForwardedAnnounce) -> bytes:
    """The body of a KIND_ANNOUNCE frame."""
    request, passkey, address, protocol, transaction_id = forwarded
    flags = _COMPACT * request.compact | _NO_PEER_ID * request.no_peer_id
    return (
        _ANNOUNCE.pack(
            request.info_hash,
            request.peer_id,
            request.port,
            request.uploaded,
            request.downloaded,
            request.left,
            request.event,
            request.numwant,
            flags,
            protocol,
            len(address),
            transaction_id,
            len(request.key),
            len(passkey),
        )
        + address
        + request.key
        + passkey
    )


def unpack_announce(body: bytes) -> ForwardedAnnounce:
    """The announce of a KIND_ANNOUNCE frame. Raises BrokenFrame."""
    try:
        fields = _ANNOUNCE.unpack_from(body)
    except struct.error:
        raise BrokenFrame("an announce that is too short") from None
    info_hash, peer_id, port, uploaded, downloaded, left, event, numwant = fields[:8]
    flags, protocol, address_size, transaction_id, key_size, passkey_size = fields[8:]
    key_at = _ANNOUNCE.size + address_size
    passkey_at = key_at + key_size
    if len(body) != passkey_at + passkey_size:
        raise BrokenFrame("an announce of another length")
    passkey = body[passkey_at:]
    request = AnnounceRequest(
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        left,
        event,
        numwant,
        body[key_at:passkey_at],
        bool(flags & _COMPACT),
        bool(flags & _NO_PEER_ID),
        passkey,
    )
    return ForwardedAnnounce(
        request, passkey, body[_ANNOUNCE.size : key_at], protocol, transaction_id
    )


def pack_scrape(forwarded: ForwardedScrape) -> bytes:
    """The body of a KIND_SCRAPE frame."""
    hashes, passkey, address, protocol = forwarded
    head = _SCRAPE.pack(protocol, len(address), len(passkey))
    return b"".join((head, address, passkey, *hashes))


def unpack_scrape(body: bytes) -> ForwardedScrape:
    """The scrape of a KIND_SCRAPE frame. Raises BrokenFrame."""
    try:
        protocol, address_size, passkey_size = _SCRAPE.unpack_from(body)
    except struct.error:
        raise BrokenFrame("a scrape that is too short") from None
    passkey_at = _SCRAPE.size + address_size
    hashes_at = passkey_at + passkey_size
    if len(body) < hashes_at or (len(body) - hashes_at) % _HASH:
        raise BrokenFrame("a scrape of another length")
    hashes = [body[at : at + _HASH] for at in range(hashes_at, len(body), _HASH)]
    return ForwardedScrape(
        hashes, body[passkey_at:hashes_at], body[_SCRAPE.size : passkey_at], protocol
    )


def pack_refusal(refusal: Refusal) -> bytes:
    """The body of a KIND_REFUSED frame."""
    code = refusal.code.encode("ascii")
    return _REFUSED.pack(refusal.retry_minutes, len(code)) + code + refusal.text.encode("utf-8")


def unpack_refusal(body: bytes) -> Refusal:
    """The refusal of a KIND_REFUSED frame. Raises BrokenFrame."""
    try:
        minutes, size = _REFUSED.unpack_from(body)
        code = body[_REFUSED.size : _REFUSED.size + size].decode("ascii")
        return Refusal(code, body[_REFUSED.size + size :].decode("utf-8"), minutes)
    except (struct.error, UnicodeDecodeError):
        raise BrokenFrame("a refusal that cannot be read") from None
