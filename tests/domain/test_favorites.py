"""Favourites: marked, unmarked, marked again."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain import favorites
from domain.favorites import Favorite, TorrentFavorited, TorrentUnfavorited
from tests.kit.domain import folded, refuses_foreign_facts

ANNA, FILM = UUID(int=1), UUID(int=2)
FAVORITED = TorrentFavorited(member=ANNA, torrent=FILM)
UNFAVORITED = TorrentUnfavorited(member=ANNA, torrent=FILM)


def test_favorite_torrent_and_unfavorite_torrent_record_only_what_changes() -> None:
    assert favorites.favorite_torrent(Favorite(), ANNA, FILM) == [FAVORITED]
    assert favorites.unfavorite_torrent(Favorite(), ANNA, FILM) == []
    marked = folded(favorites.evolve, FAVORITED)
    assert marked is not None
    assert favorites.favorite_torrent(marked, ANNA, FILM) == []
    assert favorites.unfavorite_torrent(marked, ANNA, FILM) == [UNFAVORITED]
    ended = folded(favorites.evolve, FAVORITED, UNFAVORITED)
    assert ended == Favorite(version=2, favorited=False)
    assert favorites.favorite_torrent(ended, ANNA, FILM) == [FAVORITED]


def test_each_member_and_torrent_have_one_of_their_own() -> None:
    assert favorites.favorite_id(ANNA, FILM) != favorites.favorite_id(FILM, ANNA)


def test_a_favorite_refuses_foreign_facts() -> None:
    refuses_foreign_facts(favorites.evolve, FAVORITED)
    with pytest.raises(TypeError):
        folded(favorites.evolve, UNFAVORITED)
