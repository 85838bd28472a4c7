"""The catalogue: browsing it, a torrent's page, and its file."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Response

from application.torrent_files import torrent_file_name
from domain.errors import NotFound, Unauthenticated, Unavailable
from domain.media_ids import parse_media_ids
from domain.taxonomy import SLUG_LENGTH, slugify
from interfaces.http.catalogue_access import GatedTorrentReply, Trees, gate, open_view
from interfaces.http.comments import CommentReply
from interfaces.http.deps import MaybeSignedIn, Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.lean_routes import LeanRoute
from interfaces.http.models import Reply, instant_text
from interfaces.http.paging import (
    BadCursor,
    Page,
    PageNumber,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.request_counting import COUNTED
from interfaces.http.torrent_json import (
    CommentJson,
    ContentFileJson,
    MemberRefJson,
    TorrentDetailJson,
    json_fields,
    json_response,
    page_response,
    torrent_json,
)
from interfaces.http.torrent_replies import (
    TorrentReply,
    magnet_link,
    viewer_of,
    visible_torrent,
)
from projections.access import find_passkey_state
from projections.comments import CommentRow, list_comments
from projections.torrent_browse import CURSOR_KINDS, Browse, Sort
from projections.torrent_lists import (
    ListedTorrent,
    Total,
    browse_torrents,
    sort_key,
)

router = APIRouter(tags=["Torrents"], route_class=LeanRoute, dependencies=[COUNTED])
# The same as all routes are counted by: what an application adds, a route does not know of.

COMMENTS_SHOWN = 20
"""Comments on a torrent's page; the rest by `GET /api/torrents/:hash/comments`."""
SortWord = Literal[
    "recent", "newest", "uploaded", "name", "size", "seeders", "leechers", "completed", "comments"
]
_SORTS: dict[str, Sort] = {"newest": "recent", "uploaded": "recent"}
"""Other words for a sort."""


class ContentFileReply(Reply):
    """A file of the content; `length` is in bytes."""

    path: str
    length: int


class TorrentDetailReply(TorrentReply):
    """A torrent's page. `files` are the first 1,000 of `fileCount`.

    `comments` are the newest 20 of `commentCount`.
    """

    description: str
    piece_length: int
    files: list[ContentFileReply]
    nfo: str | None
    magnet_link: str
    comments: list[CommentReply]


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
        tags: Annotated[
            str | None,
            Query(max_length=400, description="Slugs with commas between; each must be there."),
        ] = None,
        tag: Annotated[str | None, Query(max_length=400)] = None,
        q: Annotated[
            str | None, Query(max_length=255, description="Words of the name, or an info hash.")
        ] = None,
        search: Annotated[str | None, Query(max_length=255)] = None,
        imdbid: Annotated[str | None, Query(max_length=300)] = None,
        tmdbid: Annotated[str | None, Query(max_length=300)] = None,
        tvdbid: Annotated[str | None, Query(max_length=300)] = None,
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
        self.tags = _slugs(tags or tag or "")
        self.search = (q or search or "").replace("\0", " ").strip() or None
        self.media = parse_media_ids(imdb=imdbid, tmdb=tmdbid, tvdb=tvdbid)
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


def _slugs(words: str) -> tuple[str, ...]:
    """The tags named; what is no tag's name at all stays, and is then found nowhere."""
    named = [word.strip() for word in words.replace("\0", " ").split(",")]
    return tuple(dict.fromkeys(slugify(word) or "-" for word in named if word))


def _tmdb_forms(tmdb: str | None) -> tuple[str, ...]:
    """How uploads may spell the id: whoever gave only the number meant either kind."""
    if tmdb is None:
        return ()
    kind, _, number = tmdb.rpartition("/")
    kinds = (f"{kind}/",) if kind else ("movie/", "tv/")
    return (number, *(f"{each}{number}" for each in kinds))


@router.get(
    "/api/torrents",
    response_class=Response,
    responses={200: {"model": Page[TorrentReply]}, **refusals(Unauthenticated)},
)
def list_torrents(
    asked: Annotated[BrowseQuery, Depends()], caller: MaybeSignedIn, reads: Reads, trees: Trees
) -> Response:
    """Browse torrents: accepted ones, one's own besides, and all of them for staff.

    Those of adult categories only where the caller's profile asks for them. A page whose
    `totalExact` is false has at least `total` matches.
    """
    after = asked.keys()
    with reads.catalogue() as connection:
        view = open_view(connection, trees, caller)
        branch = view.categories.branch(asked.category) if asked.category else None
        browse = Browse(
            viewer=viewer_of(caller),
            categories=branch,
            without=view.without,
            search=asked.search,
            tags=asked.tags,
            imdb=(asked.media.imdb,) if asked.media.imdb else (),
            tmdb=_tmdb_forms(asked.media.tmdb),
            tvdb=(asked.media.tvdb,) if asked.media.tvdb else (),
            sort=asked.sort,
            descending=asked.descending,
            # One more than shown tells whether there is a next page.
            limit=asked.limit + 1,
            offset=0 if after else offset_of(asked.page, asked.limit),
            after=after,
        )
        rows, total = (
            ([], Total(0, exact=True)) if branch == [] else browse_torrents(connection, browse)
        )
    shown = rows[: asked.limit]
    return page_response(
        [torrent_json(row, view.categories) for row in shown],
        pagination(asked.page, asked.limit, total.count, exact=total.exact),
        asked.cursor(shown[-1]) if len(rows) > asked.limit else None,
    )


@router.get(
    "/api/torrents/{info_hash}",
    response_class=Response,
    responses={
        200: {"model": TorrentDetailReply | GatedTorrentReply},
        **refusals(NotFound, Unauthenticated),
    },
)
def show_torrent(
    info_hash: str, caller: MaybeSignedIn, reads: Reads, services: Services, trees: Trees
) -> Response:
    """Show a torrent by its v1 hash, its v2 hash, or the first 40 digits of that.

    One of an adult category is shown to members whose profile asks for such; others are told
    only that it is one.
    """
    with reads.catalogue() as connection:
        view = open_view(connection, trees, caller)
        row = visible_torrent(connection, info_hash, caller)
        gated = gate(view, info_hash=row.info_hash, category=row.category)
        if gated is not None:
            return Response(gated.model_dump_json(by_alias=True), media_type="application/json")
        comments = list_comments(connection, row.id, limit=COMMENTS_SHOWN) if row.comments else []
    stored = services.torrents
    return json_response(
        TorrentDetailJson(
            **json_fields(row, view.categories),
            description=row.description,
            piece_length=row.piece_length,
            files=[
                ContentFileJson(path=file.path, length=file.length)
                for file in stored.content_files(row.file_ref)
            ],
            nfo=stored.nfo(row.nfo_ref) if row.nfo_ref else None,
            magnet_link=magnet_link(
                row.info_hash, row.info_hash_v2, row.name, stored.addresses.http
            ),
            comments=[_comment_json(comment) for comment in comments],
        )
    )


def _comment_json(row: CommentRow) -> CommentJson:
    at = instant_text(row.created_at)
    return CommentJson(
        id=row.id,
        torrent_id=row.torrent,
        author_id=row.author,
        author=MemberRefJson(id=row.author, username=row.author_name),
        content=row.content,
        created_at=at,
        updated_at=at,
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
