"""The access feed: Redis holds what the read model holds, whoever publishes and whatever was lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest
import uuid6
from psycopg_pool import ConnectionPool
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from application.ports import Appended, Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from interfaces.access_feed import (
    ACCESS_PUBLISHER,
    AccessPublisher,
    PublishAccessAfterCommit,
)
from projections import engine
from projections.access import AccessProjection, access_head
from tests.projections.catalogue_story import Story
from tracker.wire import (
    ACCESS_ACCOUNTS,
    ACCESS_CHANGES,
    ACCESS_RULES,
    ACCESS_SEQ,
    ACCESS_SOURCE,
    ACCESS_TORRENTS,
    ACCOUNT_SIZE,
    CHUNK_SHIFT,
    TORRENT_SIZE,
    unpack_account,
    unpack_torrent,
)


class RealEntropy:
    def uuid(self) -> UUID:
        return UUID(bytes=uuid6.uuid7().bytes)

    def token(self, size: int) -> bytes:
        return os.urandom(size)


@dataclass
class Site:
    """A log, its access read model, and publishers to one Redis."""

    log: EventLog
    pool: ConnectionPool
    redis: Redis

    def publisher(self) -> AccessPublisher:
        return AccessPublisher(self.redis, self.pool, RealEntropy())

    def add(self, story: Story, since: int = 0) -> int:
        """Append what the story tells after `since` facts and fold it; the facts so far."""
        for envelope in story.envelopes[since:]:
            self.log.append(Writes(command_id=uuid4(), envelopes=(envelope,)))
        with self.pool.connection() as conn:
            while isinstance(engine.step(conn, self.log, AccessProjection()), int):
                pass
        return len(story.envelopes)

    def head(self) -> int:
        with self.pool.connection() as conn:
            return access_head(conn)


@pytest.fixture
def site(app_url: str, redis_url: str) -> Iterator[Site]:
    log = EventLog(app_url, Keyring.generate(), registry())
    redis = Redis.from_url(redis_url)
    with ConnectionPool(
        app_url, min_size=1, max_size=6, open=True, kwargs={"autocommit": True}
    ) as pool:
        with pool.connection() as conn:
            engine.install(conn, AccessProjection())
        yield Site(log, pool, redis)
    redis.close()
    log.close()


def copy_in(redis: Redis) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    """Accounts and torrents as a tracker that loads all chunks has them."""
    found: list[set[tuple[object, ...]]] = []
    for prefix, size, unpack in (
        (ACCESS_ACCOUNTS, ACCOUNT_SIZE, unpack_account),
        (ACCESS_TORRENTS, TORRENT_SIZE, unpack_torrent),
    ):
        entries: set[tuple[object, ...]] = set()
        for key in redis.scan_iter(match=f"{prefix}*"):
            packed = redis.get(key)
            for at in range(0, len(packed), size):
                entry = unpack(packed[at : at + size])
                if entry.number:
                    assert entry.number >> CHUNK_SHIFT == int(key.split(b":")[-1])
                    assert at == entry.number % (1 << CHUNK_SHIFT) * size
                    entries.add(tuple(entry))
        found.append(entries)
    return found[0], found[1]


def rows_of(site: Site) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    with site.pool.connection() as conn:
        accounts = conn.execute(
            "SELECT number, 41, flags, epoch_announce, epoch_torznab, epoch_feed, epoch_api"
            " FROM access_3.accounts"
        ).fetchall()
        torrents = conn.execute(
            "SELECT number, uploader, canonical, alias, state FROM access_3.torrents"
        ).fetchall()
    return set(accounts), set(torrents)


def changes_in(redis: Redis) -> list[tuple[int, bytes]]:
    return [
        (int(entry.split(b"-")[0]), fields[b"k"]) for entry, fields in redis.xrange(ACCESS_CHANGES)
    ]


def test_an_empty_site_has_a_sequence_and_rules(site: Site) -> None:
    assert site.publisher().publish() is True
    assert site.redis.get(ACCESS_SEQ) == b"0"
    assert site.redis.get(ACCESS_RULES) == b"{}"
    assert copy_in(site.redis) == (set(), set())


def test_the_copy_follows_the_read_model_change_by_change(site: Site) -> None:
    story = Story(9).tell(5)
    told = site.add(story)
    publisher = site.publisher()
    assert publisher.publish() is True
    assert copy_in(site.redis) == rows_of(site)
    for _ in range(8):
        story.tell_on(4)
        told = site.add(story, told)
        assert publisher.publish() is True
        assert copy_in(site.redis) == rows_of(site)
        assert site.redis.get(ACCESS_SEQ) == str(site.head()).encode()
    changes = changes_in(site.redis)
    assert [seq for seq, _ in changes] == sorted({seq for seq, _ in changes})
    assert changes[-1][0] == site.head()
    assert [kind for _, kind in changes] == [b"r"] + [b"t"] * (len(changes) - 1)


def test_a_new_account_is_told_with_the_key_of_its_passkeys(site: Site) -> None:
    story = Story().tell(0)
    told = site.add(story)
    site.publisher().publish()
    story.register(5)
    site.add(story, told)
    site.publisher().publish()
    (_, fields) = site.redis.xrange(ACCESS_CHANGES)[-1]
    entry = unpack_account(fields[b"e"])
    assert fields[b"k"] == b"a"
    assert (entry.number, entry.kid, entry.flags, entry.epoch_announce) == (5, 41, 3, 1)


def test_publishing_again_writes_nothing(site: Site) -> None:
    site.add(Story().tell(10))
    publisher = site.publisher()
    publisher.publish()
    before = changes_in(site.redis), copy_in(site.redis)
    assert publisher.publish() is True
    assert (changes_in(site.redis), copy_in(site.redis)) == before


def test_a_late_publisher_changes_nothing(site: Site) -> None:
    story = Story(4).tell(10)
    told = site.add(story)
    site.publisher().publish()
    seq = int(site.redis.get(ACCESS_SEQ))
    story.tell_on(6)
    told = site.add(story, told)
    site.publisher().publish()
    right, changes = copy_in(site.redis), changes_in(site.redis)
    late = site.publisher()
    with site.pool.connection() as conn:
        source = site.redis.get(ACCESS_SOURCE).decode()
        assert late._publish_changes(conn, source, seq) is False
    assert copy_in(site.redis) == right
    assert changes_in(site.redis) == changes


def test_two_publishers_at_once_leave_one_right_copy(site: Site) -> None:
    story = Story(6).tell(10)
    told = site.add(story)
    site.publisher().publish()
    for _ in range(5):
        story.tell_on(6)
        told = site.add(story, told)
        threads = [threading.Thread(target=site.publisher().publish) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert copy_in(site.redis) == rows_of(site)
        sequence = [seq for seq, _ in changes_in(site.redis)]
        assert sequence == sorted(set(sequence))
        assert site.redis.get(ACCESS_SEQ) == str(site.head()).encode()


def test_the_whole_is_made_anew_where_redis_lost_its_data(site: Site) -> None:
    site.add(Story(2).tell(20))
    site.publisher().publish()
    site.redis.flushdb()
    assert site.publisher().publish() is True
    assert copy_in(site.redis) == rows_of(site)
    assert site.redis.get(ACCESS_SEQ) == str(site.head()).encode()
    assert site.redis.get(ACCESS_PUBLISHER) is None


def test_a_copy_of_another_history_or_of_a_later_time_is_replaced(site: Site) -> None:
    site.add(Story(2).tell(20))
    site.publisher().publish()
    right = copy_in(site.redis)
    site.redis.set(ACCESS_SOURCE, "access_3:another")
    site.redis.set(f"{ACCESS_ACCOUNTS}77", b"x" * ACCOUNT_SIZE)
    assert site.publisher().publish() is True
    assert copy_in(site.redis) == right
    site.redis.set(ACCESS_SEQ, site.head() + 100)
    site.redis.xadd(ACCESS_CHANGES, {"k": "a", "e": "x"}, id=f"{site.head() + 100}-0")
    assert site.publisher().publish() is True
    assert copy_in(site.redis) == right
    assert changes_in(site.redis) == [(site.head(), b"r")]


def test_only_one_makes_the_whole_anew(site: Site) -> None:
    site.add(Story(2).tell(20))
    site.redis.set(ACCESS_PUBLISHER, "somebody", px=60_000)
    assert site.publisher().publish() is False
    assert site.redis.get(ACCESS_SEQ) is None
    site.redis.delete(ACCESS_PUBLISHER)
    assert site.publisher().publish() is True


def test_after_a_commit_trackers_know_at_once_and_a_failure_is_counted(site: Site) -> None:
    site.add(Story(2).tell(5))
    hook = PublishAccessAfterCommit(lambda _: ("history",), site.publisher())
    appended = Appended(first=1, last=9, topics=frozenset({"torrent.uploaded.1"}))
    other = Appended(first=1, last=9, topics=frozenset({"member.followed.1"}))
    assert hook(other) == ("history",)
    assert site.redis.get(ACCESS_SEQ) is None
    assert hook(appended) == ("history",)
    assert site.redis.get(ACCESS_SEQ) == str(site.head()).encode()
    away = Redis(host="127.0.0.1", port=1, retry=None)
    broken = PublishAccessAfterCommit(lambda _: (), AccessPublisher(away, site.pool, RealEntropy()))
    assert broken(appended) == ("access_feed",)
    assert broken.failures == 1
    with pytest.raises(RedisAway):
        AccessPublisher(away, site.pool, RealEntropy()).publish()
    away.close()


def test_a_commit_stands_whatever_happens_when_it_is_published(site: Site) -> None:
    site.add(Story(2).tell(5))
    with site.pool.connection() as conn:
        conn.execute("DROP SCHEMA access_3 CASCADE")
    hook = PublishAccessAfterCommit(lambda _: (), site.publisher())
    appended = Appended(first=1, last=9, topics=frozenset({"torrent.uploaded.1"}))
    assert hook(appended) == ("access_feed",)
    assert hook.failures == 1


def test_the_connection_is_left_as_it_was(site: Site) -> None:
    site.add(Story(2).tell(5))
    with site.pool.connection() as conn:
        before = conn.isolation_level, conn.autocommit
    for _ in range(6):
        site.redis.flushdb()
        site.publisher().publish()
    with site.pool.connection() as conn:
        assert (conn.isolation_level, conn.autocommit) == before
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
