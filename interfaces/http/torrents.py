"""The catalogue: browsing it, a torrent's page, and its file."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from application.torrent_files import torrent_file_name
from domain.errors import NotFound, Unauthenticated, Unavailable
from domain.taxonomy import SLUG_LENGTH
from interfaces.http.deps import MaybeSignedIn, Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Reply
from interfaces.http.paging import (
    BadCursor,
    Page,
    PageNumber,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.torrent_replies import (
    TorrentReply,
    categories_by_id,
    magnet_link,
    require_open_catalogue,
    torrent_fields,
    torrent_reply,
    viewer_of,
    visible_torrent,
)
from projections import torrent_lists
from projections.access import find_passkey_state
from projections.taxonomy import category_branch
from projections.torrent_lists import (
    CURSOR_KINDS,
    Browse,
    ListedTorrent,
    Sort,
    Total,
    Viewer,
    count_torrents,
    sort_key,
)

router = APIRouter(tags=["Torrents"])

SortWord = Literal[
    "recent", "newest", "uploaded", "name", "size", "seeders", "leechers", "completed"
]
_SORTS: dict[str, Sort] = {"newest": "recent", "uploaded": "recent"}
"""Other words for a sort."""


class ContentFileReply(Reply):
    """A file of the content; `length` is in bytes."""

    path: str
    length: int


class TorrentDetailReply(TorrentReply):
    """A torrent's page. `files` are the first 1,000 of `fileCount`."""

    description: str
    igdb_id: str | None
    openlibrary_id: str | None
    piece_length: int
    files: list[ContentFileReply]
    nfo: str | None
    magnet_link: str


class AccountNotReady(Unavailable):
    """The account is so new that trackers do not know it yet."""

    code = "account_not_ready"
    message = "Your account is being prepared; try again."


class BrowseQuery:
    """What is asked of the catalogue, in the reference's words and the older ones."""

    def __init__(
        self,
        *,
        page: PageNumber = 1,
        limit: Annotated[int, Query(ge=1, le=100, description="Rows of a page.")] = 20,
        category: Annotated[
            str | None, Query(max_length=SLUG_LENGTH, description="Id or slug, children included.")
        ] = None,
        category_id: Annotated[
            str | None, Query(alias="categoryId", max_length=SLUG_LENGTH)
        ] = None,
        q: Annotated[
            str | None, Query(max_length=255, description="Words of the name, or an info hash.")
        ] = None,
        search: Annotated[str | None, Query(max_length=255)] = None,
        sort: SortWord | None = None,
        sort_by: Annotated[SortWord | None, Query(alias="sortBy")] = None,
        order: Literal["asc", "desc"] | None = None,
        after: Annotated[
            str | None, Query(max_length=5_000, description="`nextCursor` of the page before.")
        ] = None,
    ) -> None:
        word = sort or sort_by or "recent"
        self.page = page
        self.limit = limit
        self.category = category or category_id
        self.search = (q or search or "").replace("\0", " ").strip() or None
        self.sort: Sort = _SORTS.get(word) or word  # type: ignore[assignment]
        self.descending = order != "asc"
        self.after = after

    def keys(self) -> tuple[str | int, ...] | None:
        """The sort keys inside `after`. Raises `BadCursor` for one of another list."""
        if self.after is None:
            return None
        sort, order, *keys = read_cursor(self.after, str, int, *CURSOR_KINDS[self.sort])
        if (sort, order) != (self.sort, int(self.descending)):
            raise BadCursor()
        return tuple(keys)

    def cursor(self, row: ListedTorrent) -> str:
        """The cursor that walks on after `row`."""
        return write_cursor(self.sort, int(self.descending), sort_key(row, self.sort), row.listed)


@router.get("/api/torrents", responses=refusals(Unauthenticated))
def list_torrents(
    asked: Annotated[BrowseQuery, Depends()], caller: MaybeSignedIn, reads: Reads
) -> Page[TorrentReply]:
    """Browse torrents: accepted ones, one's own besides, and all of them for staff."""
    with reads.connection() as connection:
        require_open_catalogue(connection, caller)
        branch = category_branch(connection, asked.category) if asked.category else None
        browse = _browse(asked, viewer_of(caller), branch)
        empty = branch == []
        total = Total(0, exact=True) if empty else count_torrents(connection, browse)
        rows = [] if empty else torrent_lists.list_torrents(connection, browse)
        categories = categories_by_id(connection)
    shown = rows[: asked.limit]
    return Page[TorrentReply](
        data=[torrent_reply(row, categories) for row in shown],
        pagination=pagination(asked.page, asked.limit, total.count, exact=total.exact),
        next_cursor=asked.cursor(shown[-1]) if len(rows) > asked.limit else None,
    )


def _browse(asked: BrowseQuery, viewer: Viewer, branch: list[UUID] | None) -> Browse:
    after = asked.keys()
    return Browse(
        viewer=viewer,
        categories=branch,
        search=asked.search,
        sort=asked.sort,
        descending=asked.descending,
        # One more than shown tells whether there is a next page.
        limit=asked.limit + 1,
        offset=0 if after else offset_of(asked.page, asked.limit),
        after=after,
    )


@router.get("/api/torrents/{info_hash}", responses=refusals(NotFound, Unauthenticated))
def show_torrent(
    info_hash: str, caller: MaybeSignedIn, reads: Reads, services: Services
) -> TorrentDetailReply:
    """Show a torrent by its v1 hash, its v2 hash, or the first 40 digits of that."""
    with reads.connection() as connection:
        require_open_catalogue(connection, caller)
        row = visible_torrent(connection, info_hash, caller)
        categories = categories_by_id(connection)
    stored = services.torrents
    return TorrentDetailReply.model_validate(
        {
            **torrent_fields(row, categories),
            "description": row.description,
            "igdb_id": row.igdb,
            "openlibrary_id": row.openlibrary,
            "piece_length": row.piece_length,
            "files": [
                ContentFileReply(path=file.path, length=file.length)
                for file in stored.content_files(row.file_ref)
            ],
            "nfo": stored.nfo(row.nfo_ref) if row.nfo_ref else None,
            "magnet_link": magnet_link(
                row.info_hash, row.info_hash_v2, row.name, stored.addresses.http
            ),
        }
    )


@router.get(
    "/api/torrents/{info_hash}/download",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/x-bittorrent": {"schema": {"type": "string", "format": "binary"}}
            },
            "description": "The .torrent file",
        },
        **refusals(NotFound, Unauthenticated),
    },
)
def download_torrent(
    info_hash: str, caller: SignedIn, reads: Reads, services: Services
) -> Response:
    """Download the .torrent file with the caller's own key for this torrent in it."""
    with reads.connection() as connection:
        row = visible_torrent(connection, info_hash, caller)
        passkey = find_passkey_state(connection, caller.account)
    if passkey is None:
        raise AccountNotReady(retry_after=1)
    content = services.torrents.personal_torrent(
        row.file_ref,
        torrent=row.number,
        account=passkey.number,
        kid=passkey.kid,
        epoch=passkey.epoch_announce,
    )
    return Response(
        content,
        media_type="application/x-bittorrent",
        headers={"Content-Disposition": content_disposition(row.name)},
    )


def content_disposition(name: str) -> str:
    """An attachment named after the torrent: plain for old programs, exact for others (RFC 6266).

    Both forms hold only letters, digits and a few signs, so no name can end the header. File
    systems take 255 bytes.
    """
    encoded = name.encode("utf-8", "replace")[:240].decode("utf-8", "ignore")
    exact = quote(f"{encoded}.torrent", safe="")
    return f"attachment; filename=\"{torrent_file_name(name[:240])}\"; filename*=UTF-8''{exact}"
