"""Making a metainfo file private (BEP 27) without touching any other byte of its `info`."""

from __future__ import annotations

from hashlib import sha1, sha256

import msgspec

from domain.metainfo.model import Metainfo, Span

_PRIVATE = b"7:privatei1e"


def splice_private(content: bytes, metainfo: Metainfo) -> bytes:
    """The file to store: private, without trackers, web seeds and nodes of others.

    `metainfo` is what was read from `content`. `private=1` is put in its sorted place in the raw
    `info`, or replaces another value; all other bytes of `info`, unknown keys and their order
    too, stay as they are. The answer equals the stored file when applied to one.
    """
    return store_private(content, metainfo)[0]


def store_private(content: bytes, metainfo: Metainfo) -> tuple[bytes, Metainfo]:
    """The file to store, and what would be read from it."""
    pieces: list[bytes] = [b"d"]
    spans: list[tuple[bytes, Span]] = []
    written = 1
    private_at = 0
    for key, (start, end) in metainfo.kept:
        value = content[start:end]
        head = b"%d:%s" % (len(key), key)
        written += len(head)
        if key == b"info":
            value = _private_info(content, metainfo)
            private_at = written + metainfo.private_span[0] - start
        pieces += (head, value)
        spans.append((key, (written, written + len(value))))
        written += len(value)
    stored = b"".join((*pieces, b"e"))
    info_start, info_end = dict(spans)[b"info"]
    info = stored[info_start:info_end]
    became = msgspec.structs.replace(
        metainfo,
        is_private=True,
        info_hash_v1=sha1(info).hexdigest() if metainfo.info_hash_v1 else None,  # noqa: S324 (BEP 3)
        info_hash_v2=sha256(info).hexdigest() if metainfo.info_hash_v2 else None,
        info_span=(info_start, info_end),
        private_span=(private_at, private_at + len(_PRIVATE)),
        kept=tuple(spans),
    )
    return stored, became


def _private_info(content: bytes, metainfo: Metainfo) -> bytes:
    start, end = metainfo.info_span
    before, after = metainfo.private_span
    return content[start:before] + _PRIVATE + content[after:end]
