"""Ids of films, series, games and books in public databases, in one normal form each."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from domain.errors import Invalid

_IMDB = re.compile(r"(?:.*/)?(tt[0-9]{5,12})(?:[/?#].*)?", re.IGNORECASE)
_TMDB = re.compile(r"(?:(?:.*/)?(movie|tv)/)?([0-9]{1,12})(?:[-/?#].*)?", re.IGNORECASE)
_NUMBER = re.compile(r"(?:.*[/=])?([0-9]{1,12})(?:[-/?#&].*)?")
_OPENLIBRARY = re.compile(r"(?:.*/)?(OL[0-9]{1,12}[AMW])(?:[/?#].*)?", re.IGNORECASE)
_TEXT_LENGTH = 300
"""Enough for the longest address of a database page; nothing longer is searched."""


class MediaIds(msgspec.Struct, frozen=True, kw_only=True):
    """Where a torrent's content is described; None where it is not.

    imdb "tt" and 5 to 12 digits; tmdb digits, "movie/N" or "tv/N"; tvdb and igdb digits;
    openlibrary "OL", digits and A, M or W.
    """

    imdb: str | None = None
    tmdb: str | None = None
    tvdb: str | None = None
    igdb: str | None = None
    openlibrary: str | None = None


class MediaIdInvalid(Invalid):
    """An id has not the form of its database; `data["field"]` names it."""

    code = "media_id_invalid"


def parse_media_ids(
    *,
    imdb: str | None = None,
    tmdb: str | None = None,
    tvdb: str | None = None,
    igdb: str | None = None,
    openlibrary: str | None = None,
) -> MediaIds:
    """Normal forms of ids, or of addresses of their pages; empty text counts as absent.

    Raises `MediaIdInvalid`.
    """
    return MediaIds(
        imdb=_normal("imdbId", imdb, _IMDB, str.lower),
        tmdb=_tmdb(tmdb),
        tvdb=_normal("tvdbId", tvdb, _NUMBER, str),
        igdb=_normal("igdbId", igdb, _NUMBER, str),
        openlibrary=_normal("openlibraryId", openlibrary, _OPENLIBRARY, str.upper),
    )


def _match(field: str, text: str | None, form: re.Pattern[str]) -> re.Match[str] | None:
    text = (text or "").strip()
    if not text:
        return None
    found = form.fullmatch(text) if len(text) <= _TEXT_LENGTH else None
    if found is None:
        raise MediaIdInvalid(f"{field}: not an id of that database", field=field)
    return found


def _normal(
    field: str, text: str | None, form: re.Pattern[str], shape: Callable[[str], str]
) -> str | None:
    found = _match(field, text, form)
    return None if found is None else shape(found[1])


def _tmdb(text: str | None) -> str | None:
    found = _match("tmdbId", text, _TMDB)
    if found is None:
        return None
    return f"{found[1].lower()}/{found[2]}" if found[1] else found[2]
