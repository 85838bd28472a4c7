"""Numbers about the whole site, for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request

from interfaces.http.deps import Reads, Services
from interfaces.http.models import Instant, Reply
from projections.stats import SiteCounters, SwarmTotals, find_site_counters, find_swarm_totals

router = APIRouter(tags=["Public"])

KEPT = timedelta(seconds=15)
"""Sums over all swarms are asked for at most this often, as in the reference."""


class CachedStatsReply(Reply):
    """Sums as of `updatedAt`; `totalUploaded` is bytes, as text for clients without big integers."""

    users: int
    torrents: int
    peers: int
    seeders: int
    leechers: int
    total_uploaded: str
    updated_at: Instant


class LiveStatsReply(Reply):
    """Torrents as of now, and peers as of the last sum."""

    torrents: int
    peers: int


class ProtocolsReply(Reply):
    """How clients can reach the tracker."""

    http: bool
    udp: bool
    ws: bool = False


class PublicStatsReply(Reply):
    """Members, torrents in the catalogue, swarms, and the ways to announce."""

    users: int
    cached: CachedStatsReply
    live: LiveStatsReply
    protocols: ProtocolsReply


@dataclass(frozen=True)
class _Summed:
    at: datetime
    counters: SiteCounters
    swarms: SwarmTotals


class SumCache:
    """The last sums of this process."""

    def __init__(self) -> None:
        self.last: _Summed | None = None

    def fresh(self, at: datetime) -> _Summed | None:
        """The last sums, unless they are too old at `at`."""
        if self.last is None or not timedelta(0) <= at - self.last.at < KEPT:
            return None
        return self.last


async def _sums_of(request: Request) -> SumCache:
    state = request.app.state
    if not hasattr(state, "public_sums"):
        state.public_sums = SumCache()
    return cast("SumCache", state.public_sums)


@router.get("/api/stats/public")
def show_public_stats(
    reads: Reads, services: Services, sums: Annotated[SumCache, Depends(_sums_of)]
) -> PublicStatsReply:
    """Show counters of the site and its swarms."""
    now = services.clock()
    with reads.connection() as connection:
        counters = find_site_counters(connection)
        summed = sums.fresh(now)
        if summed is None:
            summed = _Summed(now, counters, find_swarm_totals(connection))
            sums.last = summed
    swarms = summed.swarms
    peers = swarms.seeders + swarms.leechers
    return PublicStatsReply(
        users=counters.users,
        cached=CachedStatsReply(
            users=summed.counters.users,
            torrents=summed.counters.torrents,
            peers=peers,
            seeders=swarms.seeders,
            leechers=swarms.leechers,
            total_uploaded=str(swarms.uploaded),
            updated_at=summed.at,
        ),
        live=LiveStatsReply(torrents=counters.torrents, peers=peers),
        protocols=ProtocolsReply(http=True, udp=services.torrents.addresses.udp is not None),
    )
