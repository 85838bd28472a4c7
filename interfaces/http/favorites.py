"""The caller's favourites."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from application.favorites import FavoriteTorrent, UnfavoriteTorrent
from domain.errors import NotFound
from domain.torrents import TorrentNotFound
from interfaces.http.catalogue_access import Trees, open_view
from interfaces.http.deps import Commands, Reads, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply, instant_text
from interfaces.http.paging import (
    BadCursor,
    Page,
    PageNumber,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.torrent_json import FavoriteJson, json_fields, page_response
from interfaces.http.torrent_replies import (
    TorrentReply,
    known_torrent,
    may_see,
    viewer_of,
    visible_torrent,
)
from projections import favorites
from projections.favorites import CURSOR_KINDS, Sort

router = APIRouter(tags=["Favorites"])


class FavoriteStateReply(Reply):
    """Whether the torrent is one of the caller's favourites now."""

    favorited: bool


class FavoriteReply(TorrentReply):
    """A favourite, as the catalogue shows it."""

    favorited_at: Instant


@router.post("/api/torrents/{info_hash}/favorite", responses=refusals(NotFound))
def favorite_torrent(
    info_hash: str, caller: SignedIn, reads: Reads, call: Commands
) -> FavoriteStateReply:
    """Make a torrent the caller may see a favourite; doing it twice changes nothing."""
    with reads.connection() as connection:
        torrent = visible_torrent(connection, info_hash, caller)
    call.dispatch(FavoriteTorrent(torrent=torrent.id))
    return FavoriteStateReply(favorited=True)


@router.delete("/api/torrents/{info_hash}/favorite", responses=refusals(NotFound))
def unfavorite_torrent(
    info_hash: str, caller: SignedIn, reads: Reads, call: Commands
) -> FavoriteStateReply:
    """Make it a favourite no longer, silently where it was none.

    One that was hidden since can still be taken back; of others that are, nobody learns here.
    """
    with reads.connection() as connection:
        torrent = known_torrent(connection, info_hash, caller)
    if not (may_see(torrent, caller) or torrent.favorited):
        raise TorrentNotFound()
    call.dispatch(UnfavoriteTorrent(torrent=torrent.id))
    return FavoriteStateReply(favorited=False)


@router.get(
    "/api/me/favorites",
    response_class=Response,
    responses={200: {"model": Page[FavoriteReply]}},
)
def list_favorites(
    caller: SignedIn,
    reads: Reads,
    trees: Trees,
    *,
    sort: Sort = "recent",
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows of a page.")] = 24,
    after: Annotated[
        str | None, Query(max_length=5_000, description="`nextCursor` of the page before.")
    ] = None,
) -> Response:
    """List the caller's favourites: marked last first, by name, or most seeders first.

    The order is that of all of them. Those he may not see any more are not there.
    """
    behind = _place(after, sort) if after is not None else None
    with reads.catalogue() as connection:
        view = open_view(connection, trees, caller)
        # One more than shown tells whether there is a next page.
        found = favorites.list_favorites(
            connection,
            viewer_of(caller),
            sort,
            without=view.without,
            limit=limit + 1,
            offset=0 if behind else offset_of(page, limit),
            after=behind,
        )
    shown = found.rows[:limit]
    return page_response(
        [
            FavoriteJson(
                **json_fields(row.torrent, view.categories),
                favorited_at=instant_text(row.favorited_at),
            )
            for row in shown
        ],
        pagination(page, limit, found.total),
        write_cursor(sort, shown[-1].key, shown[-1].listed) if len(found.rows) > limit else None,
    )


def _place(cursor: str, sort: Sort) -> tuple[str | int, ...]:
    """The place inside a cursor. Raises `BadCursor` for one of another list."""
    of, *place = read_cursor(cursor, str, *CURSOR_KINDS[sort])
    if of != sort:
        raise BadCursor()
    return tuple(place)
