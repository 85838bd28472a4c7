"""The peer-event record as it goes to the stream: the one tracker module others may import.

A stream entry has two fields: `v` = b"1" and `b` = one or more records back to back.
Records are 96 bytes, little-endian, in the field order below; the format is for ever,
another layout gets another `v`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

VERSION: Final = b"1"
FIELD_VERSION: Final = b"v"
FIELD_RECORDS: Final = b"b"

# at        int64   microseconds since 1970 UTC, never backwards within a shard
# torrent   uint32  torrent number
# account   uint32  account number
# peer      20 B    peer id as sent
# key       uint32  CRC-32 of the `key` parameter, 0 when none was sent
# up, down, left  uint64  totals as claimed by the client, bytes; `left` UNKNOWN_LEFT when not told
# event     uint8   EVENT_*
# family    uint8   4 or 6
# port      uint16
# protocol  uint8   PROTOCOL_*
# flags     uint8   FLAG_* bits
# interval  uint16  seconds promised to the client in the answer to this announce
# address   16 B    the peer's address, IPv4 as ::ffff:a.b.c.d; the archiver replaces it by a keyed hash
# tag       8 B     client tag: first 8 bytes of the peer id
RECORD: Final = struct.Struct("<qII20sIQQQBBHBBH16s8s")
RECORD_SIZE: Final = 96
if RECORD.size != RECORD_SIZE:
    raise AssertionError("the peer record is 96 bytes for ever")

EVENT_NONE: Final = 0
EVENT_COMPLETED: Final = 1
EVENT_STARTED: Final = 2
EVENT_STOPPED: Final = 3
EVENT_EXPIRED: Final = 4
"""Written by the tracker when a peer fell silent; totals are those last seen."""

PROTOCOL_HTTP: Final = 1
PROTOCOL_UDP: Final = 2

FLAG_LATE: Final = 1
"""Totals below what this peer id and key showed less than 60 s ago, without `started`."""

UNKNOWN_LEFT: Final = 2**64 - 1


class PeerRecord(NamedTuple):
    """One decoded record; the fields are those of RECORD, in its order."""

    at: int
    torrent: int
    account: int
    peer: bytes
    key: int
    up: int
    down: int
    left: int
    event: int
    family: int
    port: int
    protocol: int
    flags: int
    interval: int
    address: bytes
    tag: bytes


def unpack_records(block: bytes) -> Iterator[PeerRecord]:
    """The records of one stream entry's `b` field, in order. Raises struct.error on a torn block."""
    return map(PeerRecord._make, RECORD.iter_unpack(block))


def stream_name(layout: int, shard: int) -> str:
    """Redis stream of one shard; the braces keep a shard's keys on one cluster slot."""
    return f"peer-events:{{{layout}.{shard}}}"


def lease_name(layout: int, shard: int) -> str:
    """Redis key that the one running tracker of a shard holds, with a time to live."""
    return f"shard-lease:{{{layout}.{shard}}}"


def epoch_name(layout: int, shard: int) -> str:
    """Redis counter; each start of the shard takes the next epoch from it."""
    return f"shard-epoch:{{{layout}.{shard}}}"


def history_name(layout: int, shard: int) -> str:
    """Redis key with a random word: a stream that was lost and begun again has another one."""
    return f"shard-history:{{{layout}.{shard}}}"


def snapshots_name(layout: int, shard: int) -> str:
    """Redis key in which a running tracker states its last two snapshots, with a time to live."""
    return f"shard-snapshots:{{{layout}.{shard}}}"


def trimmed_name(layout: int, shard: int) -> str:
    """Redis key of the StreamPoint before which entries were trimmed."""
    return f"shard-trimmed:{{{layout}.{shard}}}"


class StreamPoint(NamedTuple):
    """A place in a stream: an entry's id, and the shard's time then in microseconds."""

    entry_id: str
    at: int

    @property
    def order(self) -> tuple[int, int]:
        """The id as numbers, to compare."""
        epoch, _, number = self.entry_id.partition("-")
        return int(epoch), int(number)


def pack_points(*points: StreamPoint) -> bytes:
    """Stream points as words: id, time, id, time."""
    return " ".join(f"{point.entry_id} {point.at}" for point in points).encode("ascii")


def unpack_points(packed: bytes | None) -> list[StreamPoint]:
    """The points of `pack_points`, oldest first; none where it is something else."""
    words = (packed or b"").decode("ascii", "replace").split()
    points = [
        StreamPoint(*pair) for pair in zip(words[::2], map(_whole, words[1::2]), strict=False)
    ]
    if len(words) % 2 or any(point.at < 0 or not _is_id(point.entry_id) for point in points):
        return []
    return points


def _whole(word: str) -> int:
    return int(word) if word.isdecimal() else -1


def _is_id(word: str) -> bool:
    epoch, dash, number = word.partition("-")
    return bool(dash) and epoch.isdecimal() and number.isdecimal()


LAYOUTS: Final = "tracker-layouts"
"""Redis hash of the layouts, by their number: how many shards each has. The highest is in force."""


def entry_id(epoch: int, number: int) -> str:
    """Explicit stream id: the lease's epoch, then a counter from 1."""
    return f"{epoch}-{number}"


# The access feed: what a tracker needs to know of accounts and torrents, copied to Redis as
# packed chunks and a capped stream of changes. Entries carry their number, so a chunk may
# leave holes out or fill them with zeros; number 0 is never used.

CHUNK_SHIFT: Final = 12
CHUNK_ENTRIES: Final = 1 << CHUNK_SHIFT

ACCESS_SEQ: Final = "access:seq"
ACCESS_SOURCE: Final = "access:source"
"""Names the history the feed was made from; another one may have the same sequence."""
ACCESS_RULES: Final = "access:rules"
ACCESS_CHANGES: Final = "access:changes"
ACCESS_ACCOUNTS: Final = "access:accounts:"
ACCESS_TORRENTS: Final = "access:torrents:"
CHANGE_KIND: Final = b"k"
CHANGE_ENTRY: Final = b"e"
CHANGE_ACCOUNT: Final = b"a"
CHANGE_TORRENT: Final = b"t"
CHANGE_RULES: Final = b"r"
CHANGE_ADDRESS: Final = b"b"
ACCESS_ADDRESSES: Final = "access:addresses"
"""Redis hash of banned networks: BANNED_NETWORK to BANNED_UNTIL."""

# length of the prefix (of 128 bits), network (IPv4 as ::ffff:a.b.c.d)
BANNED_NETWORK: Final = struct.Struct("<B16s")
# end in seconds since 1970, 0 for ever
BANNED_UNTIL: Final = struct.Struct("<Q")
# a change: both, and 1 where the ban is in force, 0 where it is lifted
BANNED_ADDRESS: Final = struct.Struct("<B16sQ?")

ACCOUNT: Final = struct.Struct("<IHBxIIII")
ACCOUNT_SIZE: Final = 24
TORRENT: Final = struct.Struct("<II20s20sB7x")
TORRENT_SIZE: Final = 56
if (ACCOUNT.size, TORRENT.size) != (ACCOUNT_SIZE, TORRENT_SIZE):
    raise AssertionError("access entries are 24 and 56 bytes")

ACCOUNT_MAY_ANNOUNCE: Final = 1
ACCOUNT_MAY_DOWNLOAD: Final = 2

TORRENT_ACCEPTED: Final = 1
TORRENT_PENDING: Final = 2
"""Only its uploader may announce."""
TORRENT_CLOSED: Final = 3

NO_HASH: Final = bytes(20)


class AccountEntry(NamedTuple):
    """An account as the tracker knows it: key id, ACCOUNT_* flags, one epoch per kind of key."""

    number: int
    kid: int
    flags: int
    epoch_announce: int
    epoch_torznab: int
    epoch_feed: int
    epoch_api: int


class TorrentEntry(NamedTuple):
    """A torrent as the tracker knows it; `alias` is NO_HASH where it has one hash only."""

    number: int
    uploader: int
    canonical: bytes
    alias: bytes
    state: int


class BannedAddress(NamedTuple):
    """A ban of a network: bits of its prefix, 16 bytes, end in seconds (0: none), in force."""

    length: int
    network: bytes
    until: int
    active: bool


def pack_account(entry: AccountEntry) -> bytes:
    """The 24 bytes of an account in chunks and changes."""
    return ACCOUNT.pack(*entry)


def unpack_account(packed: bytes) -> AccountEntry:
    """The entry of exactly 24 bytes. Raises struct.error on another length."""
    return AccountEntry._make(ACCOUNT.unpack(packed))


def pack_torrent(entry: TorrentEntry) -> bytes:
    """The 56 bytes of a torrent in chunks and changes."""
    return TORRENT.pack(*entry)


def unpack_torrent(packed: bytes) -> TorrentEntry:
    """The entry of exactly 56 bytes. Raises struct.error on another length."""
    return TorrentEntry._make(TORRENT.unpack(packed))


def accounts_chunk(number: int) -> str:
    """Redis key of the chunk that holds this account number."""
    return f"{ACCESS_ACCOUNTS}{number >> CHUNK_SHIFT}"


def torrents_chunk(number: int) -> str:
    """Redis key of the chunk that holds this torrent number."""
    return f"{ACCESS_TORRENTS}{number >> CHUNK_SHIFT}"
