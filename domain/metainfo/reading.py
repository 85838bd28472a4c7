"""Reading a metainfo file from any bytes: scan, check, hash the raw `info`."""

from __future__ import annotations

from hashlib import sha1, sha256

from domain.metainfo.files import (
    RawFile,
    check_files,
    check_parts,
    clean_name,
    display_path,
    v1_files,
    v2_files,
)
from domain.metainfo.model import ContentFile, Metainfo, MetainfoKind, MetainfoRefused, Span
from domain.metainfo.pieces import check_piece_layers, check_pieces, valid_piece_length
from domain.metainfo.scan import Scan, Value, scan

MAX_NAME_BYTES = 1_024

_KEPT: dict[bytes, type] = {
    b"comment": bytes,
    b"comment.utf-8": bytes,
    b"created by": bytes,
    b"creation date": int,
    b"encoding": bytes,
    b"info": dict,
    b"piece layers": dict,
}
"""What of the outer dictionary is stored; trackers, web seeds, nodes and the rest are others'."""


def read_metainfo(content: bytes) -> Metainfo:
    """Read a .torrent file.

    Raises `MetainfoRefused` naming the fault, or `MetainfoTooLarge`; nothing else, whatever the
    bytes, and well within a second. Info hashes are of the raw bytes as they stand, never of a
    re-encoding (BEP 3).
    """
    scanned = scan(content)
    root = scanned.root
    if not isinstance(root, dict):
        raise MetainfoRefused("not_a_dictionary", "the file must be a dictionary", 0)
    info = root.get(b"info")
    if not isinstance(info, dict):
        raise MetainfoRefused("info_missing", "it has no info dictionary")
    kind = _kind(info)
    raw_name, name = _name(info)
    piece_length = valid_piece_length(info, is_v2=kind != "v1")
    files: list[RawFile] = []
    if kind != "v2":
        files = v1_files(info)
        check_files(files)
        check_pieces(info, files, piece_length)
    if kind != "v1":
        if scanned.unsorted is not None:
            raise MetainfoRefused("keys_unsorted", "v2 wants its keys in order", scanned.unsorted)
        tree = _without_folder(v2_files(info), raw_name)
        check_files(tree)
        check_piece_layers(root.get(b"piece layers"), tree, piece_length)
        if kind == "hybrid":
            _check_same(files, tree, piece_length)
        files = tree
    spans = _spans(scanned, root)
    start, end = next(span for key, span in spans if key == b"info")
    is_v1, is_v2 = kind != "v2", kind != "v1"
    v1 = sha1(content[start:end]).hexdigest() if is_v1 else None  # noqa: S324 (BEP 3 says so)
    v2 = sha256(content[start:end]).hexdigest() if is_v2 else None
    return Metainfo(
        kind=kind,
        name=name,
        files=_content_files(files, name),
        size=sum(file.length for file in files if not file.is_pad),
        piece_length=piece_length,
        is_private=info.get(b"private") == 1,
        info_hash_v1=v1,
        info_hash_v2=v2,
        info_span=(start, end),
        private_span=_private_span(scanned, end),
        kept=spans,
    )


def stored_values(content: bytes) -> dict[bytes, bytes]:
    """The raw values of a stored file's outer dictionary, by key, `info` among them.

    For a file that was read before; only its bencode is checked again. Raises as
    `read_metainfo`.
    """
    scanned = scan(content)
    if not isinstance(scanned.root, dict):
        raise MetainfoRefused("not_a_dictionary", "the file must be a dictionary", 0)
    return {key: content[start:end] for key, (start, end) in _spans(scanned, scanned.root)}


def _kind(info: dict[bytes, Value]) -> MetainfoKind:
    is_v1 = any(key in info for key in (b"pieces", b"files", b"length"))
    if b"meta version" not in info:
        return "v1"
    if info[b"meta version"] != 2:
        raise MetainfoRefused("version_unknown", "its meta version is not 2")
    return "hybrid" if is_v1 else "v2"


def _name(info: dict[bytes, Value]) -> tuple[bytes, str]:
    """The raw name, and the one to show."""
    raw = info.get(b"name")
    if not isinstance(raw, bytes) or raw.strip(b" .") == b"":
        raise MetainfoRefused("name_missing", "info needs a name")
    if len(raw) > MAX_NAME_BYTES:
        raise MetainfoRefused("name_too_long", f"its name is longer than {MAX_NAME_BYTES} bytes")
    better = info.get(b"name.utf-8")
    shown = better if isinstance(better, bytes) and 0 < len(better) <= MAX_NAME_BYTES else raw
    check_parts((raw, shown))
    return raw, clean_name(shown)


def _without_folder(tree: list[RawFile], raw_name: bytes) -> list[RawFile]:
    """A v2 torrent of one file that has the torrent's own name has no folder (BEP 52)."""
    if len(tree) == 1 and tree[0].parts == (raw_name,):
        return [tree[0]._replace(parts=(), shown=())]
    return tree


def _check_same(v1: list[RawFile], v2: list[RawFile], piece_length: int) -> None:
    """A hybrid describes the same files twice; each starts at a piece (BEP 52)."""
    described = [(file.parts, file.length) for file in v1 if not file.is_pad]
    if described != [(file.parts, file.length) for file in v2]:
        raise MetainfoRefused("hybrid_mismatch", "its v1 and v2 parts describe different files")
    offset = 0
    for file in v1:
        if file.length and not file.is_pad and offset % piece_length:
            raise MetainfoRefused("hybrid_mismatch", "a file of it does not start at a piece")
        offset += file.length


def _content_files(files: list[RawFile], name: str) -> tuple[ContentFile, ...]:
    content = [file for file in files if not file.is_pad]
    if content[0].parts == ():
        return (ContentFile(name, content[0].length),)
    return tuple(ContentFile(f"{name}/{display_path(file.shown)}", file.length) for file in content)


def _spans(scanned: Scan, root: dict[bytes, Value]) -> tuple[tuple[bytes, Span], ...]:
    """What is stored of the outer dictionary, in the order bencode wants."""
    kept = [
        (entry.key, (entry.value_start, entry.end))
        for entry in scanned.outer
        if entry.key in _KEPT and isinstance(root[entry.key], _KEPT[entry.key])
    ]
    return tuple(sorted(kept))


def _private_span(scanned: Scan, info_end: int) -> Span:
    """Where `private` stands in the file, or the empty span where it has to go."""
    for entry in scanned.info:
        if entry.key == b"private":
            return entry.start, entry.end
    for entry in scanned.info:
        if entry.key > b"private":
            return entry.start, entry.start
    return info_end - 1, info_end - 1
