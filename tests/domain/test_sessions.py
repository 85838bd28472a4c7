"""Sessions: opened once, closed for good, alive for a while."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain import sessions
from domain.sessions import ABSOLUTE_LIFE, IDLE_LIFE, SessionClosed, SessionOpened
from tests.kit.domain import A_TIME, AN_ID, folded, given, refuses_foreign_facts

OPENED = SessionOpened(account=AN_ID, method="password")
CLOSED = SessionClosed(account=AN_ID, reason="logout")


def test_open_session_records_whose_and_by_what_proof() -> None:
    assert sessions.open_session(AN_ID, method="password") == [OPENED]


def test_close_session_ends_an_open_one_once() -> None:
    given(sessions.evolve, OPENED).when(sessions.close_session, reason="logout").then(CLOSED)
    given(sessions.evolve, OPENED, CLOSED).when(sessions.close_session, reason="logout").then()
    given(sessions.evolve).when(sessions.close_session, reason="logout").then()


def test_a_session_knows_when_it_was_opened() -> None:
    session = folded(sessions.evolve, OPENED)
    assert session is not None
    assert (session.account, session.opened_at, session.closed) == (AN_ID, A_TIME, False)


def test_a_session_refuses_foreign_facts() -> None:
    refuses_foreign_facts(sessions.evolve, OPENED)


@pytest.mark.parametrize(
    ("age", "idle", "live"),
    [
        (timedelta(0), timedelta(0), True),
        (ABSOLUTE_LIFE - timedelta(seconds=1), timedelta(0), True),
        (ABSOLUTE_LIFE, timedelta(0), False),
        (IDLE_LIFE, IDLE_LIFE - timedelta(seconds=1), True),
        (IDLE_LIFE, IDLE_LIFE, False),
    ],
)
def test_is_live_ends_with_age_and_with_idleness(
    age: timedelta, idle: timedelta, live: bool
) -> None:
    now = A_TIME + age
    assert sessions.is_live(opened_at=A_TIME, seen_at=now - idle, now=now) is live
