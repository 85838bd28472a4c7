"""The access feed: copies what trackers may let in from its read model to Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import structlog
from psycopg import Connection, IsolationLevel
from psycopg_pool import ConnectionPool
from redis import Redis

from application.ports import AfterCommit, Appended, Entropy
from projections.access import (
    AccessProjection,
    Entry,
    access_changes,
    access_head,
    access_source,
    account_entries,
    torrent_entries,
)
from projections.access_rules import access_rules, banned_networks
from tracker.wire import (
    ACCESS_ACCOUNTS,
    ACCESS_ADDRESSES,
    ACCESS_CHANGES,
    ACCESS_RULES,
    ACCESS_SEQ,
    ACCESS_SOURCE,
    ACCESS_TORRENTS,
    ACCOUNT_SIZE,
    BANNED_ADDRESS,
    BANNED_NETWORK,
    BANNED_UNTIL,
    CHANGE_ACCOUNT,
    CHANGE_ADDRESS,
    CHANGE_RULES,
    CHANGE_TORRENT,
    CHUNK_ENTRIES,
    CHUNK_SHIFT,
    TORRENT_SIZE,
    AccountEntry,
    BannedAddress,
    accounts_chunk,
    pack_account,
    pack_torrent,
    torrents_chunk,
)

ACCESS_PUBLISHER = "access:publisher"
"""Held by the one publisher that makes the whole copy anew."""
_FRESH_ADDRESSES = "access:addresses-fresh"
"""Takes the place of the banned addresses at once, so that no tracker loads half of them."""
CHANGES_KEPT = 100_000
BATCH = 1_000
LEASE_MS = 30_000

# Everything happens in one script, so a publisher that is late (`access:seq` has moved on)
# changes nothing, and a tracker never sees a chunk ahead of the stream by half a batch.
# KEYS: seq, source, changes, chunks…  ARGV: expected seq, source, new seq, kept, then five of
# each change: number of its chunk among KEYS, offset, seq, kind, entry.
_APPLY = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then
    return 0
end
for i = 5, #ARGV, 5 do
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], ARGV[i + 2] .. '-0',
               'k', ARGV[i + 3], 'e', ARGV[i + 4])
    local key, kind, entry = KEYS[3 + ARGV[i]], ARGV[i + 3], ARGV[i + 4]
    if kind == 'r' then
        redis.call('SET', key, entry)
    elseif kind == 'b' and string.byte(entry, 26) == 1 then
        redis.call('HSET', key, string.sub(entry, 1, 17), string.sub(entry, 18, 25))
    elseif kind == 'b' then
        redis.call('HDEL', key, string.sub(entry, 1, 17))
    else
        redis.call('SETRANGE', key, ARGV[i + 1], entry)
    end
end
redis.call('SET', KEYS[1], ARGV[3])
return 1
"""
# KEYS: publisher, chunk.  ARGV: token, lease in ms, packed entries.
_PUT_CHUNK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3])
return 1
"""
# The new stream begins with the rules at the copy's own sequence, so that a tracker which
# loaded the copy sees from the next change that it missed none.
# KEYS: publisher, seq, source, rules, changes, addresses, fresh addresses.
# ARGV: token, seq, source, rules.
_FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[4], ARGV[4])
if redis.call('EXISTS', KEYS[7]) == 1 then
    redis.call('RENAME', KEYS[7], KEYS[6])
else
    redis.call('DEL', KEYS[6])
end
if ARGV[2] ~= '0' then
    redis.call('XADD', KEYS[5], ARGV[2] .. '-0', 'k', 'r', 'e', ARGV[4])
end
redis.call('SET', KEYS[3], ARGV[3])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[1])
return 1
"""
# KEYS: publisher, hash.  ARGV: token, then fields and values in turn.
_PUT_HASH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
"""
# KEYS: publisher, key to remove.  ARGV: token.
_REMOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
return 1
"""


class LeaseLost(Exception):
    """Another publisher took over the copy that was being made."""


class AccessPublisher:
    """Keeps the copy in Redis equal to the read model; any number may run at once."""

    def __init__(
        self,
        redis: Redis,
        reads: ConnectionPool[Connection[Any]],
        entropy: Entropy,
    ) -> None:
        self._redis = redis
        self._reads = reads
        self._entropy = entropy
        self._apply = redis.register_script(_APPLY)
        self._put_chunk = redis.register_script(_PUT_CHUNK)
        self._finish = redis.register_script(_FINISH)
        self._remove = redis.register_script(_REMOVE)
        self._put_hash = redis.register_script(_PUT_HASH)

    def publish(self) -> bool:
        """Bring Redis up to the read model; True when it is, False while another is at it.

        Where Redis has no copy, one of another history, or one ahead of the read model (it was
        restored from a backup), the whole is made anew. Raises `RedisError`, `OperationalError`
        or `PoolTimeout` when one of the two is away.
        """
        with self._reads.connection() as conn:
            while True:
                head, source = access_head(conn), access_source(conn)
                published = self._published(source)
                if published is None or published > head:
                    return self._publish_all(conn)
                if published == head:
                    return True
                if not self._publish_changes(conn, source, published):
                    # Another publisher was faster: look again where the copy stands now.
                    continue

    def _published(self, source: str) -> int | None:
        """The sequence the copy stands at; None when there is none of this history."""
        seq, copied = self._redis.mget(ACCESS_SEQ, ACCESS_SOURCE)
        if seq is None or copied != source.encode():
            return None
        return int(seq)

    def _publish_changes(self, conn: Connection[Any], source: str, after: int) -> bool:
        changes = access_changes(conn, after=after, limit=BATCH)
        if not changes:
            return False
        chunks: dict[str, int] = {}
        values: list[str | int | bytes] = []
        for change in changes:
            key, offset, kind, packed = _placed(change.entry)
            place = chunks.setdefault(key, len(chunks) + 1)
            values += (place, offset, change.seq, kind, packed)
        done = self._apply(
            keys=[ACCESS_SEQ, ACCESS_SOURCE, ACCESS_CHANGES, *chunks],
            args=[after, source, changes[-1].seq, CHANGES_KEPT, *values],
        )
        return bool(done == 1)

    def _publish_all(self, conn: Connection[Any]) -> bool:
        token = self._entropy.token(16).hex()
        if not self._redis.set(ACCESS_PUBLISHER, token, nx=True, px=LEASE_MS):
            return False
        # Trackers serve what they know until the sequence is there again.
        for key in (ACCESS_SEQ, ACCESS_CHANGES, _FRESH_ADDRESSES):
            self._guarded(self._remove(keys=[ACCESS_PUBLISHER, key], args=[token]))
        with _snapshot(conn):
            head, source = access_head(conn), access_source(conn)
            accounts = ((entry.number, pack_account(entry)) for entry in account_entries(conn))
            torrents = ((entry.number, pack_torrent(entry)) for entry in torrent_entries(conn))
            kept = self._put_chunks(token, ACCESS_ACCOUNTS, accounts, ACCOUNT_SIZE)
            kept |= self._put_chunks(token, ACCESS_TORRENTS, torrents, TORRENT_SIZE)
            self._put_addresses(token, banned_networks(conn))
            rules = access_rules(conn)
        self._remove_foreign(token, kept)
        self._guarded(
            self._finish(
                keys=[
                    ACCESS_PUBLISHER,
                    ACCESS_SEQ,
                    ACCESS_SOURCE,
                    ACCESS_RULES,
                    ACCESS_CHANGES,
                    ACCESS_ADDRESSES,
                    _FRESH_ADDRESSES,
                ],
                args=[token, head, source, rules],
            )
        )
        structlog.get_logger().info("access.published", seq=head, chunks=len(kept))
        return True

    def _put_chunks(
        self, token: str, prefix: str, entries: Iterable[tuple[int, bytes]], size: int
    ) -> set[str]:
        kept = set()
        for chunk, group in groupby(entries, key=lambda entry: entry[0] >> CHUNK_SHIFT):
            packed = bytearray(CHUNK_ENTRIES * size)
            for number, entry in group:
                offset = number % CHUNK_ENTRIES * size
                packed[offset : offset + size] = entry
            key = f"{prefix}{chunk}"
            self._guarded(
                self._put_chunk(keys=[ACCESS_PUBLISHER, key], args=[token, LEASE_MS, bytes(packed)])
            )
            kept.add(key)
        return kept

    def _put_addresses(self, token: str, banned: Iterable[BannedAddress]) -> None:
        pairs: list[bytes] = []
        for ban in banned:
            pairs += (BANNED_NETWORK.pack(ban.length, ban.network), BANNED_UNTIL.pack(ban.until))
        for at in range(0, len(pairs), 2 * BATCH):
            portion = pairs[at : at + 2 * BATCH]
            self._guarded(
                self._put_hash(keys=[ACCESS_PUBLISHER, _FRESH_ADDRESSES], args=[token, *portion])
            )

    def _remove_foreign(self, token: str, kept: set[str]) -> None:
        """Remove chunks of accounts and torrents this history does not have."""
        for prefix in (ACCESS_ACCOUNTS, ACCESS_TORRENTS):
            for found in self._redis.scan_iter(match=f"{prefix}*", count=1_000):
                key = found.decode() if isinstance(found, bytes) else str(found)
                if key not in kept:
                    self._guarded(self._remove(keys=[ACCESS_PUBLISHER, key], args=[token]))

    @staticmethod
    def _guarded(done: object) -> None:
        if done != 1:
            raise LeaseLost()


def _placed(entry: Entry) -> tuple[str, int, bytes, bytes]:
    """Key, offset in it, kind and bytes of an entry; what is no chunk has offset 0."""
    if isinstance(entry, bytes):
        return ACCESS_RULES, 0, CHANGE_RULES, entry
    if isinstance(entry, BannedAddress):
        return ACCESS_ADDRESSES, 0, CHANGE_ADDRESS, BANNED_ADDRESS.pack(*entry)
    slot = entry.number % CHUNK_ENTRIES
    if isinstance(entry, AccountEntry):
        packed = pack_account(entry)
        return accounts_chunk(entry.number), slot * ACCOUNT_SIZE, CHANGE_ACCOUNT, packed
    packed = pack_torrent(entry)
    return torrents_chunk(entry.number), slot * TORRENT_SIZE, CHANGE_TORRENT, packed


@contextmanager
def _snapshot(conn: Connection[Any]) -> Iterator[None]:
    """One REPEATABLE READ transaction: chunks and sequence belong together."""
    before = conn.isolation_level
    conn.commit()
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with conn.transaction():
            yield
    finally:
        conn.isolation_level = before


class PublishAccessAfterCommit:
    """After a commit: step the read models, then tell trackers at once where it is theirs."""

    def __init__(self, step: AfterCommit, publisher: AccessPublisher) -> None:
        self._step = step
        self._publisher = publisher
        self._topics = AccessProjection().topics or frozenset()
        self.failures = 0
        """Publications that failed; the worker's loop makes them good within a second."""

    def __call__(self, appended: Appended) -> tuple[str, ...]:
        """Names of read models still behind; "access_feed" when trackers do not know yet."""
        stale = self._step(appended)
        if not appended.topics & self._topics:
            return stale
        try:
            done = self._publisher.publish()
        except Exception as fault:  # noqa: BLE001 (the commit stands, whatever happens here)
            self.failures += 1
            structlog.get_logger().warning("access.publish_failed", fault=type(fault).__name__)
            done = False
        return stale if done else (*stale, "access_feed")
