"""Reports: filed, withdrawn, decided once; and what a decision says and for how long it bans."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain import notices
from domain.kernel import Fact, Private
from domain.reports import (
    AlreadyReported,
    BanWithoutMember,
    OwnReport,
    Report,
    ReportAlreadyDecided,
    ReportDismissed,
    ReportFiled,
    ReportInvalid,
    ReportNotFound,
    ReportResolved,
    ReportWithdrawn,
    ban_end,
    ban_reason,
    decide_report,
    evolve,
    file_report,
    pending_claim,
    rejection_message,
    withdraw_report,
)
from tests.kit.domain import AN_ID, folded, given, refuses_foreign_facts

REPORTER, TARGET, OWNER, MODERATOR = (UUID(int=number) for number in range(11, 15))
REASON = "Selling invitations."


def filed(**changed: Any) -> ReportFiled:
    fields: dict[str, Any] = {
        "reporter": REPORTER,
        "target_type": "user",
        "target": TARGET,
        "owner": TARGET,
        "torrent": None,
        "reason": Private(AN_ID, REASON),
        "details": None,
    }
    return ReportFiled(**fields | changed)


def about(**changed: Any) -> dict[str, Any]:
    fact = filed(**changed)
    named = ("reporter", "target_type", "target", "torrent")
    return {name: getattr(fact, name) for name in named}


WITHDRAWN = ReportWithdrawn(**about())
RESOLVED = ReportResolved(**about(), moderator=MODERATOR, resolution=None, ban="none")
DISMISSED = ReportDismissed(**about(), moderator=MODERATOR, resolution=None)


def ask(**changed: Any) -> list[Fact]:
    asked: dict[str, Any] = {
        "reporter": REPORTER,
        "target_type": "user",
        "target": TARGET,
        "owner": TARGET,
        "torrent": None,
        "reason": REASON,
        "details": None,
    }
    return file_report(AN_ID, **asked | changed)


def report(*more: Fact, **changed: Any) -> Report:
    state = folded(evolve, filed(**changed), *more)
    assert state is not None
    return state


def test_file_report_seals_its_words_under_a_key_of_its_own() -> None:
    assert ask(reason=f" {REASON}\n", details=" More. ") == [filed(details=Private(AN_ID, "More."))]
    assert ask(details="  ") == [filed()]


@pytest.mark.parametrize(
    "changed",
    [
        {"reason": ""},
        {"reason": "123456789"},
        {"reason": " 12345678 "},
        {"reason": "x" * 501},
        {"reason": "a NUL \0 in it"},
        {"reason": "half a pair \ud800"},
        {"details": "x" * 2001},
        {"details": "\0"},
    ],
)
def test_file_report_refuses_words_out_of_bounds(changed: dict[str, Any]) -> None:
    with pytest.raises(ReportInvalid):
        ask(**changed)


def test_file_report_takes_words_at_their_bounds() -> None:
    for reason, details in (("x" * 10, "x"), ("x" * 500, "x" * 2000)):
        assert len(ask(reason=reason, details=details)) == 1


def test_nobody_reports_himself_but_what_is_his() -> None:
    with pytest.raises(OwnReport):
        ask(target=REPORTER)
    assert ask(target_type="torrent", owner=REPORTER, torrent=TARGET)


def test_one_report_of_a_target_is_pending_at_a_time() -> None:
    claim = pending_claim(REPORTER, "user", TARGET)
    assert filed().claims() == (claim,)
    for end in (WITHDRAWN, RESOLVED, DISMISSED):
        assert end.releases() == (claim,)
    others = {
        pending_claim(MODERATOR, "user", TARGET),
        pending_claim(REPORTER, "torrent", TARGET),
        pending_claim(REPORTER, "user", OWNER),
    }
    assert claim not in others
    assert AlreadyReported(report="x").data == {"report": "x"}


def test_withdraw_report_while_it_is_pending() -> None:
    given(evolve, filed()).when(withdraw_report, member=REPORTER).then(WITHDRAWN)
    given(evolve, filed()).when(withdraw_report, member=OWNER).then_refused(ReportNotFound)
    given(evolve).when(withdraw_report, member=REPORTER).then_refused(ReportNotFound)
    gone = given(evolve, filed(), WITHDRAWN)
    gone.when(withdraw_report, member=REPORTER).then_refused(ReportNotFound)
    for decision, status in ((RESOLVED, "resolved"), (DISMISSED, "dismissed")):
        given(evolve, filed(), decision).when(withdraw_report, member=REPORTER).then_refused(
            ReportAlreadyDecided, moderator=MODERATOR, status=status
        )


def decided(*history: Fact, **asked: Any) -> Any:
    told = {"verdict": "resolved", "moderator": MODERATOR, "resolution": None, "ban": "none"}
    return given(evolve, *history).when(decide_report, **told | asked)


def test_decide_report_once() -> None:
    decided(filed()).then(RESOLVED)
    decided(filed(), verdict="dismissed").then(DISMISSED)
    note = Private(MODERATOR, "Warned.")
    decided(filed(), resolution=" Warned. ").then(
        ReportResolved(**about(), moderator=MODERATOR, resolution=note, ban="none")
    )
    decided(filed(), ban="1y").then(
        ReportResolved(**about(), moderator=MODERATOR, resolution=None, ban="1y")
    )
    decided().then_refused(ReportNotFound)
    decided(filed(), WITHDRAWN).then_refused(ReportNotFound)
    for earlier, status in ((RESOLVED, "resolved"), (DISMISSED, "dismissed")):
        for verdict in ("resolved", "dismissed"):
            decided(filed(), earlier, verdict=verdict).then_refused(
                ReportAlreadyDecided, moderator=MODERATOR, status=status
            )


def test_only_a_resolved_report_of_a_member_bans() -> None:
    decided(filed(), verdict="dismissed", ban="1d").then_refused(BanWithoutMember)
    decided(filed(target_type="torrent"), ban="1d").then_refused(BanWithoutMember)
    decided(filed(), resolution="x" * 501).then_refused(ReportInvalid)


@pytest.mark.parametrize(
    ("duration", "at", "end"),
    [
        ("1d", "2026-02-28T12:00", "2026-03-01T12:00"),
        ("7d", "2026-12-30T12:00", "2027-01-06T12:00"),
        ("1m", "2026-01-15T12:00", "2026-02-15T12:00"),
        ("1m", "2026-01-31T12:00", "2026-02-28T12:00"),
        ("1m", "2028-01-31T12:00", "2028-02-29T12:00"),
        ("1m", "2026-03-31T12:00", "2026-04-30T12:00"),
        ("1m", "2026-12-31T12:00", "2027-01-31T12:00"),
        ("1y", "2028-02-29T12:00", "2029-02-28T12:00"),
        ("1y", "2026-11-30T12:00", "2027-11-30T12:00"),
        ("permanent", "2026-01-01T12:00", None),
    ],
)
def test_months_and_years_of_a_ban_are_calendar_ones(
    duration: Any, at: str, end: str | None
) -> None:
    begun = datetime.fromisoformat(at).replace(tzinfo=UTC)
    ended = ban_end(duration, begun)
    assert ended == (datetime.fromisoformat(end).replace(tzinfo=UTC) if end else None)


def test_what_is_said_falls_back_from_the_ban_to_the_note_to_the_report() -> None:
    assert ban_reason(report(), reason=" Selling. ", resolution="Note.") == "Selling."
    assert ban_reason(report(), reason=" ", resolution=" Note. ") == "Note."
    assert ban_reason(report(), reason=None, resolution=None) == REASON
    with pytest.raises(ReportInvalid):
        ban_reason(report(), reason="x" * 501, resolution=None)


def test_the_thread_is_told_the_reason_and_the_note() -> None:
    assert rejection_message(report(), None) == f"Report accepted: {REASON}"
    assert (
        rejection_message(report(), " Checked. ")
        == f"Report accepted: {REASON}\n\nModerator note: Checked."
    )


def test_a_report_has_no_foreign_facts() -> None:
    refuses_foreign_facts(evolve, filed())


def test_nobody_is_told_of_his_own_doing() -> None:
    def told(recipient: UUID | None) -> list[Fact]:
        return notices.raise_notice(
            "report_actioned", subject_kind="report", subject=AN_ID, recipient=recipient, by=OWNER
        )

    assert told(OWNER) == []
    assert len(told(REPORTER)) == 1
    assert len(told(None)) == 1
    ids = {
        notices.notice_id(kind, subject)
        for kind in ("new_report_filed", "report_actioned")
        for subject in (AN_ID, OWNER)
    }
    assert len(ids) == 4
