"""Any order of moderation: only a reset leads out of a rejection, each change has one fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.errors import Conflict
from domain.kernel import Fact
from domain.moderation import (
    ModerationThread,
    StatusFact,
    TorrentReset,
    approve_torrent,
    close_moderation,
    evolve,
    open_moderation,
    post_moderation_message,
    reject_torrent,
    request_torrent_changes,
    reset_torrent,
    resubmit_torrent,
    status_after,
)
from tests.kit.domain import folded

TORRENT, UPLOADER = UUID(int=10), UUID(int=11)
moderators = st.sampled_from([UUID(int=21), UUID(int=22)])
statuses = st.sampled_from([None, "pending", "accepted", "changes_requested", "rejected"])


class Moderation(RuleBasedStateMachine):
    """Moderators and the uploader do what they like; refusals change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[Fact] = []
        self.messages = 0

    @property
    def thread(self) -> ModerationThread:
        state = folded(evolve, *self.facts)
        assert state is not None
        return state

    def decide(self, decision: Callable[..., list[Fact]], **asked: Any) -> None:
        before = self.thread
        self.messages += 1
        try:
            facts = decision(before, message_id=UUID(int=self.messages), **asked)
        except Conflict:
            return
        self.facts += facts
        changes = [fact for fact in facts if isinstance(fact, get_args(StatusFact))]
        assert len(facts) == 1
        if before.status != self.thread.status:
            assert len(changes) == 1
            assert status_after(changes[0]) == self.thread.status
        if before.status == "rejected":
            assert self.thread.status == "rejected" or isinstance(changes[0], TorrentReset)

    @initialize(bypass=st.sampled_from([None, "staff", "role"]))
    def upload(self, bypass: Any) -> None:
        self.facts = open_moderation(torrent=TORRENT, uploader=UPLOADER, bypass=bypass)

    @rule(moderator=moderators, seen=statuses, message=st.sampled_from([None, "Good."]))
    def approve(self, moderator: UUID, seen: Any, message: str | None) -> None:
        self.decide(approve_torrent, moderator=moderator, seen=seen, message=message)

    @rule(moderator=moderators, seen=statuses)
    def request_changes(self, moderator: UUID, seen: Any) -> None:
        self.decide(request_torrent_changes, moderator=moderator, seen=seen, message="Better.")

    @rule(moderator=moderators, seen=statuses)
    def reject(self, moderator: UUID, seen: Any) -> None:
        self.decide(reject_torrent, moderator=moderator, seen=seen, message="No.")

    @rule(moderator=moderators, to=st.sampled_from(["pending", "accepted", "changes_requested"]))
    def reset(self, moderator: UUID, to: Any) -> None:
        self.decide(reset_torrent, moderator=moderator, to=to, message="Again.")

    @rule(bypasses=st.booleans())
    def edit(self, bypasses: bool) -> None:
        before = self.thread
        try:
            facts = resubmit_torrent(
                before, bypasses=bypasses, message_id=UUID(int=self.messages + 1)
            )
        except Conflict:
            assert before.closed or before.status == "rejected"
            return
        self.messages += 1
        self.facts += facts
        if bypasses:
            assert self.thread == before
        else:
            assert self.thread.status == "pending"

    @rule()
    def write(self) -> None:
        self.decide(post_moderation_message, author=UPLOADER, is_staff=False, message="Please.")

    @rule(really=st.integers(0, 9))
    def withdraw(self, really: int) -> None:
        if really == 0 and not self.thread.closed:
            self.facts += close_moderation(self.thread)

    @invariant()
    def every_status_change_has_its_own_message(self) -> None:
        changes = [fact for fact in self.facts if isinstance(fact, get_args(StatusFact))]
        ids = [fact.message_id for fact in changes]
        assert len(set(ids)) == len(ids)

    @invariant()
    def nothing_follows_the_end(self) -> None:
        closed = [fact.TOPIC for fact in self.facts].count("moderation.closed.1")
        assert closed == 0 or (closed == 1 and self.thread.closed)
        assert closed == 0 or self.facts[-1].TOPIC == "moderation.closed.1"


TestModeration = Moderation.TestCase
TestModeration.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
