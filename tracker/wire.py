"""The peer-event record as it goes to the stream: the one tracker module others may import.

A stream entry has two fields: `v` = b"1" and `b` = one or more records back to back.
Records are 96 bytes, little-endian, in the field order below; the format is for ever,
another layout gets another `v`.
"""

from __future__ import annotations

import struct
from typing import Final

VERSION: Final = b"1"
FIELD_VERSION: Final = b"v"
FIELD_RECORDS: Final = b"b"

# at        int64   microseconds since 1970 UTC, never backwards within a shard
# torrent   uint32  torrent number
# account   uint32  account number
# peer      20 B    peer id as sent
# key       uint32  first 4 bytes of BLAKE2b of the `key` parameter, 0 when none was sent
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


def stream_name(layout: int, shard: int) -> str:
    """Redis stream of one shard; the braces keep a shard's keys on one cluster slot."""
    return f"peer-events:{{{layout}.{shard}}}"


def entry_id(epoch: int, number: int) -> str:
    """Explicit stream id: the lease's epoch, then a counter from 1."""
    return f"{epoch}-{number}"
