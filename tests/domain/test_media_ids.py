"""Media ids: one normal form per database, from an id or the address of a page."""

from __future__ import annotations

from typing import Any

import pytest

from domain.media_ids import MediaIdInvalid, MediaIds, parse_media_ids


@pytest.mark.parametrize(
    ("asked", "normal"),
    [
        ({"imdb": "tt0111161"}, {"imdb": "tt0111161"}),
        ({"imdb": " TT0111161 "}, {"imdb": "tt0111161"}),
        ({"imdb": "https://www.imdb.com/title/tt0111161/?ref_=x"}, {"imdb": "tt0111161"}),
        ({"tmdb": "278"}, {"tmdb": "278"}),
        ({"tmdb": "movie/278"}, {"tmdb": "movie/278"}),
        ({"tmdb": "TV/278"}, {"tmdb": "tv/278"}),
        (
            {"tmdb": "https://www.themoviedb.org/movie/278-the-shawshank-redemption"},
            {"tmdb": "movie/278"},
        ),
        ({"tvdb": "81189"}, {"tvdb": "81189"}),
        ({"tvdb": "https://thetvdb.com/?tab=series&id=81189"}, {"tvdb": "81189"}),
        ({"igdb": "1942"}, {"igdb": "1942"}),
        ({"openlibrary": "ol45804w"}, {"openlibrary": "OL45804W"}),
        (
            {"openlibrary": "https://openlibrary.org/works/OL45804W/Fox"},
            {"openlibrary": "OL45804W"},
        ),
        ({"imdb": "  ", "tmdb": ""}, {}),
    ],
)
def test_ids_and_addresses_have_one_normal_form(
    asked: dict[str, Any], normal: dict[str, str]
) -> None:
    assert parse_media_ids(**asked) == MediaIds(**normal)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"imdb": "0111161"}, "imdbId"),
        ({"imdb": "tt1234"}, "imdbId"),
        ({"imdb": "tt1234567890123"}, "imdbId"),
        ({"tmdb": "film/1"}, "tmdbId"),
        ({"tvdb": "show"}, "tvdbId"),
        ({"igdb": "1" * 13}, "igdbId"),
        ({"openlibrary": "OL1"}, "openlibraryId"),
        ({"openlibrary": "/" * 300 + "OL1W"}, "openlibraryId"),
    ],
)
def test_anything_else_is_refused_by_field(asked: dict[str, str], field: str) -> None:
    with pytest.raises(MediaIdInvalid) as refused:
        parse_media_ids(**asked)
    assert refused.value.data == {"field": field}
