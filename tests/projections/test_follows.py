"""Follows: rows and counters depend on the facts alone, whatever the batches were."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from random import Random
from uuid import UUID, uuid4

import pytest

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain import follows
from domain.follows import Follow
from domain.kernel import Envelope, Meta
from projections import engine
from projections.engine import Connection, schema_of
from projections.follows import FollowsProjection, count_followers, count_following, is_following
from projections.rebuild import rebuild
from tests.projections.catalogue_story import START, named

MEMBERS = [named(1, number) for number in range(1, 5)]
FOLLOWS = FollowsProjection()


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry())
    yield opened
    opened.close()


def tell(log: EventLog) -> set[tuple[UUID, UUID]]:
    """Sixty random changes of mind; who follows whom at the end."""
    random = Random(5)
    states: dict[tuple[UUID, UUID], Follow] = {}
    pairs = [pair for pair in product(MEMBERS, MEMBERS) if pair[0] != pair[1]]
    for hours in range(60):
        pair = random.choice(pairs)
        state = states.get(pair, Follow())
        decide = follows.unfollow_member if state.following else follows.follow_member
        (fact,) = decide(state, *pair)
        meta = Meta(
            at=START + timedelta(hours=hours), actor=pair[0], command=uuid4(), correlation=uuid4()
        )
        envelope = Envelope(
            originator_id=follows.follow_id(*pair),
            originator_version=state.version + 1,
            meta=meta,
            fact=fact,
        )
        states[pair] = follows.evolve(state, envelope)
        log.append(Writes(command_id=meta.command, envelopes=(envelope,)))
    return {pair for pair, state in states.items() if state.following}


def catch_up(conn: Connection, log: EventLog, limit: int) -> None:
    engine.install(conn, FOLLOWS)
    while isinstance(engine.step(conn, log, FOLLOWS, limit=limit), int):
        pass


def rows(conn: Connection) -> list[object]:
    found: list[object] = []
    found += conn.execute("SELECT f::text FROM follows_1.follows f ORDER BY 1").fetchall()
    found += conn.execute("SELECT f::text FROM follows_1.followers f ORDER BY 1").fetchall()
    return found


def test_a_rebuild_equals_what_was_folded_in_any_batches(conn: Connection, log: EventLog) -> None:
    tell(log)
    seen = []
    for limit in (1, 7, 500):
        engine.drop(conn, schema_of(FOLLOWS))
        catch_up(conn, log, limit)
        seen.append(rows(conn))
    rebuild(conn, log, FOLLOWS)
    seen.append(rows(conn))
    assert len(seen[0]) > 3
    assert all(each == seen[0] for each in seen)


def test_counts_are_of_those_who_follow_now(conn: Connection, log: EventLog) -> None:
    following = tell(log)
    catch_up(conn, log, 7)
    for member in MEMBERS:
        assert count_followers(conn, member) == sum(pair[1] == member for pair in following)
        assert count_following(conn, member) == sum(pair[0] == member for pair in following)
    for pair in product(MEMBERS, MEMBERS):
        assert is_following(conn, *pair) == (pair in following)
