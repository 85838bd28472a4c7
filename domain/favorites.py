"""Favourites: torrents a member marked to find them again."""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import UUID, uuid5

import msgspec

from domain.kernel import Envelope, Fact

_FAVORITES: Final = UUID("b4f1c8de-6b1f-5a57-9f0a-2f6d3b8f4c11")


class TorrentFavorited(Fact, frozen=True):
    """A member marked a torrent as a favourite."""

    TOPIC: ClassVar[str] = "torrent.favorited.1"

    member: UUID
    torrent: UUID


class TorrentUnfavorited(Fact, frozen=True):
    """A torrent is a member's favourite no longer."""

    TOPIC: ClassVar[str] = "torrent.unfavorited.1"

    member: UUID
    torrent: UUID


FACTS: tuple[type[Fact], ...] = (TorrentFavorited, TorrentUnfavorited)


class Favorite(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a torrent is a member's favourite."""

    version: int = 0
    favorited: bool = False


def favorite_id(member: UUID, torrent: UUID) -> UUID:
    """The aggregate that says whether `torrent` is a favourite of `member`."""
    return uuid5(_FAVORITES, member.hex + torrent.hex)


def evolve(state: Favorite | None, envelope: Envelope) -> Favorite:
    """The favourite after one more fact."""
    match envelope.fact, state:
        case TorrentFavorited(), _:
            return Favorite(version=envelope.originator_version, favorited=True)
        case TorrentUnfavorited(), Favorite():
            return Favorite(version=envelope.originator_version, favorited=False)
        case unknown, _:
            raise TypeError(f"not a fact of a favourite here: {type(unknown).__name__}")


def favorite_torrent(favorite: Favorite, member: UUID, torrent: UUID) -> list[Fact]:
    """Make it a favourite; nothing when it is one already."""
    return [] if favorite.favorited else [TorrentFavorited(member=member, torrent=torrent)]


def unfavorite_torrent(favorite: Favorite, member: UUID, torrent: UUID) -> list[Fact]:
    """Make it a favourite no longer; nothing when it is none."""
    return [TorrentUnfavorited(member=member, torrent=torrent)] if favorite.favorited else []
