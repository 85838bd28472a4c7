"""Presence: noted without waiting, at most once a minute, and told from the newest source."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from redis import Redis

from application.ports import VaultPut
from application.presence import PRESENCE_ID, PRESENCE_KIND, Presence, Seen
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.presence import KEPT, RedisPresence
from application.store.topics import registry
from domain.errors import Unavailable

START = datetime(2026, 1, 1, tzinfo=UTC)
ALICE, BERT = uuid4(), uuid4()
FROM = "203.0.113.9"


class Counted(RedisPresence):
    """Counts what reaches Redis, and is away when told so."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.noted: list[Mapping[UUID, Seen]] = []
        self.away = False

    def note(self, seen: Mapping[UUID, Seen]) -> None:
        if self.away:
            raise Unavailable("away")
        self.noted.append(seen)
        super().note(seen)


class Hall:
    def __init__(self, log: EventLog, redis: Redis) -> None:
        self.log = log
        self.redis = redis
        self.now = START
        self.store = Counted(redis)
        self.presence = Presence(log, self.store, clock=lambda: self.now)

    def other_process(self) -> Presence:
        return Presence(self.log, self.store, clock=lambda: self.now)


@pytest.fixture
def hall(app_url: str, redis_url: str) -> Iterator[Hall]:
    log = EventLog(app_url, Keyring.generate(), registry())
    redis = Redis.from_url(redis_url)
    redis.flushdb()
    yield Hall(log, redis)
    redis.close()
    log.close()


def test_many_requests_of_a_minute_are_one_note(hall: Hall) -> None:
    for second in range(60):
        hall.now = START + timedelta(seconds=second)
        hall.presence.touch(ALICE, FROM)
        hall.presence.push()
    assert hall.store.noted == [{ALICE: Seen(at=START, address=FROM)}]
    hall.now = START + timedelta(seconds=60)
    hall.presence.touch(ALICE, FROM)
    hall.presence.push()
    assert len(hall.store.noted) == 2


def test_a_touch_by_itself_asks_nobody(hall: Hall) -> None:
    hall.store.away = True
    hall.presence.touch(ALICE, FROM)
    assert (hall.store.noted, hall.presence.failures) == ([], 0)
    assert hall.presence.last(ALICE) == Seen(at=START, address=FROM)


def test_a_sign_in_from_elsewhere_counts_within_the_minute(hall: Hall) -> None:
    hall.presence.touch(ALICE, FROM)
    hall.now = START + timedelta(seconds=5)
    hall.presence.arrived(ALICE, "203.0.113.77")
    hall.presence.push()
    last = hall.other_process().last(ALICE)
    assert last == Seen(at=hall.now, address="203.0.113.77")


def test_what_redis_did_not_take_is_noted_later(hall: Hall) -> None:
    hall.store.away = True
    hall.presence.touch(ALICE, FROM)
    hall.presence.push()
    hall.presence.touch(BERT, None)
    hall.presence.push()
    assert hall.presence.failures == 2
    hall.store.away = False
    hall.presence.push()
    assert set(hall.store.noted[0]) == {ALICE, BERT}
    assert hall.presence.last_of({ALICE, BERT, uuid4()}).keys() == {ALICE, BERT}


def test_a_late_process_changes_neither_time_nor_address(hall: Hall) -> None:
    hall.store.note({ALICE: Seen(at=START, address=FROM)})
    hall.store.note({ALICE: Seen(at=START - timedelta(seconds=9), address="198.51.100.1")})
    assert hall.store.last([ALICE, BERT]) == {ALICE: Seen(at=START, address=FROM)}


def test_who_redis_does_not_know_the_vault_does(hall: Hall) -> None:
    kept = Seen(at=START - timedelta(days=9), address=FROM)
    put = VaultPut(kind=PRESENCE_KIND, owner=BERT, id=PRESENCE_ID, value=msgspec.json.encode(kept))
    hall.log.vault_write(puts=[put])
    assert hall.presence.last(BERT) == kept
    assert hall.presence.last(ALICE) is None


def test_counts_are_of_everybody_seen_since(hall: Hall) -> None:
    hall.presence.touch(ALICE, None)
    hall.other_process().touch(BERT, None)
    hall.store.note({BERT: Seen(at=START - timedelta(minutes=10))})
    assert hall.presence.count_since(START - timedelta(minutes=5)) == 1
    assert hall.presence.count_since(START - timedelta(minutes=10)) == 2
    hall.redis.close()
    gone = Presence(hall.log, RedisPresence(Redis(port=1)), clock=lambda: START)
    assert gone.count_since(START) is None


def test_each_change_is_taken_over_once(hall: Hall) -> None:
    hall.store.note({ALICE: Seen(at=START), BERT: Seen(at=START, address=FROM)})
    taken = {account: at for portion in hall.store.changed() for account, at in portion.items()}
    assert taken == {ALICE: Seen(at=START), BERT: Seen(at=START, address=FROM)}
    assert list(hall.store.changed()) == []


def test_a_take_over_that_broke_off_is_done_again(hall: Hall) -> None:
    hall.store.note({ALICE: Seen(at=START)})
    portions = hall.store.changed()
    next(portions)
    portions.close()
    hall.store.note({BERT: Seen(at=START)})
    again = {account for portion in hall.store.changed() for account in portion}
    assert again == {ALICE}
    assert {account for portion in hall.store.changed() for account in portion} == {BERT}


def test_who_is_long_gone_is_forgotten(hall: Hall) -> None:
    hall.store.note({ALICE: Seen(at=START, address=FROM), BERT: Seen(at=START + KEPT)})
    hall.store.forget_before(START + KEPT + timedelta(seconds=1))
    assert set(hall.store.last([ALICE, BERT])) == {BERT}
    assert hall.redis.hlen("presence:places") == 0


def test_the_loop_pushes_once_more_at_its_end(hall: Hall) -> None:
    stop = threading.Event()
    hall.presence.touch(ALICE, None)
    stop.set()
    hall.presence.run(stop)
    assert len(hall.store.noted) == 1
