"""Bans of addresses and client lists reach Redis change by change, and whole when it lost them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from psycopg_pool import ConnectionPool
from redis import Redis

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain import address_bans
from domain.address_bans import AddressBan, AddressBans
from domain.kernel import Envelope, Fact, Meta
from domain.site import SITE, SiteSettingsChanged
from interfaces.access_feed import AccessPublisher
from projections import engine
from projections.access import AccessProjection
from projections.access_rules import network_key
from projections.address_bans import AddressBansProjection, all_banned_networks
from tests.kit.api import SystemEntropy
from tracker.banned_addresses import BannedAddresses
from tracker.rules import Rules, read_rules
from tracker.wire import (
    ACCESS_ADDRESSES,
    ACCESS_CHANGES,
    ACCESS_RULES,
    ACCESS_SEQ,
    BANNED_ADDRESS,
    CHANGE_ADDRESS,
    BannedAddress,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODELS = (AccessProjection(), AddressBansProjection())


@dataclass
class Site:
    """A log with its two read models of bans, and Redis."""

    log: EventLog
    pool: ConnectionPool
    redis: Redis
    at: datetime = NOW

    def __post_init__(self) -> None:
        self.buckets: dict[UUID, AddressBans] = {}
        self.settings_version = 0

    def ban(self, text: str, until: datetime | None = None) -> None:
        network = address_bans.read_network(text)
        bucket_id = address_bans.bucket_id(address_bans.spell(network))
        ban = AddressBan(reason=f"for {text}", until=until, automatic=False)
        bucket = self.buckets.get(bucket_id, AddressBans())
        facts = address_bans.ban_address(bucket, network, ban, author=uuid4(), now=self.at)
        self._record(bucket_id, facts)

    def unban(self, text: str) -> None:
        network = address_bans.read_network(text)
        bucket_id = address_bans.bucket_id(address_bans.spell(network))
        self._record(bucket_id, address_bans.unban_address(self.buckets[bucket_id], network))

    def change(self, **settings: str | int) -> None:
        self.settings_version += 1
        self._append(SITE, self.settings_version, SiteSettingsChanged(changes=dict(settings)))

    def _record(self, id: UUID, facts: Sequence[Fact]) -> None:
        for fact in facts:
            before = self.buckets.get(id)
            envelope = self._append(id, before.version + 1 if before else 1, fact)
            self.buckets[id] = address_bans.evolve(before, envelope)

    def _append(self, id: UUID, version: int, fact: Fact) -> Envelope:
        self.at += timedelta(seconds=1)
        meta = Meta(at=self.at, actor=None, command=uuid4(), correlation=uuid4())
        envelope = Envelope(originator_id=id, originator_version=version, meta=meta, fact=fact)
        self.log.append(Writes(command_id=meta.command, envelopes=(envelope,)))
        return envelope

    def publish(self, limit: int = 500) -> None:
        with self.pool.connection() as conn:
            for model in MODELS:
                while isinstance(engine.step(conn, self.log, model, limit=limit), int):
                    pass
        assert AccessPublisher(self.redis, self.pool, SystemEntropy()).publish() is True

    def copied(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.redis.hgetall(ACCESS_ADDRESSES)
        return found

    def followed(self) -> BannedAddresses:
        """What a tracker knows that applied every change of the stream."""
        known = BannedAddresses()
        for _, fields in self.redis.xrange(ACCESS_CHANGES):
            if fields[b"k"] == CHANGE_ADDRESS:
                known.apply(BannedAddress._make(BANNED_ADDRESS.unpack(fields[b"e"])))
        return known

    def loaded(self) -> BannedAddresses:
        """What a tracker knows that starts now."""
        known = BannedAddresses()
        known.load(self.copied())
        return known

    def rules(self) -> Rules:
        return read_rules(self.redis.get(ACCESS_RULES), Rules())


@pytest.fixture
def site(app_url: str, redis_url: str) -> Iterator[Site]:
    log = EventLog(app_url, Keyring.generate(), registry())
    redis = Redis.from_url(redis_url)
    with ConnectionPool(
        app_url, min_size=1, max_size=4, open=True, kwargs={"autocommit": True}
    ) as pool:
        with pool.connection() as conn:
            for model in MODELS:
                engine.install(conn, model)
        yield Site(log, pool, redis)
    redis.close()
    log.close()


def covered(known: BannedAddresses, text: str, now: int = 0) -> bool:
    length, network = network_key(text)
    assert length == 128
    return known.covers(network[12:] if "." in text else network, now)


def test_bans_and_lifted_bans_are_published_one_by_one(site: Site) -> None:
    site.publish()
    site.ban("203.0.113.0/24")
    site.ban("2001:db8::/32", until=NOW + timedelta(hours=1, microseconds=1))
    site.publish()
    for known in (site.followed(), site.loaded()):
        assert covered(known, "203.0.113.77")
        assert covered(known, "2001:db8::1", int(NOW.timestamp()) + 3600)
        assert not covered(known, "2001:db8::1", int(NOW.timestamp()) + 3601)
        assert not covered(known, "203.0.114.77")
    site.unban("203.0.113.0/24")
    site.publish()
    for known in (site.followed(), site.loaded()):
        assert not covered(known, "203.0.113.77")
        assert len(known) == 1


def test_a_copy_that_was_lost_is_made_anew_without_lifted_bans(site: Site) -> None:
    for number in range(3):
        site.ban(f"10.0.{number}.0/24")
    site.unban("10.0.1.0/24")
    site.change(deniedClients="-XL, -BC")
    site.publish()
    right = site.copied()
    assert len(right) == 2
    site.redis.flushdb()
    site.publish()
    assert site.copied() == right
    site.redis.hset(ACCESS_ADDRESSES, b"x" * 17, b"y" * 8)
    site.redis.delete(ACCESS_SEQ)
    site.publish()
    assert site.copied() == right
    for number in (0, 2):
        site.unban(f"10.0.{number}.0/24")
    site.redis.delete(ACCESS_SEQ)
    site.publish()
    assert site.copied() == {}
    assert site.rules().denied_clients == (b"-XL", b"-BC")


def test_client_lists_are_published_as_rules(site: Site) -> None:
    site.publish()
    site.change(siteTitle="No rule", addressLinkDays=3)
    site.publish()
    assert json.loads(site.redis.get(ACCESS_RULES)) == {}
    site.change(allowedClients="-TR, -qB A2-", deniedClients="-TR2")
    site.publish()
    assert site.rules().allowed_clients == (b"-TR", b"-qB", b"A2-")
    assert site.rules().denied_clients == (b"-TR2",)
    _, fields = site.redis.xrevrange(ACCESS_CHANGES, count=1)[0]
    assert (fields[b"k"], fields[b"e"]) == (b"r", site.redis.get(ACCESS_RULES))
    site.change(allowedClients="")
    site.publish()
    assert site.rules().allowed_clients == ()
    assert site.rules().denied_clients == (b"-TR2",)


def test_read_models_of_bans_do_not_depend_on_batches(site: Site) -> None:
    site.ban("10.0.0.0/24")
    site.unban("10.0.0.0/24")
    site.ban("10.0.0.0/24", until=NOW + timedelta(days=1))
    site.ban("10.0.0.0/24")
    site.ban("10.0.0.7")
    site.unban("10.0.0.7")
    seen = []
    for limit in (1, 2, 500):
        with site.pool.connection() as conn:
            for model in MODELS:
                engine.drop(conn, engine.schema_of(model))
                engine.install(conn, model)
        site.publish(limit)
        with site.pool.connection() as conn:
            rows = conn.execute("SELECT b::text FROM address_bans_1.bans b").fetchall()
            rows += conn.execute(
                "SELECT n::text FROM access_3.banned_networks n ORDER BY network"
            ).fetchall()
            assert all_banned_networks(conn) == [("10.0.0.0/24", None)]
        seen.append(rows)
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 3
