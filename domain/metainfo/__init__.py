"""Metainfo (.torrent) files: read strictly from any bytes, and made private byte by byte."""

from domain.metainfo.model import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_FILES,
    ContentFile,
    Metainfo,
    MetainfoRefused,
    MetainfoTooLarge,
)

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_FILES",
    "ContentFile",
    "Metainfo",
    "MetainfoRefused",
    "MetainfoTooLarge",
]
