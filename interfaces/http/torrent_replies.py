"""Torrents as the API answers them, and who may see which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote
from uuid import UUID

from psycopg import Connection

from application.bus import Actor
from application.moderation import is_staff
from domain.errors import Unauthenticated
from domain.taxonomy import slugify
from domain.torrents import TorrentNotFound
from interfaces.http.models import Instant, Reply
from projections.site import read_site
from projections.taxonomy import CategoryRow, list_categories
from projections.torrent_browse import Viewer
from projections.torrent_lists import ListedTorrent
from projections.torrent_pages import TorrentRow, find_torrent

_HASH = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}")


class CategoryRefReply(Reply):
    """A category, as far as a torrent's row shows it."""

    id: UUID
    name: str
    slug: str
    type: str | None


class TagRefReply(Reply):
    """A tag of a torrent."""

    name: str
    slug: str


class MemberRefReply(Reply):
    """A member, by name."""

    id: UUID
    username: str | None


class SwarmReply(Reply):
    """Peers now, and members who completed it."""

    seeders: int
    leechers: int
    completed: int


class TorrentReply(Reply):
    """A torrent in a list. `size` is in bytes, hashes are hex; v2 hashes have 64 digits.

    `viewerFavorited` is whether it is one of the caller's favourites.
    """

    id: UUID
    info_hash: str
    info_hash_v2: str | None
    name: str
    size: int
    file_count: int
    category_id: UUID | None
    category: CategoryRefReply | None
    uploader_id: UUID
    uploader: MemberRefReply
    moderation_status: str
    is_active: bool = True
    is_approved: bool
    created_at: Instant
    moderated_at: Instant | None
    moderated_by: MemberRefReply | None
    imdb_id: str | None
    tmdb_id: str | None
    tvdb_id: str | None
    igdb_id: str | None
    openlibrary_id: str | None
    tags: list[TagRefReply]
    stats: SwarmReply
    comment_count: int
    viewer_favorited: bool


def viewer_of(actor: Actor | None) -> Viewer:
    """What the caller may see in lists."""
    return Viewer(account=actor.account if actor else None, is_staff=is_staff(actor))


def require_open_catalogue(conn: Connection, actor: Actor | None) -> None:
    """Ask strangers to sign in where the operator closed the catalogue."""
    if actor is None and read_site(conn).settings["catalogueVisibility"] == "members":
        raise Unauthenticated()


def visible_torrent(conn: Connection, info_hash: str, actor: Actor | None) -> TorrentRow:
    """The torrent of a hash, accepted, one's own, or any for staff.

    Raises `TorrentNotFound`, the same for a hidden one and for what is no hash.
    """
    row = known_torrent(conn, info_hash, actor)
    if not may_see(row, actor):
        raise TorrentNotFound()
    return row


def known_torrent(conn: Connection, info_hash: str, actor: Actor | None = None) -> TorrentRow:
    """The torrent of a hash, whoever may see it. Raises `TorrentNotFound`."""
    viewer = actor.account if actor else None
    row = find_torrent(conn, info_hash, viewer) if _HASH.fullmatch(info_hash) else None
    if row is None:
        raise TorrentNotFound()
    return row


def may_see(row: TorrentRow, actor: Actor | None) -> bool:
    """Whether this caller may know of the torrent."""
    if row.status == "accepted" or is_staff(actor):
        return True
    return actor is not None and actor.account == row.uploader


def may_moderate_thread(row: TorrentRow, actor: Actor) -> bool:
    """Whether the caller takes part in the torrent's thread: its uploader and staff."""
    return is_staff(actor) or actor.account == row.uploader


Categories = Mapping[UUID, CategoryRow]


def categories_by_id(conn: Connection) -> Categories:
    """All categories, to show beside torrents."""
    return {row.id: row for row in list_categories(conn)}


def torrent_reply(row: ListedTorrent | TorrentRow, categories: Categories) -> TorrentReply:
    """The row as lists show it."""
    return TorrentReply.model_validate(torrent_fields(row, categories))


def torrent_fields(row: ListedTorrent | TorrentRow, categories: Categories) -> dict[str, object]:
    """Fields of `TorrentReply`."""
    moderator = (
        MemberRefReply(id=row.moderator, username=row.moderator_name) if row.moderator else None
    )
    return {
        "id": row.id,
        "info_hash": row.info_hash,
        "info_hash_v2": row.info_hash_v2,
        "name": row.name,
        "size": row.size,
        "file_count": row.file_count,
        "category_id": row.category,
        "category": category_ref(row.category, categories),
        "uploader_id": row.uploader,
        "uploader": MemberRefReply(id=row.uploader, username=row.uploader_name),
        "moderation_status": row.status,
        "is_approved": row.status == "accepted",
        "created_at": row.created_at,
        "moderated_at": row.moderated_at,
        "moderated_by": moderator,
        "imdb_id": row.imdb,
        "tmdb_id": row.tmdb,
        "tvdb_id": row.tvdb,
        "igdb_id": row.igdb,
        "openlibrary_id": row.openlibrary,
        "tags": _tag_refs(row.tags),
        "stats": SwarmReply(seeders=row.seeders, leechers=row.leechers, completed=row.completed),
        "comment_count": row.comments,
        "viewer_favorited": row.favorited,
    }


def category_ref(category: UUID | None, categories: Categories) -> CategoryRefReply | None:
    """The category of that id, as far as a torrent's row shows it."""
    row = categories.get(category) if category else None
    if row is None:
        return None
    return CategoryRefReply(id=row.id, name=row.name, slug=row.slug, type=row.type)


def _tag_refs(tags: Sequence[str]) -> list[TagRefReply]:
    return [TagRefReply(name=tag, slug=slugify(tag)) for tag in tags]


def magnet_link(info_hash: str, info_hash_v2: str | None, name: str, announce: str) -> str:
    """A magnet link without any passkey (BEP 9; `urn:btmh` with a SHA-256 multihash, BEP 52)."""
    topics = []
    if info_hash_v2 is None or info_hash_v2[:40] != info_hash:
        topics.append(f"xt=urn:btih:{info_hash}")
    if info_hash_v2 is not None:
        topics.append(f"xt=urn:btmh:1220{info_hash_v2}")
    shown = quote(name, safe="", errors="replace")
    return f"magnet:?{'&'.join(topics)}&dn={shown}&tr={quote(announce, safe='')}"
