"""What moderators see first: what waits, what they did, what was decided last."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from fastapi import APIRouter

from domain.permissions import Permission
from interfaces.http.deps import Moderator, Reads, Services
from interfaces.http.models import Instant, Reply
from interfaces.http.torrent_replies import (
    MemberRefReply,
    TorrentReply,
    categories_by_id,
    torrent_reply,
)
from projections.moderation import (
    ActionRow,
    count_actions,
    count_threads,
    list_recent_actions,
)
from projections.reports import count_decided, count_reports
from projections.torrent_lists import list_pending_torrents

router = APIRouter(tags=["Moderation"])

WEEK: Final = timedelta(days=7)
PENDING_SHOWN: Final = 5
ACTIONS_SHOWN: Final = 10


class DashboardCounts(Reply):
    """What waits for a moderator.

    `activeHnr` are broken obligations to seed. No fact makes such an obligation, so there is none.
    """

    pending_torrents: int
    pending_reports: int
    active_hnr: int = 0


class ModeratorStats(Reply):
    """What the caller did in the last 7 days: uploads and reports he decided about."""

    actions_this_week: int
    reports_closed_this_week: int


class ModeratorReply(Reply):
    """The caller."""

    id: UUID
    username: str
    is_admin: bool
    is_moderator: bool


class ActionTorrentReply(Reply):
    """The upload a decision was about."""

    id: UUID
    info_hash: str | None
    name: str | None


class ActionReply(Reply):
    """A decision about an upload: who led it where."""

    torrent: ActionTorrentReply
    moderator: MemberRefReply
    status: str
    created_at: Instant


class DashboardReply(Reply):
    """The dashboard: `recentPending` and `recentActions` have the newest first."""

    counts: DashboardCounts
    my_stats: ModeratorStats
    me: ModeratorReply
    recent_pending: list[TorrentReply]
    recent_actions: list[ActionReply]


@router.get("/api/mod/dashboard")
def show_mod_dashboard(caller: Moderator, reads: Reads, services: Services) -> DashboardReply:
    """Show what waits, what the caller did this week, and what was decided last."""
    since = services.clock() - WEEK
    with reads.connection() as connection:
        counts = DashboardCounts(
            pending_torrents=count_threads(connection, "pending"),
            pending_reports=count_reports(connection).get("pending", 0),
        )
        stats = ModeratorStats(
            actions_this_week=count_actions(connection, caller.account, since),
            reports_closed_this_week=count_decided(connection, caller.account, since),
        )
        pending = list_pending_torrents(connection, status="pending", limit=PENDING_SHOWN, offset=0)
        actions = list_recent_actions(connection, limit=ACTIONS_SHOWN)
        categories = categories_by_id(connection)
    return DashboardReply(
        counts=counts,
        my_stats=stats,
        me=ModeratorReply(
            id=caller.account,
            username=caller.username,
            is_admin=Permission.CAN_ACCESS_ADMIN in caller.permissions,
            is_moderator=Permission.CAN_MODERATE in caller.permissions,
        ),
        recent_pending=[torrent_reply(row, categories) for row in pending],
        recent_actions=[_action_reply(row) for row in actions],
    )


def _action_reply(row: ActionRow) -> ActionReply:
    return ActionReply(
        torrent=ActionTorrentReply(id=row.torrent, info_hash=row.info_hash, name=row.name),
        moderator=MemberRefReply(id=row.moderator, username=row.moderator_name),
        status=row.status,
        created_at=row.created_at,
    )
