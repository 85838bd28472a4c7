"""Any order of moderation and reports on the real log: what pages show is what was decided."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from application.bus import Actor, Context
from application.moderation import (
    ApproveTorrent,
    PostModerationMessage,
    RejectTorrent,
    RequestTorrentChanges,
    ResetTorrent,
)
from application.reports import DecideReport, FileReport, WithdrawReport
from application.torrent_edits import EditTorrent, WithdrawTorrent
from application.uploads import UploadTorrent
from domain.errors import DomainError
from domain.moderation_events import StatusFact, TorrentReset, status_after
from domain.permissions import Permission
from projections import accounting, engine
from projections.forum import ForumProjection
from projections.history import HistoryProjection
from projections.moderation import (
    ModerationProjection,
    count_threads,
    find_thread,
    list_moderation_messages,
)
from projections.notices import NoticesProjection
from projections.reports import ReportsProjection, count_reports, find_report
from projections.torrents import TorrentsProjection
from projections.users import UsersProjection
from projections.verify import Verifier
from tests.kit.real_log import real_log
from tests.kit.servers import TestServers
from tests.kit.torrents import torrent_file
from tests.projections.verify_kit import POLICIES

START = datetime(2026, 11, 1, tzinfo=UTC)
PROJECTIONS = (
    HistoryProjection(),
    UsersProjection(),
    TorrentsProjection(),
    ForumProjection(),  # what is reported is named, and may be a post
    ModerationProjection(),
    ReportsProjection(),
    NoticesProjection(),
)
STATUSES = ["pending", "accepted", "changes_requested", "rejected"]
MODERATORS = [
    Actor(
        account=UUID(int=20 + number),
        number=20 + number,
        username=f"moderator{number}",
        permissions=frozenset({Permission.CAN_MODERATE.value}),
    )
    for number in range(2)
]
UPLOADER = Actor(account=UUID(int=11), number=11, username="uploader")
REPORTER = Actor(account=UUID(int=12), number=12, username="reporter")
picks = st.integers(0, 9)
moderators = st.sampled_from(MODERATORS)


def machine(servers: TestServers) -> type[RuleBasedStateMachine]:  # noqa: C901  rules of one machine
    """The state machine over fresh databases of these servers."""

    class Moderation(RuleBasedStateMachine):
        """Moderators, an uploader and a reporter do what they like with a few torrents."""

        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            ground = self.stack.enter_context(real_log(servers, PROJECTIONS))
            self.app_url = ground.app_url
            self.conn, self.log, self.bus = ground.conn, ground.log, ground.bus
            accounting.install(self.conn)
            self.now = START
            self.status: dict[UUID, str] = {}
            self.uploader: dict[UUID, Actor] = {}
            self.changes: dict[UUID, list[str | None]] = {}
            self.closed: set[UUID] = set()
            self.reports: dict[UUID, tuple[UUID, str]] = {}

        def teardown(self) -> None:
            try:
                self.look()
                verifier = Verifier(self.app_url, self.log, PROJECTIONS, POLICIES, seed=1)
                verdict = verifier.verify()
                findings = [check for check in verdict.checks if check.findings]
                assert findings == []
                assert verdict.exit_code == 0
            finally:
                self.stack.close()

        def catch_up(self) -> None:
            for projection in PROJECTIONS:
                while isinstance(engine.step(self.conn, self.log, projection), int):
                    pass

        def send(self, command: Any, actor: Actor) -> Any:
            self.now += timedelta(seconds=1)
            context = Context(at=self.now, command=uuid4(), correlation=uuid4(), actor=actor)
            return self.bus.dispatch(command, context).result

        def sent(self, command: Any, actor: Actor, *, allowed: bool) -> bool:
            """Whether it was done, which is to be so exactly where the model allows it."""
            before = self.log.head()
            try:
                self.send(command, actor)
                done = True
            except DomainError:
                done = False
            assert done == allowed, command
            assert done or self.log.head() == before
            return done

        def torrent(self, pick: int) -> UUID:
            return list(self.status)[pick % len(self.status)]

        def moved(self, torrent: UUID, status: str) -> None:
            self.status[torrent] = status
            self.changes[torrent].append(status)

        @initialize()
        def begin(self) -> None:
            self.upload(as_staff=False)

        @rule(as_staff=st.booleans())
        def upload(self, as_staff: bool) -> None:
            if len(self.status) == 3:
                return
            torrent, actor = uuid4(), MODERATORS[0] if as_staff else UPLOADER
            self.send(UploadTorrent(torrent=torrent, file=torrent_file(torrent.hex)), actor)
            self.status[torrent] = "accepted" if as_staff else "pending"
            self.uploader[torrent] = actor
            self.changes[torrent] = []

        @rule(
            kind=st.sampled_from([ApproveTorrent, RequestTorrentChanges, RejectTorrent]),
            pick=picks,
            actor=moderators,
            seen=st.sampled_from([None, None, None, *STATUSES]),
        )
        def decide(
            self, kind: Callable[..., Any], pick: int, actor: Actor, seen: str | None
        ) -> None:
            torrent = self.torrent(pick)
            status = self.status[torrent]
            allowed = torrent not in self.closed and status != "rejected"
            allowed &= seen in {None, status}
            allowed &= not (kind is ApproveTorrent and status == "accepted")
            command = kind(torrent=torrent, message_id=uuid4(), message="So it is.", seen=seen)
            if self.sent(command, actor, allowed=allowed):
                leads_to = {
                    ApproveTorrent: "accepted",
                    RequestTorrentChanges: "changes_requested",
                    RejectTorrent: "rejected",
                }
                self.moved(torrent, leads_to[kind])  # type: ignore[index]

        @rule(pick=picks, actor=moderators, to=st.sampled_from(STATUSES[:3]))
        def reset(self, pick: int, actor: Actor, to: Any) -> None:
            torrent = self.torrent(pick)
            allowed = torrent not in self.closed and self.status[torrent] == "rejected"
            command = ResetTorrent(torrent=torrent, message_id=uuid4(), message="Again.", to=to)
            if self.sent(command, actor, allowed=allowed):
                self.moved(torrent, to)

        @rule(pick=picks, actor=st.sampled_from([UPLOADER, REPORTER, *MODERATORS]))
        def write(self, pick: int, actor: Actor) -> None:
            torrent = self.torrent(pick)
            allowed = torrent not in self.closed and self.speaks(actor, torrent)
            command = PostModerationMessage(torrent=torrent, message_id=uuid4(), message="Words.")
            if self.sent(command, actor, allowed=allowed):
                self.changes[torrent].append(None)

        def speaks(self, actor: Actor, torrent: UUID) -> bool:
            return actor in MODERATORS or actor is self.uploader[torrent]

        @rule(pick=picks)
        def edit(self, pick: int) -> None:
            torrent = self.torrent(pick)
            status = self.status[torrent]
            allowed = torrent not in self.closed and status != "rejected"
            allowed &= self.speaks(UPLOADER, torrent)
            command = EditTorrent(torrent=torrent, message_id=uuid4(), name=f"Name {self.now}")
            if self.sent(command, UPLOADER, allowed=allowed):
                # Said in the thread of one that waits already, too: a decision must see it.
                self.moved(torrent, "pending")

        @rule(
            pick=picks, really=st.integers(0, 5), actor=st.sampled_from([UPLOADER, MODERATORS[1]])
        )
        def withdraw(self, pick: int, really: int, actor: Actor) -> None:
            torrent = self.torrent(pick)
            if really:
                return
            allowed = torrent not in self.closed and self.speaks(actor, torrent)
            allowed &= actor in MODERATORS or self.status[torrent] != "rejected"
            if self.sent(WithdrawTorrent(torrent=torrent), actor, allowed=allowed):
                self.closed.add(torrent)

        @rule(pick=picks)
        def report(self, pick: int) -> None:
            torrent, report = self.torrent(pick), uuid4()
            pending = (torrent, "pending") in self.reports.values()
            allowed = torrent not in self.closed and self.status[torrent] == "accepted"
            command = FileReport(
                report=report, target_type="torrent", target=torrent, reason="Not what it says."
            )
            if self.sent(command, REPORTER, allowed=allowed and not pending):
                self.reports[report] = (torrent, "pending")

        @rule(pick=picks, actor=moderators, verdict=st.sampled_from(["resolved", "dismissed"]))
        def decide_report(self, pick: int, actor: Actor, verdict: Any) -> None:
            if not self.reports:
                return
            report = list(self.reports)[pick % len(self.reports)]
            torrent, standing = self.reports[report]
            command = DecideReport(report=report, verdict=verdict, resolution="Seen.")
            if not self.sent(command, actor, allowed=standing == "pending"):
                return
            self.reports[report] = (torrent, verdict)
            lives = torrent not in self.closed and self.status[torrent] != "rejected"
            if verdict == "resolved" and lives:
                self.moved(torrent, "rejected")

        @rule(pick=picks)
        def withdraw_report(self, pick: int) -> None:
            if not self.reports:
                return
            report = list(self.reports)[pick % len(self.reports)]
            torrent, standing = self.reports[report]
            command = WithdrawReport(report=report)
            if self.sent(command, REPORTER, allowed=standing == "pending"):
                self.reports[report] = (torrent, "withdrawn")

        @rule()
        def look(self) -> None:
            self.catch_up()
            self.pages_show_what_was_decided()
            self.reports_show_what_was_decided()
            self.only_a_reset_leads_out_of_a_rejection()

        def pages_show_what_was_decided(self) -> None:
            for torrent, status in self.status.items():
                thread = find_thread(self.conn, torrent)
                assert thread is not None
                assert (thread.status, thread.closed) == (status, torrent in self.closed)
                messages = list_moderation_messages(self.conn, torrent)
                assert [each.status_change for each in messages] == self.changes[torrent]
                assert all(each.body for each in messages)
            for status in STATUSES:
                here = [t for t, each in self.status.items() if each == status]
                waiting = [torrent for torrent in here if torrent not in self.closed]
                assert count_threads(self.conn, status) == len(waiting)

        def reports_show_what_was_decided(self) -> None:
            counts = count_reports(self.conn)
            assert find_report(self.conn, uuid4()) is None
            standings = [standing for _, standing in self.reports.values()]
            for status in ("pending", "resolved", "dismissed", "withdrawn"):
                assert counts.get(status, 0) == standings.count(status)
            for report, (_, standing) in self.reports.items():
                row = find_report(self.conn, report)
                assert (row.status if row else "withdrawn") == standing
                assert row is None or row.reason == "Not what it says."

        def only_a_reset_leads_out_of_a_rejection(self) -> None:
            last: dict[UUID, str] = {}
            moves = dict.fromkeys(self.status, 0)
            for recorded in self.log.read(0, 10_000)[0]:
                fact = recorded.envelope.fact
                if not isinstance(fact, get_args(StatusFact)):
                    continue
                assert last.get(fact.torrent) != "rejected" or isinstance(fact, TorrentReset)
                last[fact.torrent] = status_after(fact)
                moves[fact.torrent] += 1
            # Every change of status has its one fact, and the fact its one message.
            for torrent, count in moves.items():
                assert count == len([each for each in self.changes[torrent] if each])
                with suppress(KeyError):
                    assert last[torrent] == self.status[torrent]

    return Moderation


@pytest.mark.timeout(240)
def test_moderation_on_the_real_log(servers: TestServers) -> None:
    run_state_machine_as_test(
        machine(servers),
        settings=settings(
            max_examples=8,
            stateful_step_count=30,
            deadline=None,
            # The first failure as it is: shrinking one on a real log outlasts the timeout.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
