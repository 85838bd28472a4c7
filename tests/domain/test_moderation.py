"""Moderation: who may change which status to which, with which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args
from uuid import UUID

import pytest

from domain.kernel import Fact, Private
from domain.moderation import (
    MESSAGE_LENGTH,
    SYSTEM_BODIES,
    ModeratedMeanwhile,
    ModerationClosed,
    ModerationEnded,
    ModerationMessageInvalid,
    ModerationMessagePosted,
    ModerationOpened,
    ModerationThreadNotFound,
    ModeratorFact,
    TorrentAlreadyAccepted,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentIsRejected,
    TorrentNotRejected,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    approve_torrent,
    close_moderation,
    evolve,
    open_moderation,
    post_moderation_message,
    reject_torrent,
    request_torrent_changes,
    reset_torrent,
    resubmit_torrent,
    thread_id,
)
from domain.moderation_events import FACTS, system_body
from tests.kit.domain import folded, given, refuses_foreign_facts

TORRENT, UPLOADER = UUID(int=10), UUID(int=11)
ANN, BOB, STRANGER = UUID(int=21), UUID(int=22), UUID(int=23)
MESSAGE = UUID(int=30)


def opened(status: Any = "pending", bypass: Any = None) -> ModerationOpened:
    return ModerationOpened(torrent=TORRENT, uploader=UPLOADER, status=status, bypass=bypass)


def changed(kind: type[Any], message: str | None = "Why.", **fields: Any) -> Any:
    """A status change by Ann."""
    words = None if message is None else Private(ANN, message)
    return kind(
        torrent=TORRENT,
        uploader=UPLOADER,
        moderator=ANN,
        message_id=MESSAGE,
        message=words,
        **fields,
    )


APPROVED = changed(TorrentApproved, message=None, previous="pending")
CHANGES = changed(TorrentChangesRequested, previous="pending")
REJECTED = changed(TorrentRejected, previous="pending")
CLOSED = ModerationClosed(torrent=TORRENT)
BY_ANN = {"moderator": ANN, "message_id": MESSAGE}


def test_an_upload_waits_for_a_moderator() -> None:
    assert open_moderation(torrent=TORRENT, uploader=UPLOADER, bypass=None) == [opened()]


@pytest.mark.parametrize("bypass", ["staff", "role"])
def test_an_upload_with_a_bypass_is_accepted_at_once(bypass: Any) -> None:
    facts = open_moderation(torrent=TORRENT, uploader=UPLOADER, bypass=bypass)
    assert facts == [opened("accepted", bypass)]


def test_approve_torrent_without_words_is_a_system_message() -> None:
    given(evolve, opened()).when(approve_torrent, **BY_ANN).then(APPROVED)
    given(evolve, opened()).when(approve_torrent, **BY_ANN, message=" \n").then(APPROVED)


def test_approve_torrent_after_requested_changes() -> None:
    given(evolve, opened(), CHANGES).when(approve_torrent, **BY_ANN, message=" Good. ").then(
        changed(TorrentApproved, "Good.", previous="changes_requested")
    )


def test_approve_torrent_twice_names_who_was_first() -> None:
    given(evolve, opened(), APPROVED).when(
        approve_torrent, moderator=BOB, message_id=MESSAGE
    ).then_refused(TorrentAlreadyAccepted, moderator=ANN)
    given(evolve, opened("accepted", "staff")).when(approve_torrent, **BY_ANN).then_refused(
        TorrentAlreadyAccepted, moderator=None
    )


def test_approve_torrent_is_no_way_out_of_a_rejection() -> None:
    given(evolve, opened(), REJECTED).when(
        approve_torrent, moderator=BOB, message_id=MESSAGE
    ).then_refused(TorrentIsRejected, moderator=ANN)


@pytest.mark.parametrize(
    ("history", "previous"),
    [
        ([opened()], "pending"),
        ([opened(), APPROVED], "accepted"),
        ([opened(), CHANGES], "changes_requested"),
    ],
)
@pytest.mark.parametrize(
    ("decide", "kind"),
    [(reject_torrent, TorrentRejected), (request_torrent_changes, TorrentChangesRequested)],
)
def test_reject_torrent_and_request_changes_from_every_state_but_rejected(
    history: list[Any], previous: str, decide: Callable[..., Any], kind: type[Any]
) -> None:
    given(evolve, *history).when(decide, **BY_ANN, message="Why.").then(
        changed(kind, previous=previous)
    )
    given(evolve, *history, REJECTED).when(decide, **BY_ANN, message="Why.").then_refused(
        TorrentIsRejected, moderator=ANN
    )


@pytest.mark.parametrize("to", ["pending", "accepted", "changes_requested"])
def test_reset_torrent_leads_out_of_a_rejection(to: Any) -> None:
    reset = changed(TorrentReset, status=to)
    given(evolve, opened(), REJECTED).when(reset_torrent, **BY_ANN, message="Why.", to=to).then(
        reset
    )
    state = folded(evolve, opened(), REJECTED, reset)
    assert state is not None
    assert state.status == to


def test_reset_torrent_goes_back_to_the_queue_unless_told_otherwise() -> None:
    given(evolve, opened(), REJECTED).when(reset_torrent, **BY_ANN, message="Why.").then(
        changed(TorrentReset, status="pending")
    )


@pytest.mark.parametrize("history", [[opened()], [opened(), APPROVED], [opened(), CHANGES]])
def test_reset_torrent_refuses_what_is_not_rejected(history: list[Any]) -> None:
    given(evolve, *history).when(reset_torrent, **BY_ANN, message="Why.").then_refused(
        TorrentNotRejected
    )


@pytest.mark.parametrize("message", [None, "", "  ", "x" * (MESSAGE_LENGTH + 1)])
def test_all_but_an_approval_need_words(message: str | None) -> None:
    for decide, history in (
        (reject_torrent, [opened()]),
        (request_torrent_changes, [opened()]),
        (reset_torrent, [opened(), REJECTED]),
    ):
        given(evolve, *history).when(decide, **BY_ANN, message=message).then_refused(
            ModerationMessageInvalid
        )


def test_approve_torrent_refuses_too_many_words() -> None:
    given(evolve, opened()).when(
        approve_torrent, **BY_ANN, message="x" * (MESSAGE_LENGTH + 1)
    ).then_refused(ModerationMessageInvalid)


@pytest.mark.parametrize("decide", [reject_torrent, request_torrent_changes])
def test_of_two_moderators_at_once_the_later_learns_who_decided_what(
    decide: Callable[..., Any],
) -> None:
    given(evolve, opened(), APPROVED).when(
        decide, moderator=BOB, message_id=MESSAGE, message="Why.", seen="pending"
    ).then_refused(ModeratedMeanwhile, moderator=ANN, status="accepted")


def test_approve_torrent_that_was_asked_to_change_meanwhile() -> None:
    given(evolve, opened(), CHANGES).when(
        approve_torrent, moderator=BOB, message_id=MESSAGE, seen="pending"
    ).then_refused(ModeratedMeanwhile, moderator=ANN, status="changes_requested")


def test_a_moderator_who_saw_the_present_state_is_heard() -> None:
    given(evolve, opened(), APPROVED).when(
        reject_torrent, **BY_ANN, message="Why.", seen="accepted"
    ).then(changed(TorrentRejected, previous="accepted"))


@pytest.mark.parametrize(("author", "is_staff"), [(UPLOADER, False), (ANN, True)])
def test_uploader_and_staff_write_in_the_thread(author: UUID, is_staff: bool) -> None:
    posted = ModerationMessagePosted(
        torrent=TORRENT, author=author, message_id=MESSAGE, message=Private(author, "Hello.")
    )
    thread = given(evolve, opened(), REJECTED)
    thread.when(
        post_moderation_message,
        author=author,
        is_staff=is_staff,
        message_id=MESSAGE,
        message="Hello.",
    ).then(posted)
    state = folded(evolve, opened(), REJECTED, posted)
    assert state is not None
    assert (state.status, state.version) == ("rejected", 3)


@pytest.mark.parametrize("history", [[], [opened()], [opened(), CLOSED]])
def test_to_a_stranger_the_thread_does_not_exist(history: list[Any]) -> None:
    given(evolve, *history).when(
        post_moderation_message,
        author=STRANGER,
        is_staff=False,
        message_id=MESSAGE,
        message="Hello.",
    ).then_refused(ModerationThreadNotFound)


def test_a_withdrawn_torrent_ends_its_thread() -> None:
    given(evolve, opened()).when(close_moderation).then(CLOSED)
    ended = given(evolve, opened(), CLOSED)
    ended.when(approve_torrent, **BY_ANN).then_refused(ModerationEnded)
    ended.when(close_moderation).then_refused(ModerationEnded)
    ended.when(
        post_moderation_message, author=UPLOADER, is_staff=False, message_id=MESSAGE, message="?"
    ).then_refused(ModerationEnded)


def test_a_thread_that_was_never_opened_is_not_found() -> None:
    given(evolve).when(approve_torrent, **BY_ANN).then_refused(ModerationThreadNotFound)


def test_each_status_change_reads_as_something_without_words() -> None:
    assert set(SYSTEM_BODIES) == set(get_args(ModeratorFact))
    assert set(SYSTEM_BODIES) < set(FACTS)
    assert list(SYSTEM_BODIES.values()) == [
        "Approved.",
        "Changes requested.",
        "Rejected.",
        "Returned to the queue.",
    ]


@pytest.mark.parametrize("status", ["pending", "accepted", "changes_requested"])
def test_resubmit_torrent_ends_a_decision(status: Any) -> None:
    history: list[Fact] = [opened()]
    if status != "pending":
        history.append(APPROVED)
    if status == "changes_requested":
        history.append(CHANGES)
    resubmitted = TorrentResubmitted(
        torrent=TORRENT, uploader=UPLOADER, previous=status, message_id=MESSAGE
    )
    asked = given(evolve, *history)
    asked.when(resubmit_torrent, bypasses=False, message_id=MESSAGE).then(resubmitted)
    asked.when(resubmit_torrent, bypasses=True, message_id=MESSAGE).then()
    after = folded(evolve, *history, resubmitted)
    assert after is not None
    assert (after.status, after.moderator) == ("pending", None)
    assert (
        system_body(resubmitted)
        == {
            "pending": "Edited while waiting for review.",
            "accepted": "Edits made; returning to the moderation queue.",
            "changes_requested": "Resubmitted for review after edits.",
        }[status]
    )


def test_resubmit_torrent_refuses_a_rejected_one() -> None:
    ask = {"bypasses": False, "message_id": MESSAGE}
    frozen = given(evolve, opened(), REJECTED)
    frozen.when(resubmit_torrent, **ask).then_refused(TorrentIsRejected)
    frozen.when(resubmit_torrent, **{**ask, "bypasses": True}).then_refused(TorrentIsRejected)
    given(evolve, opened(), CLOSED).when(resubmit_torrent, **ask).then_refused(ModerationEnded)
    given(evolve).when(resubmit_torrent, **ask).then_refused(ModerationThreadNotFound)


def test_the_thread_of_a_torrent_is_found_by_its_id() -> None:
    assert thread_id(TORRENT) == thread_id(UUID(int=10)) != thread_id(UPLOADER)


def test_foreign_facts_stop_the_fold() -> None:
    refuses_foreign_facts(evolve, opened())
