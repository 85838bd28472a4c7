"""The signed-in member's own downloads and seeds."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from interfaces.http.deps import Reads, SignedIn
from interfaces.http.models import Instant, Reply
from interfaces.http.paging import PageNumber, offset_of
from interfaces.http.torrent_replies import (
    Categories,
    CategoryRefReply,
    categories_by_id,
    category_ref,
)
from projections.holdings import moment
from projections.member_torrents import (
    MemberTorrentRow,
    count_member_torrents,
    list_member_torrents,
)

router = APIRouter(tags=["Profile"])

PageSize = Annotated[int, Query(alias="pageSize", ge=1, le=100, description="Rows of a page.")]


class MemberTorrentReply(Reply):
    """A torrent of the member. `downloadedAt` is when he began it, null `completedAt` is never.

    No obligation to seed exists so far: nothing is a hit-and-run, and nothing is exempt.
    """

    id: UUID
    info_hash: str
    name: str
    size: int
    category: CategoryRefReply | None
    downloaded_at: Instant | None
    completed_at: Instant | None
    is_hnr: bool = False
    is_exempt: bool = False


class DownloadReply(MemberTorrentReply):
    """A torrent he downloads or downloaded, with the bytes credited to him."""

    imdb_id: str | None
    tmdb_id: str | None
    tvdb_id: str | None
    igdb_id: str | None
    openlibrary_id: str | None
    uploaded: int
    downloaded: int


class DownloadsReply(Reply):
    """One page of downloads."""

    items: list[DownloadReply]
    total: int
    page: int
    page_size: int


class SeedReply(MemberTorrentReply):
    """A torrent he holds, with its swarm now; times are seconds."""

    seed_time: int
    required_seed_time: int = 0
    seeders: int
    leechers: int
    completed: int


class SeedCounts(Reply):
    """How many of his torrents are in each state."""

    active: int
    pending: int
    completed: int
    hnr: int
    all: int


class SeedsReply(Reply):
    """One page of torrents in the state asked for, and the numbers of all states."""

    items: list[SeedReply]
    total: int
    page: int
    page_size: int
    counts: SeedCounts


@router.get("/api/me/downloads")
def list_downloads(
    caller: SignedIn, reads: Reads, *, page: PageNumber = 1, page_size: PageSize = 25
) -> DownloadsReply:
    """List the torrents the caller downloads or downloaded, those begun last first."""
    offset = offset_of(page, page_size)
    with reads.connection() as connection:
        rows = list_member_torrents(
            connection, caller.account, "downloaded", limit=page_size, offset=offset
        )
        counts = count_member_torrents(connection, caller.account)
        categories = categories_by_id(connection)
    return DownloadsReply(
        items=[_download_reply(row, categories) for row in rows],
        total=counts.downloaded,
        page=page,
        page_size=page_size,
    )


@router.get("/api/me/seeds")
def list_seeds(
    caller: SignedIn,
    reads: Reads,
    *,
    status: Annotated[
        Literal["active", "pending", "completed", "hnr", "all"],
        Query(
            description="active: seeded now; pending: not whole yet; completed: had, but not "
            "seeded now; hnr: hit-and-runs."
        ),
    ] = "active",
    page: PageNumber = 1,
    page_size: PageSize = 25,
) -> SeedsReply:
    """List the torrents the caller seeds now, or those in another state."""
    offset = offset_of(page, page_size)
    with reads.connection() as connection:
        rows = list_member_torrents(
            connection, caller.account, status, limit=page_size, offset=offset
        )
        counts = count_member_torrents(connection, caller.account)
        categories = categories_by_id(connection)
    shown = SeedCounts(
        active=counts.active,
        pending=counts.pending,
        completed=counts.completed,
        hnr=counts.hnr,
        all=counts.all,
    )
    return SeedsReply(
        items=[_seed_reply(row, categories) for row in rows],
        total=getattr(shown, status),
        page=page,
        page_size=page_size,
        counts=shown,
    )


def _download_reply(row: MemberTorrentRow, categories: Categories) -> DownloadReply:
    return DownloadReply(
        id=row.id,
        info_hash=row.info_hash,
        name=row.name,
        size=row.size,
        category=category_ref(row.category, categories),
        downloaded_at=moment(row.first_at),
        completed_at=moment(row.completed_at),
        imdb_id=row.imdb,
        tmdb_id=row.tmdb,
        tvdb_id=row.tvdb,
        igdb_id=row.igdb,
        openlibrary_id=row.openlibrary,
        uploaded=row.uploaded,
        downloaded=row.downloaded,
    )


def _seed_reply(row: MemberTorrentRow, categories: Categories) -> SeedReply:
    return SeedReply(
        id=row.id,
        info_hash=row.info_hash,
        name=row.name,
        size=row.size,
        category=category_ref(row.category, categories),
        downloaded_at=moment(row.first_at),
        completed_at=moment(row.completed_at),
        seed_time=row.seed_seconds,
        seeders=row.seeders,
        leechers=row.leechers,
        completed=row.completed,
    )
