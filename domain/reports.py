"""Reports: a member asks staff to look at something; staff resolves or dismisses it, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal
from uuid import UUID

import msgspec

from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel import Claim, Envelope, Fact, Private
from domain.texts import is_storable

REASON_SHORTEST: Final = 10
REASON_LENGTH: Final = 500
DETAILS_LENGTH: Final = 2000
RESOLUTION_LENGTH: Final = 500
BAN_REASON_LENGTH: Final = 500
"""Characters (behaviour of the reference)."""

TargetType = Literal["user", "torrent", "comment", "post", "topic"]
Verdict = Literal["resolved", "dismissed"]
ReportStatus = Literal["pending", "withdrawn", "resolved", "dismissed"]
BanDuration = Literal["none", "1d", "7d", "1m", "1y", "permanent"]
_DAYS: Final = {"1d": 1, "7d": 7}
_MONTHS: Final = {"1m": 1, "1y": 12}


class ReportFiled(Fact, frozen=True):
    """A member reported something to staff.

    `owner` is the member who answers for the target: himself, its uploader or its author.
    `torrent` is the torrent it is, or stands below. The words are sealed under a key of the
    report's own.
    """

    TOPIC: ClassVar[str] = "report.filed.1"

    reporter: UUID
    target_type: TargetType
    target: UUID
    owner: UUID
    torrent: UUID | None
    reason: Private
    details: Private | None

    def claims(self) -> tuple[Claim, ...]:
        return (pending_claim(self.reporter, self.target_type, self.target),)


class ReportWithdrawn(Fact, frozen=True):
    """A member took his report back while it was pending; its words were destroyed with it."""

    TOPIC: ClassVar[str] = "report.withdrawn.1"

    reporter: UUID
    target_type: TargetType
    target: UUID
    torrent: UUID | None

    def releases(self) -> tuple[Claim, ...]:
        return (pending_claim(self.reporter, self.target_type, self.target),)


class ReportResolved(Fact, frozen=True):
    """Staff found a report right and acted upon it; `ban` is how long its owner is banned at least."""

    TOPIC: ClassVar[str] = "report.resolved.1"

    reporter: UUID
    target_type: TargetType
    target: UUID
    torrent: UUID | None
    moderator: UUID
    resolution: Private | None
    ban: BanDuration

    def releases(self) -> tuple[Claim, ...]:
        return (pending_claim(self.reporter, self.target_type, self.target),)


class ReportDismissed(Fact, frozen=True):
    """Staff found nothing to act upon in a report."""

    TOPIC: ClassVar[str] = "report.dismissed.1"

    reporter: UUID
    target_type: TargetType
    target: UUID
    torrent: UUID | None
    moderator: UUID
    resolution: Private | None

    def releases(self) -> tuple[Claim, ...]:
        return (pending_claim(self.reporter, self.target_type, self.target),)


FACTS: tuple[type[Fact], ...] = (ReportFiled, ReportWithdrawn, ReportResolved, ReportDismissed)


class ReportNotFound(NotFound):
    """No such report, withdrawn, or somebody else's."""

    code = "report_not_found"
    message = "Report not found"


class TargetNotFound(NotFound):
    """There is no such thing to report, or it is hidden from the one who asks."""

    code = "target_not_found"
    message = "Target not found"


class OwnReport(Invalid):
    """Nobody reports himself."""

    code = "own_report"
    message = "You can't report yourself"


class AlreadyReported(Conflict):
    """The member has a pending report on the same target (claim kind "report.pending").

    `data["report"]` is its id; it is not told where both were sent at the same moment.
    """

    code = "already_reported"
    message = "You have reported this already; staff has not decided yet."


class ReportAlreadyDecided(Conflict):
    """Staff was faster; `data` has `moderator` and `status`."""

    code = "report_already_decided"
    message = "This report was decided already."


class ReportAboutDecider(Forbidden):
    """Nobody judges a report about himself, whatever the verdict."""

    code = "report_about_you"
    message = "This report is about you; somebody else must decide it"


class BanWithoutMember(Invalid):
    """A ban goes with resolving a report of a member, nothing else."""

    code = "ban_without_member"
    message = "banDuration: only a resolved report of a user can ban"


class ReportInvalid(Invalid):
    """A text of a report is missing or too long, or holds what is no text."""

    code = "report_invalid"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report as its facts leave it. `decided_by` is None while nobody has."""

    id: UUID
    version: int
    reporter: UUID
    target_type: TargetType
    target: UUID
    owner: UUID
    torrent: UUID | None
    reason: str | None
    status: ReportStatus = "pending"
    decided_by: UUID | None = None


def pending_claim(reporter: UUID, target_type: TargetType, target: UUID) -> Claim:
    """The claim of a member's one pending report on a target."""
    return Claim(kind="report.pending", value=f"{reporter.hex} {target_type} {target.hex}")


def evolve(state: Report | None, envelope: Envelope) -> Report:
    """The report after one more fact."""
    version = envelope.originator_version
    match envelope.fact, state:
        case ReportFiled() as filed, None:
            return Report(
                id=envelope.originator_id,
                version=version,
                reporter=filed.reporter,
                target_type=filed.target_type,
                target=filed.target,
                owner=filed.owner,
                torrent=filed.torrent,
                reason=filed.reason.text,
            )
        case ReportWithdrawn(), Report():
            return msgspec.structs.replace(state, version=version, status="withdrawn")
        case ReportResolved(moderator=moderator), Report():
            return msgspec.structs.replace(
                state, version=version, status="resolved", decided_by=moderator
            )
        case ReportDismissed(moderator=moderator), Report():
            return msgspec.structs.replace(
                state, version=version, status="dismissed", decided_by=moderator
            )
        case unknown, _:
            raise TypeError(f"not a fact of a report here: {type(unknown).__name__}")


def file_report(
    report: UUID,
    *,
    reporter: UUID,
    target_type: TargetType,
    target: UUID,
    owner: UUID,
    torrent: UUID | None,
    reason: str,
    details: str | None,
) -> list[Fact]:
    """Report a target that exists. Raises `OwnReport`, `ReportInvalid`."""
    if target_type == "user" and target == reporter:
        raise OwnReport()
    words = _words("reason", reason, REASON_LENGTH)
    if words is None or len(words) < REASON_SHORTEST:
        raise ReportInvalid(f"reason: must have {REASON_SHORTEST} to {REASON_LENGTH} characters")
    more = _words("details", details, DETAILS_LENGTH)
    return [
        ReportFiled(
            reporter=reporter,
            target_type=target_type,
            target=target,
            owner=owner,
            torrent=torrent,
            reason=Private(report, words),
            details=Private(report, more) if more else None,
        )
    ]


def withdraw_report(report: Report | None, *, member: UUID) -> list[Fact]:
    """Take one's pending report back. Raises `ReportNotFound`, `ReportAlreadyDecided`."""
    if report is None or report.reporter != member:
        raise ReportNotFound()
    report = _require_pending(report)
    return [
        ReportWithdrawn(
            reporter=report.reporter,
            target_type=report.target_type,
            target=report.target,
            torrent=report.torrent,
        )
    ]


def decide_report(
    report: Report | None,
    *,
    verdict: Verdict,
    moderator: UUID,
    resolution: str | None,
    ban: BanDuration,
) -> list[Fact]:
    """Resolve or dismiss a pending report, for good.

    Raises `ReportNotFound`, `ReportAlreadyDecided`, `ReportAboutDecider`, `BanWithoutMember`,
    `ReportInvalid`.
    """
    if report is None:
        raise ReportNotFound()
    report = _require_pending(report)
    if report.target_type == "user" and report.target == moderator:
        raise ReportAboutDecider()
    if ban != "none" and (report.target_type != "user" or verdict != "resolved"):
        raise BanWithoutMember()
    words = _words("resolution", resolution, RESOLUTION_LENGTH)
    note = Private(moderator, words) if words else None
    if verdict == "dismissed":
        return [
            ReportDismissed(
                reporter=report.reporter,
                target_type=report.target_type,
                target=report.target,
                torrent=report.torrent,
                moderator=moderator,
                resolution=note,
            )
        ]
    return [
        ReportResolved(
            reporter=report.reporter,
            target_type=report.target_type,
            target=report.target,
            torrent=report.torrent,
            moderator=moderator,
            resolution=note,
            ban=ban,
        )
    ]


def ban_end(duration: BanDuration, at: datetime) -> datetime | None:
    """When a ban given at `at` ends, None for never; months and years are calendar ones.

    A month from 31 January ends on the last day of February.
    """
    if duration in _DAYS:
        return at + timedelta(days=_DAYS[duration])
    if duration not in _MONTHS:
        return None
    months = at.year * 12 + at.month - 1 + _MONTHS[duration]
    for days_back in range(4):
        try:
            return at.replace(year=months // 12, month=months % 12 + 1, day=at.day - days_back)
        except ValueError:
            continue
    raise RuntimeError("every month has 28 days")


def ban_reason(report: Report, *, reason: str | None, resolution: str | None) -> str:
    """What the banned member is told: the reason given, else the note, else the report's own.

    Raises `ReportInvalid`.
    """
    given = _words("banReason", reason, BAN_REASON_LENGTH)
    return given or (resolution or "").strip() or report.reason or ""


def rejection_message(report: Report, resolution: str | None) -> str:
    """What the thread of a torrent says when a report rejects it (the reference's wording)."""
    said = f"Report accepted: {report.reason or ''}"
    note = (resolution or "").strip()
    return f"{said}\n\nModerator note: {note}" if note else said


def _require_pending(report: Report) -> Report:
    if report.status == "withdrawn":
        raise ReportNotFound()
    if report.status != "pending":
        raise ReportAlreadyDecided(moderator=report.decided_by, status=report.status)
    return report


def _words(field: str, text: str | None, length: int) -> str | None:
    """The text, None for an empty one. Raises `ReportInvalid`."""
    words = (text or "").strip()
    if len(words) > length or not is_storable(words):
        raise ReportInvalid(f"{field}: must have at most {length} characters")
    return words or None
