"""The block format of closed days: records sorted by session, column by column, compressed."""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from projections.peer_records import LAYOUT, Flags, Ints, Keys, Records

BLOCK_RECORDS: Final = 16_384
SEGMENT_RECORDS: Final = 2**21
"""Records sorted together. Larger compresses a little better; a replay holds 100 bytes of each."""
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BI")
_LEVEL: Final = 3
_LARGEST: Final = BLOCK_RECORDS * 160 + 1_024
"""No packed block is longer: 13 columns of 8 bytes, 44 bytes of names, and the bits."""
_NUMBERS: Final = ("key", "port", "interval", "event", "family", "protocol", "flags")
_NAMES: Final = ("peer", "address", "tag")
_SIGN: Final = np.int64(63)


class BlockUnreadable(ValueError):
    """A block is not what this format writes; the text says why."""


class Ordered(NamedTuple):
    """Records in the ledger's order, and the batch and ordinal of each."""

    seqs: Ints
    ordinals: Ints
    records: Records

    def only(self, chosen: slice | Flags | Ints) -> Ordered:
        """Some of them."""
        return Ordered(self.seqs[chosen], self.ordinals[chosen], self.records[chosen])


class Block(NamedTuple):
    """A packed block with what is known of it without opening it.

    `low` and `high` bound the account numbers of records, or the batches of an order block.
    """

    records: int
    low: int
    high: int
    at_min: int
    at_max: int
    digest: bytes
    body: bytes


class Segment(NamedTuple):
    """The blocks of one stretch of batches of a day.

    `order` gives, in the ledger's order, batch, ordinal and time; `sorted` gives the rest by
    account, torrent and peer id, each record with its rank in that order.
    """

    order: list[Block]
    sorted: list[Block]


def pack_segment(ordered: Ordered) -> Segment:
    """The blocks of records that stand in the ledger's order, at most `SEGMENT_RECORDS`."""
    records = ordered.records
    peers = np.ascontiguousarray(records["peer"]).view(np.uint8).reshape(-1, 20)
    words = np.ascontiguousarray(peers[:, :16]).view(">u8")
    tail = np.ascontiguousarray(peers[:, 16:]).view(">u4")[:, 0]
    # Stable: what is equal stays in the ledger's order.
    ranks = np.lexsort((tail, words[:, 1], words[:, 0], records["torrent"], records["account"]))
    starts = range(0, len(records), BLOCK_RECORDS)
    return Segment(
        order=[_pack_order(ordered, slice(start, start + BLOCK_RECORDS)) for start in starts],
        sorted=[
            _pack_sorted(records[chosen], chosen)
            for chosen in (ranks[start : start + BLOCK_RECORDS] for start in starts)
        ],
    )


def _pack_order(ordered: Ordered, part: slice) -> Block:
    seqs, at = ordered.seqs[part], ordered.records["at"][part]
    columns = [_numbers(seqs), _numbers(ordered.ordinals[part]), _numbers(at)]
    return _block(columns, seqs, at)


def _pack_sorted(records: Records, ranks: Ints) -> Block:
    columns = [_numbers(records["account"]), _numbers(records["torrent"]), _numbers(ranks)]
    up, down = records["up"], records["down"]
    # What a client downloads it no longer lacks, so this sum seldom changes.
    columns += [_numbers(up), _numbers(down), _numbers(records["left"] + down)]
    columns += [_numbers(records[name]) for name in _NUMBERS]
    columns += [_names(records[name]) for name in _NAMES]
    return _block(columns, records["account"], records["at"])


def _block(columns: list[bytes], bounds: npt.NDArray[Any], at: npt.NDArray[Any]) -> Block:
    packed = _HEAD.pack(_VERSION, len(at)) + b"".join(columns)
    return Block(
        records=len(at),
        low=int(bounds.min()),
        high=int(bounds.max()),
        at_min=int(at.min()),
        at_max=int(at.max()),
        digest=hashlib.sha256(packed).digest(),
        body=zstandard.ZstdCompressor(level=_LEVEL).compress(packed),
    )


def _numbers(values: npt.NDArray[Any]) -> bytes:
    """Differences to the number before, the sign as lowest bit, by byte planes that are not empty."""
    plain = values.astype(np.int64, casting="unsafe")
    steps = np.diff(plain, prepend=np.int64(0))
    signed = (steps << 1) ^ (steps >> _SIGN)
    planes = signed.astype("<i8").view(np.uint8).reshape(-1, 8).T
    used = [place for place in range(8) if planes[place].any()]
    mask = sum(1 << place for place in used)
    return bytes([mask]) + b"".join(planes[place].tobytes() for place in used)


def _names(values: npt.NDArray[Any]) -> bytes:
    """A bit for each that differs from the one before it, then the differing ones by byte planes."""
    plain = _as_bytes(values)
    changed = np.ones(len(plain), np.bool_)
    changed[1:] = (plain[1:] != plain[:-1]).any(axis=1)
    bits = np.packbits(changed).tobytes()
    return bits + np.ascontiguousarray(plain[changed].T).tobytes()


def _as_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    width = values.dtype.itemsize
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, width)


class _Columns:
    """Reads the columns of one packed block, in the order they were written."""

    def __init__(self, body: bytes, digest: bytes) -> None:
        try:
            packed = zstandard.ZstdDecompressor().decompress(body, max_output_size=_LARGEST)
        except zstandard.ZstdError:
            raise BlockUnreadable("it does not unpack") from None
        if hashlib.sha256(packed).digest() != digest:
            raise BlockUnreadable("it does not match its digest")
        version, self.count = _HEAD.unpack_from(packed)
        if version != _VERSION:
            raise BlockUnreadable(f"its format {version} is not known to this program")
        self._packed = packed
        self._at = _HEAD.size

    def numbers(self) -> Ints:
        mask = self._packed[self._at]
        self._at += 1
        planes = np.zeros((self.count, 8), np.uint8)
        for place in range(8):
            if mask >> place & 1:
                planes[:, place] = self._take(self.count)
        signed: Keys = planes.view("<u8")[:, 0]
        steps = (signed >> np.uint64(1)).view(np.int64) ^ -(signed & np.uint64(1)).view(np.int64)
        return np.cumsum(steps, dtype=np.int64)

    def names(self, width: int) -> npt.NDArray[Any]:
        changed = np.unpackbits(self._take((self.count + 7) // 8), count=self.count)
        known = int(changed.sum())
        values = self._take(known * width).reshape(width, known).T
        rows = np.ascontiguousarray(values[np.cumsum(changed, dtype=np.int64) - 1])
        return rows.view(f"V{width}")[:, 0]

    def _take(self, size: int) -> npt.NDArray[np.uint8]:
        part = np.frombuffer(self._packed, np.uint8, size, self._at)
        self._at += size
        return part


def unpack_order(body: bytes, digest: bytes) -> tuple[Ints, Ints, Ints]:
    """Batches, ordinals and times of an order block; raises `BlockUnreadable`."""
    columns = _Columns(body, digest)
    return columns.numbers(), columns.numbers(), columns.numbers()


def unpack_sorted(body: bytes, digest: bytes) -> tuple[Records, Ints]:
    """Records of a sorted block, all but `at`, and their ranks; raises `BlockUnreadable`."""
    columns = _Columns(body, digest)
    records = np.empty(columns.count, LAYOUT)
    records["at"] = 0
    records["account"], records["torrent"] = columns.numbers(), columns.numbers()
    ranks = columns.numbers()
    records["up"], records["down"] = columns.numbers(), columns.numbers()
    records["left"] = columns.numbers().view(np.uint64) - records["down"]
    for name in _NUMBERS:
        records[name] = columns.numbers()
    for name in _NAMES:
        records[name] = columns.names(LAYOUT[name].itemsize)
    return records, ranks
