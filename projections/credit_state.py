"""The credit fold's state as bytes: what snapshots and checkpoints hold, and reading it back."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec
import numpy as np
import zstandard

from projections.credit_fold import CreditFold
from projections.credit_slots import SlotTable
from projections.peer_records import Ints, Keys

T = TypeVar("T", bound=msgspec.Struct)
FOLD: Final = "credit-1"
"""Names the rules and the columns a state was folded with; any change of either raises it."""
ROWS_A_PIECE: Final = 1 << 20
_FRAME: Final = struct.Struct("<II")
_NARROW: Final = tuple(np.dtype(f"<u{width}") for width in (1, 2, 4, 8))


class StateUnreadable(ValueError):
    """Bytes are no state of this fold: damaged, cut short, or of another version."""


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first frame: which fold, the time of its latest record, rows by table."""

    fold: str
    latest_at: int
    rows: dict[str, int]


class _Piece(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some rows of one column: its values less `base`, as unsigned numbers of `width` bytes."""

    table: str
    column: str
    rows: int
    base: int
    width: int


def dump_state(fold: CreditFold) -> Iterator[bytes]:
    """Pieces that joined give the state: sessions, holdings, sums, live counts, changed marks.

    Not `withheld`: flags are what a fold gives out, not what it remembers. The pieces depend on
    how records were batched; to compare states use `CreditFold.digest`.
    """
    tables = fold.tables()
    rows = {name: len(table) for name, table in tables.items()}
    yield _frame(msgspec.json.encode(_Head(fold=FOLD, latest_at=fold.latest_at, rows=rows)), b"")
    packer = zstandard.ZstdCompressor(level=1, write_checksum=True)
    for name, table in tables.items():
        for column, values in _columns(table):
            for first in range(0, len(values), ROWS_A_PIECE):
                part = values[first : first + ROWS_A_PIECE]
                base, narrow = _narrowed(part)
                piece = _Piece(
                    table=name,
                    column=column,
                    rows=len(part),
                    base=base,
                    width=narrow.itemsize,
                )
                yield _frame(msgspec.json.encode(piece), packer.compress(narrow.tobytes()))


def load_state(state: bytes, *, seed: int) -> CreditFold:
    """The fold that `dump_state` wrote, as it was; raises `StateUnreadable`."""
    fold = CreditFold(seed=seed)
    restore_state(state, fold)
    return fold


def restore_state(state: bytes, fold: CreditFold) -> None:
    """Give an empty `fold` that state; raises `StateUnreadable` and leaves it empty."""
    frames = _frames(state)
    head = _decoded(next(frames, (b"", b""))[0], _Head)
    if head.fold != FOLD:
        raise StateUnreadable(f"a state of fold {head.fold!r}, this program has {FOLD!r}")
    tables = fold.tables()
    if head.rows.keys() != tables.keys() or min(head.rows.values()) < 0:
        raise StateUnreadable("a state of other tables")
    pieces: dict[tuple[str, str], list[Ints]] = {}
    for header, body in frames:
        piece = _decoded(header, _Piece)
        pieces.setdefault((piece.table, piece.column), []).append(_widened(piece, body))
    found = {
        name: {column: _joined(pieces.pop((name, column), [])) for column in _names(table)}
        for name, table in tables.items()
    }
    if pieces or any(
        len(values) != head.rows[name] for name in found for values in found[name].values()
    ):
        raise StateUnreadable("a state of other columns")
    for name, table in tables.items():
        _fill(table, found[name])
    fold.latest_at = head.latest_at


def _names(table: SlotTable) -> list[str]:
    return [*(f"key {word}" for word in range(table.width)), *table.columns, "changed"]


def _columns(table: SlotTable) -> Iterator[tuple[str, Ints | Keys]]:
    size = len(table)
    for word in range(table.width):
        yield f"key {word}", table.keys(word)
    for name in table.columns:
        yield name, table[name][:size]
    yield "changed", table.marks().astype(np.int64)


def _fill(table: SlotTable, found: dict[str, Ints]) -> None:
    words = [found[f"key {word}"].view(np.uint64) for word in range(table.width)]
    columns = {name: found[name] for name in table.columns}
    table.fill(words, columns, found["changed"] != 0)


def _narrowed(values: Ints | Keys) -> tuple[int, Keys]:
    """The lowest value, and all above it in the fewest bytes: zeros cost time to compress."""
    lowest, highest = int(values.min()), int(values.max())
    above = values.view(np.uint64) - np.array(lowest, values.dtype).view(np.uint64)
    kind = next(kind for kind in _NARROW if highest - lowest <= np.iinfo(kind).max)
    narrow: Keys = above.astype(kind)
    return lowest, narrow


def _widened(piece: _Piece, body: bytes) -> Ints:
    if piece.width not in (1, 2, 4, 8) or not 0 <= piece.rows <= ROWS_A_PIECE:
        raise StateUnreadable("a piece of another width or length")
    size = piece.rows * piece.width
    try:
        raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=size)
    except zstandard.ZstdError:
        raise StateUnreadable("a piece that does not unpack") from None
    if len(raw) != size or not -(2**63) <= piece.base < 2**64:
        raise StateUnreadable("a piece of another length")
    above = np.frombuffer(raw, f"<u{piece.width}").astype(np.uint64)
    return (above + np.uint64(piece.base % 2**64)).view(np.int64)


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _frame(header: bytes, body: bytes) -> bytes:
    return _FRAME.pack(len(header), len(body)) + header + body


def _frames(state: bytes) -> Iterator[tuple[bytes, bytes]]:
    view, at = memoryview(state), 0
    while at < len(view):
        if at + _FRAME.size > len(view):
            raise StateUnreadable("a state cut short")
        header, body = _FRAME.unpack_from(view, at)
        middle, end = at + _FRAME.size + header, at + _FRAME.size + header + body
        if end > len(view):
            raise StateUnreadable("a state cut short")
        yield bytes(view[at + _FRAME.size : middle]), bytes(view[middle:end])
        at = end


def _decoded(header: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(header, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise StateUnreadable("a frame without a header of this version") from None
