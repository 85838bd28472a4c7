"""Torrents of the same content, and how far their swarms are the same members."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Annotated, Final, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from application.ports import Clock
from domain.errors import NotFound, Unavailable
from interfaces.http.catalogue_access import GatedTorrentReply, Trees, gate, open_view
from interfaces.http.deps import Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply
from interfaces.http.torrent_replies import (
    CategoryRefReply,
    MemberRefReply,
    category_ref,
    viewer_of,
    visible_torrent,
)
from projections.cross_seeds import (
    CrossSeedFigures,
    FiguresGivenUp,
    find_cross_seed_figures,
    list_siblings,
)

router = APIRouter(tags=["Torrents"])

KEPT: Final = timedelta(seconds=30)
"""Sums over a swarm are made at most this often for a torrent, as in the reference."""
GIVEN_UP: Final = timedelta(seconds=5)
"""Sums that took too long are not tried again so soon."""
PATIENCE: Final = 2.5
"""Seconds to wait for another request's sums; these take `LONGEST` at most."""
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


class CrossSeedsTooSlow(Unavailable):
    """The sums over a swarm took too long and were given up."""

    code = "cross_seeds_too_slow"
    message = "These sums take too long at the moment; try again."


class FiguresCache:
    """The last sums of some torrents, the least lately asked for dropped first.

    Sums of one torrent are made by one request at a time; those that come meanwhile wait for it.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[datetime, CrossSeedFigures | None]] = OrderedDict()
        self._turns: dict[UUID, _Turn] = {}
        self._lock = Lock()

    def find(
        self, torrent: UUID, clock: Clock, make: Callable[[], CrossSeedFigures]
    ) -> CrossSeedFigures:
        """The sums of a torrent, made now unless there are some. Raises `CrossSeedsTooSlow`."""
        figures = self.fresh(torrent, clock())
        if figures is not None:
            return figures
        with self._lock:
            turn = self._turns.setdefault(torrent, _Turn())
            turn.wanted_by += 1
        try:
            if not turn.lock.acquire(timeout=PATIENCE):
                raise CrossSeedsTooSlow(retry_after=5)
            try:
                return self.fresh(torrent, clock()) or self._made(torrent, clock, make)
            finally:
                turn.lock.release()
        finally:
            with self._lock:
                turn.wanted_by -= 1
                if not turn.wanted_by:
                    del self._turns[torrent]

    def _made(
        self, torrent: UUID, clock: Clock, make: Callable[[], CrossSeedFigures]
    ) -> CrossSeedFigures:
        try:
            figures = make()
        except FiguresGivenUp:
            self.keep(torrent, clock(), None)
            raise CrossSeedsTooSlow(retry_after=5) from None
        self.keep(torrent, clock(), figures)
        return figures

    def fresh(self, torrent: UUID, at: datetime) -> CrossSeedFigures | None:
        """The sums of a torrent, unless they are too old at `at`.

        Raises `CrossSeedsTooSlow` where they were given up a moment before.
        """
        with self._lock:
            made_at, figures = self._kept.get(torrent, (None, None))
            if made_at is None:
                return None
            age, kept = at - made_at, KEPT if figures else GIVEN_UP
            if not timedelta(0) <= age < kept:
                return None
            self._kept.move_to_end(torrent)
        if figures is None:
            raise CrossSeedsTooSlow(retry_after=5)
        return figures

    def keep(self, torrent: UUID, at: datetime, figures: CrossSeedFigures | None) -> None:
        """Remember sums made at `at`; None that they were given up."""
        with self._lock:
            self._kept[torrent] = (at, figures)
            self._kept.move_to_end(torrent)
            if len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)


class _Turn:
    """Whose turn it is to make the sums of a torrent, and how many requests want them."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.wanted_by = 0


async def _figures_of(request: Request) -> FiguresCache:
    state = request.app.state
    if not hasattr(state, "cross_seed_figures"):
        state.cross_seed_figures = FiguresCache()
    return cast("FiguresCache", state.cross_seed_figures)


@router.get("/api/torrents/{info_hash}/cross-seeds", responses=refusals(NotFound))
def list_cross_seeds(
    info_hash: str, caller: SignedIn, reads: Reads, trees: Trees
) -> CrossSeedsReply | GatedTorrentReply:
    """List torrents of the same content that the caller may see.

    Those of adult categories only where the caller's profile asks for them; of a torrent that is
    one itself nothing else is told.
    """
    with reads.catalogue() as connection:
        view = open_view(connection, trees, caller)
        row = visible_torrent(connection, info_hash, caller)
        gated = gate(view, info_hash=row.info_hash, category=row.category)
        if gated is not None:
            return gated
        siblings = list_siblings(connection, row.id, viewer_of(caller), without=view.without)
    items = [
        SiblingReply(
            id=sibling.id,
            info_hash=sibling.info_hash,
            name=sibling.name,
            size=sibling.size,
            moderation_status=sibling.status,
            created_at=sibling.created_at,
            category=category_ref(sibling.category, view.categories.by_id),
            uploader=MemberRefReply(id=sibling.uploader, username=sibling.uploader_name),
        )
        for sibling in siblings
    ]
    return CrossSeedsReply(items=items, total=len(items))


@router.get("/api/torrents/{info_hash}/cross-seed-stats", responses=refusals(NotFound, Unavailable))
def show_cross_seed_stats(
    info_hash: str,
    caller: SignedIn,
    reads: Reads,
    services: Services,
    *,
    trees: Trees,
    kept: Annotated[FiguresCache, Depends(_figures_of)],
) -> CrossSeedStatsReply | GatedTorrentReply:
    """Show how far the torrent's swarm also seeds accepted torrents of the same content."""
    with reads.catalogue() as connection:
        view = open_view(connection, trees, caller)
        row = visible_torrent(connection, info_hash, caller)
    gated = gate(view, info_hash=row.info_hash, category=row.category)
    if gated is not None:
        return gated

    def make() -> CrossSeedFigures:
        with reads.connection() as connection, connection.transaction():
            return find_cross_seed_figures(connection, row.id)

    # Whoever waits for another's sums keeps no connection meanwhile.
    figures = kept.find(row.id, services.clock, make)
    return CrossSeedStatsReply(
        other_torrent_count=figures.siblings,
        seeder_count=figures.seeders,
        leecher_count=figures.leechers,
        uploaded_share_bytes=str(figures.shared),
        total_uploaded_bytes=str(figures.uploaded),
    )
