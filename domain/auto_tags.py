"""Tags read from a release's name, and from its NFO for what the name does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from domain.taxonomy import slugify
from domain.torrents import TAGS

_READ = 64 * 1024
"""Characters of an NFO that are looked at; what it says about itself stands at its top."""

Forms = Sequence[tuple[str, str]]
"""(tag, how it is spelled), the more precise one first."""

_RESOLUTIONS: Final[Forms] = (
    ("4320p", r"4320p|8k"),
    ("2160p", r"2160p|4k"),
    ("1080p", r"1080p"),
    ("1080i", r"1080i"),
    ("720p", r"720p"),
    ("576p", r"576p"),
    ("480p", r"480p"),
)
_SOURCES: Final[Forms] = (
    ("WEB-DL", r"web[ ._-]?dl"),
    ("WEBRip", r"web[ ._-]?rip"),
    ("BDRip", r"b[dr][ ._-]?rip"),
    ("BluRay", r"blu[ ._-]?ray|bd(?:25|50|66|100)"),
    ("HDTV", r"hdtv"),
    ("DVDRip", r"dvd[ ._-]?rip"),
    ("DVD", r"dvd(?:5|9|r)?"),
)
_VIDEO: Final[Forms] = (
    ("x265", r"x[. ]?265"),
    ("x264", r"x[. ]?264"),
    ("H.265", r"h[. ]?265|hevc"),
    ("H.264", r"h[. ]?264|avc"),
    ("AV1", r"av1"),
    ("VC-1", r"vc[ ._-]?1"),
    ("MPEG-2", r"mpeg[ ._-]?2"),
    ("VP9", r"vp9"),
    ("XviD", r"xvid|divx"),
)
_AUDIO: Final[Forms] = (
    ("Atmos", r"atmos"),
    ("TrueHD", r"true[ ._-]?hd"),
    ("DTS-X", r"dts[ ._-]x"),
    ("DTS-HD", r"dts[ ._-]?hd(?:[ ._-]?ma)?"),
    ("DTS", r"dts"),
    ("DDP", r"(?:ddp|dd\+|e[ ._-]?ac[ ._-]?3)(?:a?[257][. ][01])?"),
    ("DD", r"(?:dd|ac[ ._-]?3)(?:[257][. ][01])?"),
    ("FLAC", r"flac"),
    ("AAC", r"aac(?:[257][. ][01])?"),
    ("Opus", r"opus"),
    ("MP3", r"mp3"),
)
_CHANNELS: Final[Forms] = (
    ("7.1", r"(?:[a-z+]{2,5})?7[. ]1"),
    ("5.1", r"(?:[a-z+]{2,5})?5[. ]1"),
    ("2.0", r"(?:[a-z+]{2,5})?2[. ]0"),
)
_LANGUAGES: Final[Forms] = (
    ("MULTi", r"multi"),
    ("VOSTFR", r"vostfr|subfrench"),
    ("French", r"true[ ._-]?french|french|vf[fqi2]"),
    ("English", r"english|eng"),
    ("German", r"german|deutsch"),
    ("Spanish", r"spanish|castellano|latino"),
    ("Italian", r"italian|ita"),
    ("Portuguese", r"portuguese|dublado"),
    ("Russian", r"russian|rus"),
    ("Japanese", r"japanese|jpn"),
    ("Korean", r"korean|kor"),
    ("Chinese", r"chinese|mandarin|cantonese"),
)
_RANGES: Final[Forms] = (
    ("Dolby Vision", r"dolby[ ._-]?vision|dovi|dv"),
    ("HDR10Plus", r"hdr10(?:\+|p(?:lus)?)"),
    ("HDR10", r"hdr10"),
    ("HDR", r"hdr"),
    ("HLG", r"hlg"),
)
_EXTRAS: Final[Forms] = (
    ("REMUX", r"remux"),
    ("10bit", r"10[ ._-]?bits?"),
    ("REPACK", r"repack"),
    ("PROPER", r"proper"),
    ("Extended", r"extended"),
    ("Director's Cut", r"director'?s?[ ._-]cut"),
    ("Unrated", r"unrated"),
    ("Remastered", r"remastered"),
    ("IMAX", r"imax"),
    ("3D", r"3d"),
)
_PLAIN: Final[Sequence[tuple[Forms, int]]] = (
    (_RESOLUTIONS, 1),
    (_SOURCES, 1),
    (_VIDEO, 1),
    (_AUDIO, 2),
    (_CHANNELS, 1),
    (_RANGES, 2),
)
"""Kinds that mean the same wherever they stand, and how many of each a release has."""
_WORDS_BEGIN: Final = re.compile(
    r"(?<![a-z0-9])(?:(?:19|20)[0-9]{2}|s[0-9]{1,2}(?:e[0-9]{1,3})?|[0-9]{3,4}[pi]|4k|8k)(?![a-z0-9])"
)
"""Where a release's title ends: its year, season or resolution. Words before it are its name."""


def infer_tags(name: str, nfo: str = "") -> tuple[str, ...]:
    """Resolution, source, codecs, channels, languages, range and extras, at most `TAGS`.

    Languages and extras are read only behind the title: "The French Connection" is none. An NFO
    adds what the name leaves open, except for those two, of which it speaks in sentences.
    """
    name = name.lower()
    begin = _WORDS_BEGIN.search(name, 1)
    behind = name[begin.start() :] if begin else ""
    nfo = nfo[:_READ].lower()
    found: list[str] = []
    for forms, most in _PLAIN:
        found += list(_found(forms, name))[:most] or list(_found(forms, nfo))[:most]
    found += _found(_LANGUAGES, behind)
    found += _found(_EXTRAS, behind)
    return tuple(found[:TAGS])


def with_inferred(tags: Sequence[str], inferred: Sequence[str]) -> tuple[str, ...]:
    """The tags somebody gave, and inferred ones while there is room."""
    kept = {slugify(tag) for tag in tags} - {""}
    added = []
    for tag in inferred:
        if len(kept) < TAGS and slugify(tag) not in kept:
            kept.add(slugify(tag))
            added.append(tag)
    return (*tags, *added)


def _found(forms: Forms, text: str) -> Iterator[str]:
    """Tags of `forms` the text has. What was read is taken out: DTS-HD is not DTS as well."""
    for tag, spelling in forms:
        left = re.sub(rf"(?<![a-z0-9])(?:{spelling})(?![a-z0-9])", " ", text)
        if left != text:
            yield tag
            text = left
