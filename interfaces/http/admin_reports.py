"""The queue of reports, for staff."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from application.reports import DecidedReport, DecideReport
from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.reports import (
    BAN_REASON_LENGTH,
    RESOLUTION_LENGTH,
    BanDuration,
    ReportNotFound,
    TargetType,
    Verdict,
)
from interfaces.http.deps import Commands, Reads, Services, Staff
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Prose
from interfaces.http.paging import Page, PageNumber, offset_of, pagination, write_cursor
from interfaces.http.reports import (
    After,
    PageSize,
    ReportCounts,
    ReportId,
    ReportReply,
    before_of,
    counts_reply,
    report_fields,
)
from interfaces.http.torrent_replies import MemberRefReply
from projections import reports
from projections.reports import ReportRow, Status, count_reports, find_report

router = APIRouter(tags=["Reports"])


class StaffReportReply(ReportReply):
    """A report as staff sees it; `owner` is who answers for the target.

    `ban` is how long resolving it banned him, null where nothing was resolved.
    """

    reporter_id: UUID
    reporter: MemberRefReply
    owner: MemberRefReply
    ban: BanDuration | None


class ReportsReply(Page[StaffReportReply]):
    """One page of reports, the newest first. `counts` follow `target_type`, not `status`."""

    counts: ReportCounts


class DecideReportBody(Body):
    """The verdict and a note to the reporter.

    `banDuration` bans the member a resolved report is about; he is told `banReason`, without it
    the note, without that the report's own reason. A month and a year are calendar ones.
    """

    status: Verdict
    resolution: Annotated[Prose, Field(max_length=RESOLUTION_LENGTH)] | None = None
    ban_duration: BanDuration = "none"
    ban_reason: Annotated[Prose, Field(max_length=BAN_REASON_LENGTH)] | None = None


class DecideReportReply(StaffReportReply):
    """The report as it was decided, and what that brought about."""

    success: Literal[True] = True
    banned_until: Instant | None
    torrent_rejected: bool


@router.get("/api/admin/reports")
def list_reports(
    _caller: Staff,
    reads: Reads,
    *,
    target_type: TargetType | None = None,
    status: Status | Literal["all"] = "all",
    page: PageNumber = 1,
    limit: PageSize = 20,
    after: After = None,
) -> ReportsReply:
    """List reports by what they are about and where they stand.

    Those withdrawn are listed on demand only: that they were, without their words.
    """
    behind = before_of(after)
    wanted = None if status == "all" else status
    with reads.connection() as connection:
        rows = reports.list_reports(
            connection,
            target_type=target_type,
            status=wanted,
            limit=limit + 1,
            offset=0 if behind else offset_of(page, limit),
            before=behind,
        )
        amounts = count_reports(connection, target_type=target_type)
    counts = counts_reply(amounts)
    total = counts.all if wanted is None else amounts.get(wanted, 0)
    shown = rows[:limit]
    return ReportsReply(
        data=[StaffReportReply.model_validate(_staff_fields(row)) for row in shown],
        counts=counts,
        pagination=pagination(page, limit, total),
        next_cursor=write_cursor(shown[-1].filed) if len(rows) > limit else None,
    )


@router.put("/api/admin/reports/{id}", responses=refusals(Invalid, Forbidden, NotFound, Conflict))
def decide_report(
    report: ReportId,
    body: DecideReportBody,
    caller: Staff,
    services: Services,
    reads: Reads,
    *,
    call: Commands,
) -> DecideReportReply:
    """Resolve or dismiss a report, once. Resolving one about a torrent rejects the torrent."""
    with reads.connection() as connection:
        row = find_report(connection, report)
    if row is None:
        raise ReportNotFound()
    decided: DecidedReport = call.dispatch(
        DecideReport(
            report=report,
            verdict=body.status,
            resolution=body.resolution,
            ban=body.ban_duration,
            ban_reason=body.ban_reason,
        )
    )
    if decided.banned is not None:
        services.sessions.forget_account(decided.banned)
    fields = _staff_fields(row) | {
        "status": decided.verdict,
        "resolution": (body.resolution or "").strip() or None,
        "resolver": MemberRefReply(id=caller.account, username=caller.username),
        "resolved_at": decided.at,
        "ban": body.ban_duration if decided.verdict == "resolved" else None,
        "banned_until": decided.banned_until,
        "torrent_rejected": decided.rejected is not None,
    }
    return DecideReportReply.model_validate(fields)


def _staff_fields(row: ReportRow) -> dict[str, object]:
    return report_fields(row, is_staff=True) | {
        "reporter_id": row.reporter,
        "reporter": MemberRefReply(id=row.reporter, username=row.reporter_name),
        "owner": MemberRefReply(id=row.owner, username=row.owner_name),
        "ban": row.ban,
    }
