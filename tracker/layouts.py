"""Layouts: how many shards the streams are cut into, and what a new layout takes from the old.

The list of layouts stands in Redis beside the streams it names: they are lost and restored
together.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tracker.lease import ShardLease
from tracker.redis_link import RedisCalls
from tracker.resp import RedisError, pack_command
from tracker.shard_map import owner_of
from tracker.wire import (
    CHUNK_ENTRIES,
    CHUNK_SHIFT,
    LAYOUTS,
    TORRENT_SIZE,
    stream_name,
    torrents_chunk,
    unpack_torrent,
)

# Add a layout unless another has been added since. KEYS: list.  ARGV: newest, next, shards.
_ADD: Final = """
local newest = 0
for _, number in ipairs(redis.call('HKEYS', KEYS[1])) do
    newest = math.max(newest, tonumber(number))
end
if newest ~= tonumber(ARGV[1]) then return 0 end
return redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
"""
_SEAL_GROUP: Final = "seal"


class Layout(NamedTuple):
    """A numbering of streams: its own number, and its shards."""

    number: int
    shards: int


def known_layouts(calls: RedisCalls) -> list[Layout]:
    """Every layout whose streams may still hold something, oldest first.

    Raises RedisError, OSError.
    """
    reply = calls.call(pack_command("HGETALL", LAYOUTS))
    if not isinstance(reply, list):
        raise RedisError("the list of layouts cannot be read")
    words = [word for word in reply if isinstance(word, bytes)]
    return sorted(Layout(int(n), int(s)) for n, s in zip(words[::2], words[1::2], strict=True))


def settle_layouts(calls: RedisCalls, shards: int, mark: str) -> list[Layout] | None:
    """All layouts, the last one of `shards` shards: made now where their number has changed.

    The old layout ends first: with all its leases in our hands its streams are closed, so every
    record of it comes before all of the new one. None while a tracker of it still runs.
    Raises RedisError, OSError.
    """
    layouts = known_layouts(calls)
    newest = layouts[-1] if layouts else Layout(0, 0)
    if newest.shards == shards:
        return layouts
    held: list[ShardLease] = []
    try:
        for shard in range(newest.shards):
            lease = ShardLease(newest.number, shard, mark)
            epoch = lease.take(calls)
            if epoch is None:
                return None
            held.append(lease)
            _close_stream(calls, stream_name(newest.number, shard), epoch)
        add = pack_command("EVAL", _ADD, 1, LAYOUTS, newest.number, newest.number + 1, shards)
        calls.call(add)
    finally:
        for lease in held:
            lease.give_back(calls)
    layouts = known_layouts(calls)
    return layouts if layouts and layouts[-1].shards == shards else None


def _close_stream(calls: RedisCalls, stream: str, epoch: int) -> None:
    """Let the stream refuse whatever an earlier holder may still have on its way to it."""
    if calls.call(pack_command("EXISTS", stream)) == 0:
        # An empty stream refuses as well, and a group is the one way to make one.
        calls.call(pack_command("XGROUP", "CREATE", stream, _SEAL_GROUP, "0", "MKSTREAM"))
        calls.call(pack_command("XGROUP", "DESTROY", stream, _SEAL_GROUP))
    ShardLease.fence(calls, stream, epoch)


class OwnedTorrents:
    """Tells by a torrent's number whether it is this shard's, from the access feed's chunks."""

    def __init__(self, calls: RedisCalls, shard: int, shards: int) -> None:
        self._calls = calls
        self._shard = shard
        self._shards = shards
        self._owners: dict[int, list[int]] = {}

    def owns(self, torrent: int) -> bool:
        """A torrent the feed does not know falls to one shard by its number, which lets its
        peers run out. Raises RedisError, OSError.
        """
        chunk = torrent >> CHUNK_SHIFT
        owners = self._owners.get(chunk)
        if owners is None:
            owners = self._owners[chunk] = self._load(chunk)
        return owners[torrent & (CHUNK_ENTRIES - 1)] == self._shard

    def _load(self, chunk: int) -> list[int]:
        shards = self._shards
        first = chunk << CHUNK_SHIFT
        owners = [number % shards for number in range(first, first + CHUNK_ENTRIES)]
        packed = self._calls.call(pack_command("GET", torrents_chunk(first)))
        if isinstance(packed, bytes):
            whole = len(packed) - len(packed) % TORRENT_SIZE
            for at in range(0, whole, TORRENT_SIZE):
                entry = unpack_torrent(packed[at : at + TORRENT_SIZE])
                if entry.number >> CHUNK_SHIFT == chunk:
                    owners[entry.number - first] = owner_of(entry.canonical, shards)
        return owners
