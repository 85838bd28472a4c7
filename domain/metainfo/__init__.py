"""Metainfo (.torrent) files: read strictly from any bytes, and made private byte by byte."""

from domain.metainfo.model import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_FILES,
    ContentFile,
    Metainfo,
    MetainfoRefused,
    MetainfoTooLarge,
    content_signature,
)
from domain.metainfo.private import splice_private, store_private
from domain.metainfo.reading import read_metainfo, stored_values

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_FILES",
    "ContentFile",
    "Metainfo",
    "MetainfoRefused",
    "MetainfoTooLarge",
    "content_signature",
    "read_metainfo",
    "splice_private",
    "store_private",
    "stored_values",
]
