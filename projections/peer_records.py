"""Peer records as numpy arrays: the wire layout, decoding, and what the ledger keeps of them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from domain.credit import MAX_TOTAL
from tracker import wire

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]
"""A structured array of `LAYOUT`."""

LAYOUT: Final[np.dtype[Any]] = np.dtype(
    [
        ("at", "<i8"),
        ("torrent", "<u4"),
        ("account", "<u4"),
        ("peer", "V20"),
        ("key", "<u4"),
        ("up", "<u8"),
        ("down", "<u8"),
        ("left", "<u8"),
        ("event", "u1"),
        ("family", "u1"),
        ("port", "<u2"),
        ("protocol", "u1"),
        ("flags", "u1"),
        ("interval", "<u2"),
        ("address", "V16"),
        ("tag", "V8"),
    ]
)
if LAYOUT.itemsize != wire.RECORD_SIZE:
    raise AssertionError("the numpy layout and the wire layout differ")


class UnreadableRecords(Exception):
    """A stream entry is no peer record of a version this program knows; the sentence says why."""


def decode_entry(version: bytes | None, payload: bytes | None) -> bytes:
    """The packed records of one stream entry; raises `UnreadableRecords`."""
    if version != wire.VERSION:
        raise UnreadableRecords(
            f"The stream holds peer records of version {version!r}; this program reads"
            f" {wire.VERSION!r}. Start the newer workers."
        )
    if not payload or len(payload) % wire.RECORD_SIZE:
        size = len(payload or b"")
        raise UnreadableRecords(f"A stream entry of {size} bytes is not whole peer records.")
    return payload


def unpack(packed: bytes) -> Records:
    """Records over `packed`, without a copy."""
    return np.frombuffer(packed, LAYOUT)


def as_kept(records: Records) -> Records:
    """A copy with totals cut off at `MAX_TOTAL`, as they enter the ledger and the fold."""
    kept = records.copy()
    for name in ("up", "down", "left"):
        np.minimum(kept[name], np.uint64(MAX_TOTAL), out=kept[name])
    return kept
