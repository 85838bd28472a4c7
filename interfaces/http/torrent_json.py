"""Torrents as bytes: what `TorrentReply` declares, encoded without building it.

The hot pages spend most of their time on models else. A test holds both to the same fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from fastapi import Response

from domain.taxonomy import slugify
from interfaces.http.models import instant_text
from interfaces.http.paging import Pagination
from projections.catalogue_views import CategoryTree
from projections.taxonomy import CategoryRow
from projections.torrent_lists import ListedTorrent
from projections.torrent_pages import TorrentRow

_encoder = msgspec.json.Encoder()


class _Json(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JSON object in camelCase."""


class CategoryRefJson(_Json, frozen=True, kw_only=True):
    id: UUID
    name: str
    slug: str
    type: str | None


class TagRefJson(_Json, frozen=True, kw_only=True):
    name: str
    slug: str


class MemberRefJson(_Json, frozen=True, kw_only=True):
    id: UUID
    username: str | None


class SwarmJson(_Json, frozen=True, kw_only=True):
    seeders: int
    leechers: int
    completed: int


class TorrentJson(_Json, frozen=True, kw_only=True):
    """`TorrentReply`, field by field."""

    id: UUID
    info_hash: str
    info_hash_v2: str | None
    name: str
    size: int
    file_count: int
    category_id: UUID | None
    category: CategoryRefJson | None
    uploader_id: UUID
    uploader: MemberRefJson
    moderation_status: str
    is_active: bool = True
    is_approved: bool
    created_at: str
    moderated_at: str | None
    moderated_by: MemberRefJson | None
    imdb_id: str | None
    tmdb_id: str | None
    tvdb_id: str | None
    igdb_id: str | None
    openlibrary_id: str | None
    tags: list[TagRefJson]
    stats: SwarmJson
    comment_count: int
    viewer_favorited: bool


class FavoriteJson(TorrentJson, frozen=True, kw_only=True):
    """`FavoriteReply`, field by field."""

    favorited_at: str


class ContentFileJson(_Json, frozen=True, kw_only=True):
    path: str
    length: int


class CommentJson(_Json, frozen=True, kw_only=True):
    id: UUID
    torrent_id: UUID
    author_id: UUID
    author: MemberRefJson
    content: str | None
    created_at: str
    updated_at: str


class TorrentDetailJson(TorrentJson, frozen=True, kw_only=True):
    """`TorrentDetailReply`, field by field."""

    description: str
    piece_length: int
    files: list[ContentFileJson]
    nfo: str | None
    magnet_link: str
    comments: list[CommentJson]


class PaginationJson(_Json, frozen=True, kw_only=True):
    page: int
    limit: int
    total: int
    pages: int
    total_exact: bool


class TorrentPageJson(_Json, frozen=True, kw_only=True):
    """`Page[TorrentReply]`, field by field."""

    data: Sequence[TorrentJson]
    pagination: PaginationJson
    next_cursor: str | None


def json_response(body: msgspec.Struct) -> Response:
    """The answer with this body."""
    return Response(_encoder.encode(body), media_type="application/json")


def page_response(data: Sequence[TorrentJson], counts: Pagination, cursor: str | None) -> Response:
    """The answer with this page of torrents."""
    return json_response(
        TorrentPageJson(
            data=data,
            pagination=PaginationJson(
                page=counts.page,
                limit=counts.limit,
                total=counts.total,
                pages=counts.pages,
                total_exact=counts.total_exact,
            ),
            next_cursor=cursor,
        )
    )


def torrent_json(row: ListedTorrent, tree: CategoryTree) -> TorrentJson:
    """A row of the catalogue."""
    return TorrentJson(**json_fields(row, tree))


def json_fields(row: ListedTorrent | TorrentRow, tree: CategoryTree) -> dict[str, Any]:
    """Fields of `TorrentJson` that a list's row and a page's row have alike."""
    category = tree.by_id.get(row.category) if row.category else None
    return {
        "id": row.id,
        "info_hash": row.info_hash,
        "info_hash_v2": row.info_hash_v2,
        "name": row.name,
        "size": row.size,
        "file_count": row.file_count,
        "category_id": row.category,
        "category": _category_ref(category) if category else None,
        "uploader_id": row.uploader,
        "uploader": MemberRefJson(id=row.uploader, username=row.uploader_name),
        "moderation_status": row.status,
        "is_approved": row.status == "accepted",
        "created_at": instant_text(row.created_at),
        "moderated_at": instant_text(row.moderated_at) if row.moderated_at else None,
        "moderated_by": (
            MemberRefJson(id=row.moderator, username=row.moderator_name) if row.moderator else None
        ),
        "imdb_id": row.imdb,
        "tmdb_id": row.tmdb,
        "tvdb_id": row.tvdb,
        "igdb_id": row.igdb,
        "openlibrary_id": row.openlibrary,
        "tags": [_tag_ref(tag) for tag in row.tags],
        "stats": SwarmJson(seeders=row.seeders, leechers=row.leechers, completed=row.completed),
        "comment_count": row.comments,
        "viewer_favorited": row.favorited,
    }


@lru_cache(maxsize=1_000)
def _category_ref(category: CategoryRow) -> CategoryRefJson:
    return CategoryRefJson(
        id=category.id, name=category.name, slug=category.slug, type=category.type
    )


@lru_cache(maxsize=10_000)
def _tag_ref(name: str) -> TagRefJson:
    return TagRefJson(name=name, slug=slugify(name))
