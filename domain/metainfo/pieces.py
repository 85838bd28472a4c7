"""Piece hashes: the v1 string (BEP 3) and the v2 piece layers (BEP 52)."""

from __future__ import annotations

from hashlib import sha256

from domain.metainfo.files import RawFile
from domain.metainfo.model import MetainfoRefused
from domain.metainfo.scan import Value

MAX_PIECE_LENGTH = 512 * 1024 * 1024
BLOCK = 16 * 1024
"""Bytes under one leaf of a v2 Merkle tree, and the smallest v2 piece (BEP 52)."""


def valid_piece_length(info: dict[bytes, Value], *, is_v2: bool) -> int:
    """The piece length in bytes; v2 wants a power of two of at least 16 KiB."""
    length = info.get(b"piece length")
    if not isinstance(length, int) or not 0 < length <= MAX_PIECE_LENGTH:
        raise MetainfoRefused("piece_length_invalid", "info needs a piece length")
    if is_v2 and (length < BLOCK or length & (length - 1)):
        raise MetainfoRefused(
            "piece_length_invalid", "the piece length must be a power of two from 16384 on"
        )
    return length


def check_pieces(info: dict[bytes, Value], files: list[RawFile], piece_length: int) -> None:
    """Check that the v1 piece hashes are as many as the files (pads counted) need."""
    pieces = info.get(b"pieces")
    if not isinstance(pieces, bytes) or len(pieces) % 20:
        raise MetainfoRefused("pieces_invalid", "pieces must be a string of 20 bytes for each")
    if len(pieces) // 20 != _count(sum(file.length for file in files), piece_length):
        raise MetainfoRefused("pieces_count", "the number of pieces does not fit the files")


def check_piece_layers(layers: Value | None, files: list[RawFile], piece_length: int) -> None:
    """Check that each file of more than one piece has its layer, and that it hashes to its root.

    A layer belonging to no file is refused: it would carry foreign bytes to every member.
    """
    if not isinstance(layers, dict | None):
        raise MetainfoRefused("piece_layers_invalid", "piece layers must be a dictionary")
    layers = layers or {}
    roots = {file.root: file.length for file in files if file.root is not None}
    if any(root not in roots for root in layers):
        raise MetainfoRefused("piece_layers_invalid", "a piece layer belongs to no file")
    sizes = {(file.root, file.length) for file in files if file.length > piece_length}
    if len(dict(sizes)) != len(sizes):
        raise MetainfoRefused("piece_layers_invalid", "files of different length share a root")
    for root, length in sizes:
        layer = layers.get(root) if root is not None else None
        if not isinstance(layer, bytes) or len(layer) != 32 * _count(length, piece_length):
            raise MetainfoRefused("piece_layers_invalid", "a piece layer is missing or wrong")
        if _merkle_root(layer, piece_length) != root:
            raise MetainfoRefused("piece_layers_invalid", "a piece layer does not fit its root")


def _count(size: int, piece_length: int) -> int:
    return -(-size // piece_length)


def _merkle_root(layer: bytes, piece_length: int) -> bytes:
    """Hash a piece layer up to its root; beyond the file's end all blocks count as zero hashes."""
    padding = bytes(32)
    for _ in range((piece_length // BLOCK).bit_length() - 1):
        padding = sha256(padding + padding).digest()
    while len(layer) > 32:
        if len(layer) % 64:
            layer += padding
        layer = b"".join(sha256(layer[at : at + 64]).digest() for at in range(0, len(layer), 64))
        padding = sha256(padding + padding).digest()
    return layer
