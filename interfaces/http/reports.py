"""A member's own reports: filed, listed with what became of them, withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import Field

from application.reports import FiledReport, FileReport, WithdrawReport
from domain.errors import Conflict, NotFound
from domain.reports import (
    DETAILS_LENGTH,
    REASON_LENGTH,
    REASON_SHORTEST,
    ReportStatus,
    TargetType,
)
from interfaces.http.deps import Commands, Reads, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Prose, Reply
from interfaces.http.paging import (
    Page,
    PageNumber,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.torrent_replies import MemberRefReply
from projections import reports
from projections.notices import NoticeRow, notices_about
from projections.reports import ReportRow, count_own_reports

router = APIRouter(tags=["Reports"])

ReportId = Annotated[UUID, Path(alias="id", description="The report's id.")]
OwnStatus = Literal["all", "pending", "resolved", "dismissed"]
PageSize = Annotated[int, Query(ge=1, le=50, description="Rows of a page.")]
After = Annotated[str | None, Query(max_length=200, description="`nextCursor` of the page before.")]


class FileReportBody(Body):
    """What is reported and why: `reason` in short, `details` where it needs more."""

    target_type: TargetType
    target_id: UUID
    reason: Annotated[Prose, Field(min_length=REASON_SHORTEST, max_length=REASON_LENGTH)]
    details: Annotated[Prose, Field(max_length=DETAILS_LENGTH)] | None = None


class NewReportReply(Reply):
    """A report just filed."""

    id: UUID
    reporter_id: UUID
    target_type: TargetType
    target_id: UUID
    reason: str
    details: str | None
    status: ReportStatus
    created_at: Instant


class FileReportReply(Reply):
    success: Literal[True] = True
    message: str = "Report submitted"
    data: NewReportReply


class TargetReply(Reply):
    """What was reported; `link` is null where it is gone or hidden from the one who asks."""

    kind: TargetType
    name: str | None
    link: str | None


class NoticeReply(Reply):
    """That the reporter was told of the outcome, and when."""

    kind: str
    created_at: Instant


class ReportReply(Reply):
    """A report and what became of it. `reason` is null once its words were destroyed."""

    id: UUID
    target_type: TargetType
    target_id: UUID
    target: TargetReply
    reason: str | None
    details: str | None
    status: ReportStatus
    resolution: str | None
    resolver: MemberRefReply | None
    resolved_at: Instant | None
    created_at: Instant


class OwnReportReply(ReportReply):
    """A report of the caller; `notice` is null until staff decided."""

    notice: NoticeReply | None


class ReportCounts(Reply):
    """How many reports stand where; those withdrawn count nowhere."""

    pending: int
    resolved: int
    dismissed: int
    all: int


class OwnReportsReply(Page[OwnReportReply]):
    """One page of the caller's reports, the newest first."""

    counts: ReportCounts


class WithdrawReportReply(Reply):
    success: Literal[True] = True


@router.post("/api/reports", responses=refusals(NotFound, Conflict))
def file_report(body: FileReportBody, caller: SignedIn, call: Commands) -> FileReportReply:
    """Report a member, a torrent, a comment, a forum post or topic to staff.

    A second report on the same target, while the first is pending, is a conflict that names it.
    """
    filed: FiledReport = call.dispatch(
        FileReport(
            report=call.services.entropy.uuid(),
            target_type=body.target_type,
            target=body.target_id,
            reason=body.reason,
            details=body.details,
        )
    )
    return FileReportReply(
        data=NewReportReply(
            id=filed.report,
            reporter_id=caller.account,
            target_type=body.target_type,
            target_id=body.target_id,
            reason=body.reason.strip(),
            details=(body.details or "").strip() or None,
            status="pending",
            created_at=filed.created_at,
        )
    )


@router.get("/api/me/reports")
def list_own_reports(
    caller: SignedIn,
    reads: Reads,
    *,
    status: OwnStatus = "all",
    page: PageNumber = 1,
    limit: PageSize = 25,
    after: After = None,
) -> OwnReportsReply:
    """List the caller's reports and what became of them."""
    behind = before_of(after)
    with reads.connection() as connection:
        rows = reports.list_reports(
            connection,
            reporter=caller.account,
            status=None if status == "all" else status,
            limit=limit + 1,
            offset=0 if behind else offset_of(page, limit),
            before=behind,
        )
        counts = counts_reply(count_own_reports(connection, caller.account))
        told = notices_about(connection, [row.id for row in rows], caller.account)
    shown = rows[:limit]
    return OwnReportsReply(
        data=[_own_report(row, told.get(row.id)) for row in shown],
        counts=counts,
        pagination=pagination(page, limit, getattr(counts, status)),
        next_cursor=write_cursor(shown[-1].filed) if len(rows) > limit else None,
    )


@router.delete("/api/me/reports/{id}", responses=refusals(NotFound, Conflict))
def withdraw_report(report: ReportId, _caller: SignedIn, call: Commands) -> WithdrawReportReply:
    """Withdraw a pending report; its words are destroyed for good. Refused once staff decided."""
    call.dispatch(WithdrawReport(report=report))
    return WithdrawReportReply()


def before_of(after: str | None) -> int | None:
    """The place a cursor walks on from. Raises `BadCursor`."""
    return int(read_cursor(after, int)[0]) if after is not None else None


def counts_reply(counts: Mapping[str, int]) -> ReportCounts:
    """The counts of a list."""
    shown = {status: counts.get(status, 0) for status in ("pending", "resolved", "dismissed")}
    return ReportCounts(**shown, all=sum(shown.values()))


def report_fields(row: ReportRow, *, is_staff: bool) -> dict[str, object]:
    """Fields of `ReportReply`; staff gets links to what is hidden from others."""
    resolver = None
    if row.decided_by is not None:
        resolver = MemberRefReply(id=row.decided_by, username=row.decided_by_name)
    return {
        "id": row.id,
        "target_type": row.target_type,
        "target_id": row.target,
        "target": TargetReply.model_validate(
            {
                "kind": row.target_type,
                "name": row.name,
                "link": _link(row) if row.is_open or is_staff else None,
            }
        ),
        "reason": row.reason,
        "details": row.details,
        "status": row.status,
        "resolution": row.resolution,
        "resolver": resolver,
        "resolved_at": row.decided_at,
        "created_at": row.created_at,
    }


def _own_report(row: ReportRow, told: NoticeRow | None) -> OwnReportReply:
    notice = NoticeReply(kind=told.kind, created_at=told.raised_at) if told else None
    return OwnReportReply.model_validate({**report_fields(row, is_staff=False), "notice": notice})


def _link(row: ReportRow) -> str | None:
    match row.target_type:
        case "user":
            return f"/users/{row.target}"
        case "topic" if row.topic:
            return f"/forum/topics/{row.topic}"
        case "post" if row.topic:
            return f"/forum/topics/{row.topic}#post-{row.target}"
        case "comment" if row.info_hash:
            return f"/torrents/{row.info_hash}#comment-{row.target}"
        case "torrent" if row.info_hash:
            return f"/torrents/{row.info_hash}"
    return None
