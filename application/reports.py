"""Filing, withdrawing and deciding reports, with everything a decision brings about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec

from application.account_bans import record_ban_account
from application.bus import Handler, TakenErrors, Unit
from application.moderation import is_staff, name_of, record_reject_torrent
from application.store.private_text import KIND as SUBJECT_KEY
from domain import (
    comments,
    forum_posts,
    forum_topics,
    moderation,
    notices,
    reports,
    torrents,
    users,
)
from domain.account_bans import later_end
from domain.reports import BanDuration, Report, TargetType, Verdict


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """Report something to staff under the id `report`."""

    report: UUID
    target_type: TargetType
    target: UUID
    reason: str
    details: str | None = None


class WithdrawReport(msgspec.Struct, frozen=True, kw_only=True):
    """Take a pending report of the caller back and destroy its words."""

    report: UUID


class DecideReport(msgspec.Struct, frozen=True, kw_only=True):
    """Resolve or dismiss a report; `ban` and `ban_reason` go with resolving one of a member."""

    report: UUID
    verdict: Verdict
    resolution: str | None = None
    ban: BanDuration = "none"
    ban_reason: str | None = None


class FiledReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report as it was filed. Its words are in no answer that is kept."""

    report: UUID
    created_at: datetime


class DecidedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision brought about: the member banned and until when, the torrent rejected.

    A ban that was in force and ends later stays, and is the one told of here.
    """

    report: UUID
    verdict: Verdict
    at: datetime
    banned: UUID | None = None
    banned_until: datetime | None = None
    rejected: UUID | None = None


class _Target(msgspec.Struct, frozen=True):
    """Who answers for what is reported, and the torrent it belongs to."""

    owner: UUID
    torrent: UUID | None


def handle_file_report(unit: Unit, command: FileReport) -> FiledReport:
    """File it and tell staff.

    Raises `TargetNotFound`, `AlreadyReported`, and the refusals of `file_report`.
    """
    reporter = unit.actor.account
    target = _TARGETS[command.target_type](unit, command.target)
    if target is None:
        raise reports.TargetNotFound()
    facts = reports.file_report(
        command.report,
        reporter=reporter,
        target_type=command.target_type,
        target=command.target,
        owner=target.owner,
        torrent=target.torrent,
        reason=command.reason,
        details=command.details,
    )
    pending = reports.pending_claim(reporter, command.target_type, command.target)
    earlier = unit.claim_owner(pending)
    if earlier is not None:
        raise reports.AlreadyReported(report=str(earlier))
    unit.record(command.report, 0, facts)
    _record_notice(unit, "new_report_filed", command.report, recipient=None)
    return FiledReport(report=command.report, created_at=unit.at)


def handle_withdraw_report(unit: Unit, command: WithdrawReport) -> None:
    """Withdraw it; the key of its words goes in the same append.

    Raises the refusals of `withdraw_report`, telling who decided where staff was faster.
    """
    report = find_report(unit, command.report)
    try:
        facts = reports.withdraw_report(report, member=unit.actor.account)
    except reports.ReportAlreadyDecided as refusal:
        raise _told_by_whom(unit, refusal) from None
    unit.record(command.report, report.version if report else 0, facts)
    unit.erase(SUBJECT_KEY, command.report, "")


def handle_decide_report(unit: Unit, command: DecideReport) -> DecidedReport:
    """Decide it, ban or reject what it is about, and tell the reporter, in one append.

    Raises the refusals of `decide_report`, `ban_reason` and `ban_account`.
    """
    report = find_report(unit, command.report)
    try:
        facts = reports.decide_report(
            report,
            verdict=command.verdict,
            moderator=unit.actor.account,
            resolution=command.resolution,
            ban=command.ban,
        )
    except reports.ReportAlreadyDecided as refusal:
        raise _told_by_whom(unit, refusal) from None
    if report is None:
        raise reports.ReportNotFound()
    unit.record(report.id, report.version, facts)
    _record_notice(unit, "report_actioned", report.id, recipient=report.reporter)
    banned, until = _record_ban(unit, report, command)
    return DecidedReport(
        report=report.id,
        verdict=command.verdict,
        at=unit.at,
        banned=banned,
        banned_until=until,
        rejected=_record_rejection(unit, report, command),
    )


def find_report(unit: Unit, report: UUID) -> Report | None:
    """The report with this id, None when there is none."""
    return unit.find(report, reports.evolve)


def _record_ban(
    unit: Unit, report: Report, command: DecideReport
) -> tuple[UUID | None, datetime | None]:
    if command.ban == "none":
        return None, None
    until = reports.ban_end(command.ban, unit.at)
    reason = reports.ban_reason(report, reason=command.ban_reason, resolution=command.resolution)
    account = record_ban_account(unit, report.target, reason=reason, until=until, replaces=False)
    before = account.ban
    if before is not None and before.holds(unit.at):
        # A second report never lets a member in sooner than the first decision said.
        until = later_end(before.until, until)
    return report.target, until


def _record_rejection(unit: Unit, report: Report, command: DecideReport) -> UUID | None:
    if report.target_type != "torrent" or command.verdict != "resolved":
        return None
    made = record_reject_torrent(
        unit,
        report.target,
        message_id=uuid5(report.id, "rejection"),
        message=reports.rejection_message(report, command.resolution),
    )
    return report.target if made else None


def _record_notice(
    unit: Unit, kind: notices.NoticeKind, report: UUID, *, recipient: UUID | None
) -> None:
    facts = notices.raise_notice(
        kind,
        subject_kind="report",
        subject=report,
        recipient=recipient,
        by=unit.actor.account,
    )
    unit.record(notices.notice_id(kind, report), 0, facts)


def _told_by_whom(
    unit: Unit, refusal: reports.ReportAlreadyDecided
) -> reports.ReportAlreadyDecided:
    """The same refusal with the name of the one who decided."""
    decided_by = refusal.data["moderator"]
    return reports.ReportAlreadyDecided(
        moderator=name_of(unit, decided_by), status=refusal.data["status"]
    )


def _user(unit: Unit, target: UUID) -> _Target | None:
    account = unit.find(target, users.evolve)
    return _Target(owner=account.id, torrent=None) if account else None


def _torrent(unit: Unit, target: UUID) -> _Target | None:
    """A torrent the caller may see: accepted, his own, or any for staff."""
    torrent = unit.find(target, torrents.evolve)
    if torrent is None or torrent.withdrawn:
        return None
    thread = unit.load(moderation.thread_id(target), moderation.evolve)
    is_listed = thread is not None and thread.status == "accepted"
    if not (is_listed or is_staff(unit.actor) or unit.actor.account == torrent.uploader):
        return None
    return _Target(owner=torrent.uploader, torrent=torrent.id)


def _comment(unit: Unit, target: UUID) -> _Target | None:
    """A comment below a torrent the caller may see."""
    comment = unit.find(target, comments.evolve)
    if comment is None or comment.deleted or _torrent(unit, comment.torrent) is None:
        return None
    return _Target(owner=comment.author, torrent=comment.torrent)


def _topic(unit: Unit, target: UUID) -> _Target | None:
    topic = unit.find(target, forum_topics.evolve)
    return _Target(owner=topic.author, torrent=None) if topic and not topic.deleted else None


def _post(unit: Unit, target: UUID) -> _Target | None:
    """A post of a topic that is there."""
    post = unit.find(target, forum_posts.evolve)
    if post is None or post.deleted or _topic(unit, post.topic) is None:
        return None
    return _Target(owner=post.author, torrent=None)


_TARGETS: Final[dict[TargetType, Callable[[Unit, UUID], _Target | None]]] = {
    "user": _user,
    "torrent": _torrent,
    "comment": _comment,
    "post": _post,
    "topic": _topic,
}

HANDLERS: dict[type, Handler] = {
    FileReport: handle_file_report,
    WithdrawReport: handle_withdraw_report,
    DecideReport: handle_decide_report,
}
TAKEN: TakenErrors = {"report.pending": reports.AlreadyReported}
