"""What a metainfo file says once read, and the refusal of one that says it wrongly."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec

from domain.errors import Invalid, TooLarge

MAX_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 100
MAX_FILES = 20_000

Span = tuple[int, int]
"""Start and end of a slice, in bytes."""

MetainfoKind = Literal["v1", "v2", "hybrid"]


class MetainfoRefused(Invalid):
    """The bytes are no acceptable metainfo file.

    `data` has `fault`, a stable word for what is wrong, and `offset`, the byte where it was
    seen (None when it is about the whole).
    """

    code = "torrent_file_invalid"

    def __init__(self, fault: str, told: str, offset: int | None = None) -> None:
        at = "" if offset is None else f" (at byte {offset})"
        super().__init__(f"torrent: {told}{at}", fault=fault, offset=offset)

    @property
    def fault(self) -> str:
        return str(self.data["fault"])


class MetainfoTooLarge(TooLarge):
    """The file is larger than any torrent of at most 20,000 files needs to be."""

    code = "torrent_file_too_large"
    message = f"torrent: must have at most {MAX_BYTES} bytes"


class ContentFile(NamedTuple):
    """One file of the content: path for display ("/" between parts), and length in bytes."""

    path: str
    length: int


class Metainfo(msgspec.Struct, frozen=True, kw_only=True):
    """A metainfo file as read.

    Paths start with `name` where the content is a folder. Pad files (BEP 47) are not content:
    they are neither listed nor counted in `size`, which is in bytes. `info_span` bounds the raw
    `info` dictionary in the file, `private_span` the entry `private` of it, or the empty place
    where that belongs. `kept` are the values of the outer dictionary worth storing, by key.
    """

    kind: MetainfoKind
    name: str
    files: tuple[ContentFile, ...]
    size: int
    piece_length: int
    is_private: bool
    info_hash_v1: str | None
    info_hash_v2: str | None
    info_span: Span
    private_span: Span
    kept: tuple[tuple[bytes, Span], ...]

    @property
    def info_hash(self) -> str:
        """The canonical name in swarms: the v1 hash, else the v2 hash cut to 20 bytes (BEP 52)."""
        return self.info_hash_v1 or (self.info_hash_v2 or "")[:40]

    @property
    def file_count(self) -> int:
        return len(self.files)

    @property
    def content_signature(self) -> str:
        return content_signature(self.files)


def content_signature(files: Iterable[ContentFile]) -> str:
    """SHA-256 in hex that torrents of the same files share, whatever their piece length.

    Paths are NFC and ordered by UTF-16 code units, so that web clients compute the same.
    """
    normal = [(unicodedata.normalize("NFC", file.path), file.length) for file in files]
    normal.sort(key=lambda pair: (pair[0].encode("utf-16-be", "surrogatepass"), pair[1]))
    told = [{"path": path, "length": length} for path, length in normal]
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
