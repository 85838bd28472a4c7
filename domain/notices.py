"""Notices: what somebody should be told, recorded with the decision it tells of."""

from __future__ import annotations

from typing import ClassVar, Final, Literal
from uuid import UUID, uuid5

from domain.kernel import Fact

NoticeKind = Literal["new_report_filed", "report_actioned"]
"""Kinds of the reference's inbox that no other fact carries with its recipient."""
SubjectKind = Literal["report"]
_NOTICES: Final = UUID("0f6f1c5e-93a4-5d0b-8a53-6f1d1e0a7c42")


class NoticeRaised(Fact, frozen=True):
    """Somebody is to be told of something; `recipient` none means all staff but `by`.

    What it is about is read where `subject` points to, so that words destroyed there are in no
    inbox either.
    """

    TOPIC: ClassVar[str] = "notice.raised.1"

    recipient: UUID | None
    kind: NoticeKind
    subject_kind: SubjectKind
    subject: UUID
    by: UUID


FACTS: tuple[type[Fact], ...] = (NoticeRaised,)


def notice_id(kind: NoticeKind, subject: UUID) -> UUID:
    """The aggregate of the one notice of this kind about `subject`."""
    return uuid5(_NOTICES, f"{kind} {subject.hex}")


def raise_notice(
    kind: NoticeKind, *, subject_kind: SubjectKind, subject: UUID, recipient: UUID | None, by: UUID
) -> list[Fact]:
    """Tell `recipient`, or all staff where it is None; nobody is told of his own doing."""
    if recipient == by:
        return []
    return [
        NoticeRaised(
            recipient=recipient, kind=kind, subject_kind=subject_kind, subject=subject, by=by
        )
    ]
