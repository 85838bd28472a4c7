"""The block format: what is packed comes out byte for byte, and small."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.ledger_blocks import (
    BLOCK_RECORDS,
    BlockUnreadable,
    Ordered,
    pack_segment,
    unpack_order,
    unpack_sorted,
)
from projections.peer_records import LAYOUT, Records
from tests.projections.ledger_kit import spread_records

_FEW = st.sampled_from([0, 1, 2**31, 2**32 - 1])
_TOTALS = st.sampled_from([0, 1, 2**40, 2**62 - 1, 2**62]) | st.integers(0, 2**62)
_RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.integers(0, 2**52) | st.sampled_from([0, 86_399_999_999, 86_400_000_000]),
            "torrent": _FEW,
            "account": _FEW,
            "peer": st.sampled_from([bytes(20), b"a" * 20, b"a" * 19 + b"b", b"\xff" * 20]),
            "key": _FEW,
            "up": _TOTALS,
            "down": _TOTALS,
            "left": _TOTALS,
            "event": st.integers(0, 255),
            "family": st.integers(0, 255),
            "port": st.integers(0, 65_535),
            "protocol": st.integers(0, 255),
            "flags": st.integers(0, 255),
            "interval": st.integers(0, 65_535),
            "address": st.sampled_from([bytes(16), b"\xff" * 16, b"ab" * 8]),
            "tag": st.sampled_from([bytes(8), b"-TR4050-"]),
        }
    ),
    min_size=1,
    max_size=60,
)


def as_records(rows: list[dict[str, Any]]) -> Records:
    records = np.zeros(len(rows), LAYOUT)
    for place, row in enumerate(rows):
        for name, value in row.items():
            records[name][place] = np.void(value) if isinstance(value, bytes) else value
    return records


def in_batches(records: Records, size: int) -> Ordered:
    places = np.arange(len(records))
    return Ordered(1 + places // size, places % size, records)


def unpack(ordered: Ordered) -> Records:
    """Pack and unpack, through bytes alone."""
    packed = pack_segment(ordered)
    order = [unpack_order(block.body, block.digest) for block in packed.order]
    assert np.concatenate([part[0] for part in order]).tolist() == ordered.seqs.tolist()
    assert np.concatenate([part[1] for part in order]).tolist() == ordered.ordinals.tolist()
    whole = np.zeros(len(ordered.seqs), LAYOUT)
    for block in packed.sorted:
        records, ranks = unpack_sorted(block.body, block.digest)
        whole[ranks] = records
        assert block.low <= int(records["account"].min())
        assert int(records["account"].max()) <= block.high
    whole["at"] = np.concatenate([part[2] for part in order])
    return whole


@settings(max_examples=150, deadline=None)
@given(rows=_RECORDS, size=st.integers(1, 7))
def test_any_records_come_back_byte_for_byte(rows: list[dict[str, Any]], size: int) -> None:
    records = as_records(rows)
    assert unpack(in_batches(records, size)).tobytes() == records.tobytes()


def test_several_blocks_are_in_the_order_of_accounts_then_torrents() -> None:
    ordered = in_batches(spread_records(3 * BLOCK_RECORDS + 5, seed=4), 500)
    assert unpack(ordered).tobytes() == ordered.records.tobytes()
    packed = pack_segment(ordered)
    assert [block.records for block in packed.sorted] == [BLOCK_RECORDS] * 3 + [5]
    parts = [unpack_sorted(block.body, block.digest) for block in packed.sorted]
    records = np.concatenate([part[0] for part in parts])
    ranks = np.concatenate([part[1] for part in parts])
    keys = list(
        zip(
            records["account"].tolist(),
            records["torrent"].tolist(),
            [bytes(peer) for peer in records["peer"]],
            ranks.tolist(),
            strict=True,
        )
    )
    assert keys == sorted(keys)


def test_a_changed_byte_is_noticed() -> None:
    packed = pack_segment(in_batches(spread_records(2_000, seed=4), 100))
    for block, read in ((packed.order[0], unpack_order), (packed.sorted[0], unpack_sorted)):
        middle = len(block.body) // 2
        changed = bytearray(block.body)
        changed[middle] ^= 1
        with pytest.raises(BlockUnreadable):
            read(bytes(changed), block.digest)
        with pytest.raises(BlockUnreadable):
            read(block.body, bytes(32))


def test_a_format_not_known_is_refused_by_name() -> None:
    packed = b"\x02" + bytes(4)
    body = zstandard.ZstdCompressor().compress(packed)
    with pytest.raises(BlockUnreadable, match="format 2"):
        unpack_order(body, hashlib.sha256(packed).digest())
