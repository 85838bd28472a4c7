"""Notices: who is told of what, whatever the size of the batches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from domain.account_bans import AccountBanned
from domain.kernel import Envelope, Fact, Meta, Private, Recorded
from domain.moderation_events import (
    ModerationMessagePosted,
    ModerationOpened,
    TorrentApproved,
    TorrentRejected,
    TorrentResubmitted,
)
from domain.notices import NoticeRaised
from projections import engine
from projections.engine import Connection
from projections.notices import NoticesProjection, list_notices, notices_about
from projections.users import UsersProjection
from tests.kit.domain import A_TIME

ANNA, BERT, MONA, TORRENT, OTHER, REPORT = (UUID(int=number) for number in range(1, 7))


def decision(kind: type[Fact], torrent: UUID, moderator: UUID, uploader: UUID = ANNA) -> Fact:
    return kind(
        torrent=torrent,
        uploader=uploader,
        moderator=moderator,
        previous="pending",
        message_id=UUID(int=9),
        message=None,
    )


def written(author: UUID) -> Fact:
    words = Private(author, "Words.")
    return ModerationMessagePosted(
        torrent=TORRENT, author=author, message_id=UUID(int=9), message=words
    )


def opened(torrent: UUID, status: str, uploader: UUID = ANNA) -> Fact:
    bypass = None if status == "pending" else "staff"
    return ModerationOpened(torrent=torrent, uploader=uploader, status=status, bypass=bypass)


def raised(kind: str, recipient: UUID | None, by: UUID) -> Fact:
    return NoticeRaised(
        recipient=recipient, kind=kind, subject_kind="report", subject=REPORT, by=by
    )


STORY: Sequence[tuple[Fact, UUID | None]] = [
    (opened(TORRENT, "pending"), ANNA),
    (opened(OTHER, "accepted", MONA), MONA),
    (written(ANNA), ANNA),
    (written(MONA), MONA),
    (decision(TorrentApproved, TORRENT, MONA), MONA),
    (decision(TorrentRejected, OTHER, MONA, uploader=MONA), MONA),
    (
        TorrentResubmitted(
            torrent=TORRENT, uploader=ANNA, previous="accepted", message_id=UUID(int=9)
        ),
        ANNA,
    ),
    (raised("new_report_filed", None, BERT), BERT),
    (raised("report_actioned", BERT, MONA), MONA),
    (AccountBanned(reason=Private(BERT, "x"), until=None, by_administrator=False), MONA),
    (
        TorrentResubmitted(
            torrent=TORRENT, uploader=ANNA, previous="pending", message_id=UUID(int=9)
        ),
        ANNA,
    ),
]


def recorded() -> list[Recorded]:
    return [
        Recorded(
            position=position,
            envelope=Envelope(
                originator_id=BERT if isinstance(fact, AccountBanned) else UUID(int=100),
                originator_version=position,
                meta=Meta(
                    at=A_TIME + timedelta(hours=position),
                    actor=actor,
                    command=UUID(int=200),
                    correlation=UUID(int=200),
                ),
                fact=fact,
            ),
        )
        for position, (fact, actor) in enumerate(STORY, 1)
    ]


@pytest.fixture(params=[1, 3, 100])
def told(request: pytest.FixtureRequest, conn: Connection) -> Connection:
    """The story, folded in batches of that size."""
    for projection in (UsersProjection(), NoticesProjection()):
        engine.install(conn, projection)
    facts, size = recorded(), request.param
    for start in range(0, len(facts), size):
        with conn.transaction(), conn.cursor() as cursor:
            engine.use_schema(cursor, "notices_2")
            NoticesProjection().fold(cursor, facts[start : start + size])
    return conn


def kinds(conn: Connection, account: UUID, *, is_staff: bool = False) -> list[tuple[int, str]]:
    rows = list_notices(conn, account, is_staff=is_staff, limit=50)
    return [(row.position, row.kind) for row in rows]


def test_members_are_told_what_others_did_to_what_is_theirs(told: Connection) -> None:
    assert kinds(told, ANNA) == [(5, "upload_accepted"), (4, "moderation_message_received")]
    assert kinds(told, BERT) == [(10, "account_banned"), (9, "report_actioned")]
    # A moderator who rejects his own upload is told nothing.
    assert kinds(told, MONA) == []


def test_staff_is_told_what_waits_but_not_of_its_own_doing(told: Connection) -> None:
    for_staff = [
        (8, "new_report_filed"),
        (7, "new_pending_upload"),
        (3, "moderation_message_received"),
        (1, "new_pending_upload"),
    ]
    assert kinds(told, MONA, is_staff=True) == for_staff
    assert [position for position, _ in kinds(told, BERT, is_staff=True)] == [10, 9, 7, 3, 1]


def test_notices_are_walked_on_by_position(told: Connection) -> None:
    rows = list_notices(told, MONA, is_staff=True, limit=2)
    assert [row.position for row in rows] == [8, 7]
    rows = list_notices(told, MONA, is_staff=True, limit=2, before=7)
    assert [row.position for row in rows] == [3, 1]


def test_the_newest_notice_of_a_subject_is_found(told: Connection) -> None:
    found = notices_about(told, [REPORT, TORRENT], BERT)
    assert {subject: row.kind for subject, row in found.items()} == {REPORT: "report_actioned"}
    assert notices_about(told, [TORRENT], ANNA)[TORRENT].position == 5
    assert found[REPORT].raised_at == A_TIME + timedelta(hours=9)
