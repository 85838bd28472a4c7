"""Torrents of the same content, and how far their swarms are the same members."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from threading import Lock
from typing import Annotated, Final, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from domain.errors import NotFound
from interfaces.http.deps import Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply
from interfaces.http.torrent_replies import (
    CategoryRefReply,
    MemberRefReply,
    categories_by_id,
    category_ref,
    viewer_of,
    visible_torrent,
)
from projections.cross_seeds import CrossSeedFigures, find_cross_seed_figures, list_siblings

router = APIRouter(tags=["Torrents"])

KEPT: Final = timedelta(seconds=30)
"""Sums over a swarm are made at most this often for a torrent, as in the reference."""
REMEMBERED: Final = 1_024
"""Torrents whose sums one process keeps."""


class SiblingReply(Reply):
    """A torrent of the same content. `size` is in bytes."""

    id: UUID
    info_hash: str
    name: str
    size: int
    moderation_status: str
    created_at: Instant
    category: CategoryRefReply | None
    uploader: MemberRefReply


class CrossSeedsReply(Reply):
    """At most 50, newest first; `total` counts them."""

    items: list[SiblingReply]
    total: int


class CrossSeedStatsReply(Reply):
    """Clients here whose members are active in a sibling too, and their share of the upload.

    Bytes are text, for clients without big integers.
    """

    other_torrent_count: int
    seeder_count: int
    leecher_count: int
    uploaded_share_bytes: str
    total_uploaded_bytes: str


class FiguresCache:
    """The last sums of some torrents, the least lately asked for dropped first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[datetime, CrossSeedFigures]] = OrderedDict()
        self._lock = Lock()

    def fresh(self, torrent: UUID, at: datetime) -> CrossSeedFigures | None:
        """The sums of a torrent, unless they are too old at `at`."""
        with self._lock:
            made = self._kept.get(torrent)
            if made is None or not timedelta(0) <= at - made[0] < KEPT:
                return None
            self._kept.move_to_end(torrent)
            return made[1]

    def keep(self, torrent: UUID, at: datetime, figures: CrossSeedFigures) -> None:
        """Remember sums made at `at`."""
        with self._lock:
            self._kept[torrent] = (at, figures)
            self._kept.move_to_end(torrent)
            if len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)


def _figures_of(request: Request) -> FiguresCache:
    state = request.app.state
    if not hasattr(state, "cross_seed_figures"):
        state.cross_seed_figures = FiguresCache()
    return cast("FiguresCache", state.cross_seed_figures)


@router.get("/api/torrents/{info_hash}/cross-seeds", responses=refusals(NotFound))
def list_cross_seeds(info_hash: str, caller: SignedIn, reads: Reads) -> CrossSeedsReply:
    """List torrents of the same content that the caller may see."""
    with reads.connection() as connection:
        row = visible_torrent(connection, info_hash, caller)
        siblings = list_siblings(connection, row.id, viewer_of(caller))
        categories = categories_by_id(connection)
    items = [
        SiblingReply(
            id=sibling.id,
            info_hash=sibling.info_hash,
            name=sibling.name,
            size=sibling.size,
            moderation_status=sibling.status,
            created_at=sibling.created_at,
            category=category_ref(sibling.category, categories),
            uploader=MemberRefReply(id=sibling.uploader, username=sibling.uploader_name),
        )
        for sibling in siblings
    ]
    return CrossSeedsReply(items=items, total=len(items))


@router.get("/api/torrents/{info_hash}/cross-seed-stats", responses=refusals(NotFound))
def show_cross_seed_stats(
    info_hash: str,
    caller: SignedIn,
    reads: Reads,
    services: Services,
    kept: Annotated[FiguresCache, Depends(_figures_of)],
) -> CrossSeedStatsReply:
    """Show how far the torrent's swarm also seeds accepted torrents of the same content."""
    now = services.clock()
    with reads.connection() as connection:
        row = visible_torrent(connection, info_hash, caller)
        figures = kept.fresh(row.id, now)
        if figures is None:
            figures = find_cross_seed_figures(connection, row.id)
            kept.keep(row.id, now, figures)
    return CrossSeedStatsReply(
        other_torrent_count=figures.siblings,
        seeder_count=figures.seeders,
        leecher_count=figures.leechers,
        uploaded_share_bytes=str(figures.shared),
        total_uploaded_bytes=str(figures.uploaded),
    )
