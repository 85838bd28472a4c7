"""The record of one peer as it stands in memory and in dumps: 64 bytes, little-endian."""

from __future__ import annotations

import struct
import sys
from typing import Final, NamedTuple

# peer id, account, IPv6 spot, seen, key, up, down, left, interval, flags
RECORD: Final = struct.Struct("<20sIIIIQQQHBx")
RECORD_SIZE: Final = 64
# What announces change: from `seen` on.
STATE: Final = struct.Struct("<IIQQQHBx")
WORD: Final = struct.Struct("<I")
ACCOUNT_AT: Final = 20
SPOT_AT: Final = 24
STATE_AT: Final = 28
FLAGS_AT: Final = 62
if (RECORD.size, STATE.size) != (RECORD_SIZE, RECORD_SIZE - STATE_AT):
    raise AssertionError("a peer's record is 64 bytes, its state the last 36")
if sys.byteorder != "little":
    raise AssertionError("columns of records are read in place, and they are little-endian")

SEEDING: Final = 1
BY_UDP: Final = 2


class Peer(NamedTuple):
    """A peer's record; `seen` in seconds, totals in bytes, `interval` in seconds as promised."""

    peer_id: bytes
    account: int
    seen: int
    key: int
    up: int
    down: int
    left: int
    interval: int
    flags: int

    @property
    def by_udp(self) -> bool:
        """Whether its last announce came over UDP."""
        return bool(self.flags & BY_UDP)
