"""Marking torrents as favourites."""

from __future__ import annotations

from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from domain import favorites, torrents
from domain.favorites import Favorite


class FavoriteTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Make a torrent the caller may see one of his favourites."""

    torrent: UUID


class UnfavoriteTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Make a torrent the caller's favourite no longer."""

    torrent: UUID


def handle_favorite_torrent(unit: Unit, command: FavoriteTorrent) -> None:
    """Make it a favourite. Raises `TorrentNotFound` for one that was withdrawn."""
    member = unit.actor.account
    favorite_id = favorites.favorite_id(member, command.torrent)
    favorite = unit.load(favorite_id, favorites.evolve) or Favorite()
    facts = favorites.favorite_torrent(favorite, member, command.torrent)
    if facts:
        torrent = unit.load(command.torrent, torrents.evolve)
        if torrent is None or torrent.withdrawn:
            raise torrents.TorrentNotFound()
    unit.record(favorite_id, favorite.version, facts)


def handle_unfavorite_torrent(unit: Unit, command: UnfavoriteTorrent) -> None:
    """Make it a favourite no longer; what never was one stays so."""
    member = unit.actor.account
    favorite_id = favorites.favorite_id(member, command.torrent)
    favorite = unit.load(favorite_id, favorites.evolve) or Favorite()
    unit.record(
        favorite_id,
        favorite.version,
        favorites.unfavorite_torrent(favorite, member, command.torrent),
    )


HANDLERS: dict[type, Handler] = {
    FavoriteTorrent: handle_favorite_torrent,
    UnfavoriteTorrent: handle_unfavorite_torrent,
}
