"""A start that has read the access feed a while ago lets nobody in by what it knew then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tracker.running_tracker import Feed, account, eventually, torrent
from tracker import wire
from tracker.access import AccessFeed
from tracker.access_load import load_access
from tracker.event_loop import EventLoop
from tracker.redis_link import RedisCalls, RedisLink
from tracker.resp import parse_redis_url
from tracker.rules import Rules


class FollowedFeed:
    """An access feed that adopted what is published now, with a link that is not up yet."""

    def __init__(self, redis_url: str) -> None:
        address = parse_redis_url(redis_url)
        with RedisCalls(address, 5.0) as calls:
            loaded = load_access(calls)
        assert loaded is not None
        self.loop = EventLoop()
        self.access = AccessFeed(self.loop, Rules(), lambda event, **fields: None)
        self.access.adopt(loaded)
        self.link = RedisLink(
            self.loop,
            address,
            silence=5.0,
            on_up=self.access.link_up,
            on_down=lambda reason: self.access.link_down(),
        )
        self.access.attach(self.link)

    def is_loaded(self) -> bool:
        self.loop.run_round()
        return self.access.loaded

    def flags(self) -> int:
        found = self.access.table.account(1)
        return found.flags if found is not None else -1

    def close(self) -> None:
        self.link.close()
        self.loop.close()


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish([account(1)], [torrent(10)])
    return feed


@pytest.fixture
def followed(feed: Feed, redis_url: str) -> Iterator[FollowedFeed]:
    del feed  # published first
    followed = FollowedFeed(redis_url)
    yield followed
    followed.close()


def test_what_was_read_before_counts_once_it_has_caught_up(
    feed: Feed, followed: FollowedFeed
) -> None:
    feed.change_account(account(1, flags=0))
    feed.redis.set(wire.ACCESS_SEQ, feed.seq)
    assert not followed.access.loaded
    eventually(followed.is_loaded, "not loaded")
    assert (followed.access.seq, followed.flags()) == (1, 0)


def test_where_nothing_has_changed_there_is_no_wait(followed: FollowedFeed) -> None:
    eventually(followed.is_loaded, "not loaded", seconds=0.9)
    assert followed.flags() == account(1).flags


def test_another_history_is_read_before_anybody_gets_in(feed: Feed, followed: FollowedFeed) -> None:
    feed.redis.set(wire.ACCESS_SOURCE, "another")
    feed.publish([account(1, flags=0)], [torrent(10)])
    eventually(followed.is_loaded, "not loaded")
    assert followed.flags() == 0
