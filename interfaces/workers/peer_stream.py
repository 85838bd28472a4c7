"""One shard's stream of peer events, from the reader's side: drain, rejoin, trim."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from domain.credit import MICROSECONDS
from projections.peer_ledger import Batch
from projections.peer_records import Records, UnreadableRecords, decode_entry, unpack
from tracker import wire

FIRST_ID: Final = "0-0"
_READ_ENTRIES: Final = 200
_FEWEST_ENTRIES: Final = 20
_MOST_ENTRIES: Final = 1_000
"""An answer has as many entries as are wanted if they are like the last ones, in these bounds."""
_FIRST_SIZE: Final = 100 * wire.RECORD_SIZE

# Raise the counter of epochs to what the ledger holds at least.
_RAISE: Final = """
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], ARGV[1])
end
"""
# Number the entries from ARGV[1] on anew, in their order, under an epoch above the counter's and
# ARGV[2]. In one step, as a tracker may be writing: its next id is then refused, so it starts anew
# with the epoch after this one.
_RENUMBER: Final = """
local epoch = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[2])) + 1
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
local number = 0
redis.call('SET', KEYS[2], string.format('%d', epoch))
repeat
    local entries = redis.call('XRANGE', KEYS[1], ARGV[1], last, 'COUNT', 100)
    for _, entry in ipairs(entries) do
        number = number + 1
        redis.call('XADD', KEYS[1], string.format('%d-%d', epoch, number), unpack(entry[2]))
        redis.call('XDEL', KEYS[1], entry[1])
    end
until #entries == 0
return number
"""
# Remove entries before an id, and note in the same step that they may be missing from here on.
# KEYS: stream, note.  ARGV: the id's epoch and number, packed point.
_TRIM: Final = """
local noted = redis.call('GET', KEYS[2])
local epoch, number = string.match(noted or '', '^(%d+)-(%d+)')
epoch, number = tonumber(epoch or 0), tonumber(number or 0)
local to_epoch, to_number = tonumber(ARGV[1]), tonumber(ARGV[2])
if to_epoch > epoch or (to_epoch == epoch and to_number > number) then
    redis.call('SET', KEYS[2], ARGV[3])
end
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1] .. '-' .. ARGV[2])
"""


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """Whole entries in order: the ids of the first and the last, and their records packed."""

    first_id: str
    last_id: str
    packed: bytes

    @property
    def records(self) -> int:
        return len(self.packed) // wire.RECORD_SIZE


def connect_stream(url: str) -> redis.Redis:
    """A Redis client for a worker: five seconds for an answer, and nothing is sent twice."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=5,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
    )


class PeerStream:
    """Reads by id, without a consumer group: what was archived is known by the ledger alone."""

    def __init__(self, client: redis.Redis, layout: int, shard: int) -> None:
        self._client = client
        self.layout = layout
        self._shard = shard
        self.name = wire.stream_name(layout, shard)
        self._entry_size = _FIRST_SIZE
        self._epoch = wire.epoch_name(layout, shard)

    def drain(self, after: str, limit: int) -> Drained | None:
        """Entries behind `after` with at most `limit` records, or one larger entry; None: none.

        Raises `UnreadableRecords` when the first entry is not of this program's version; one
        further on ends the batch, so that what came before it is archived first.
        """
        parts: list[bytes] = []
        ids: list[str] = []
        room = limit * wire.RECORD_SIZE
        while room > 0 and (entries := self._read(ids[-1] if ids else after, room)):
            for entry_id, fields in entries:
                try:
                    packed = decode_entry(
                        fields.get(wire.FIELD_VERSION), fields.get(wire.FIELD_RECORDS)
                    )
                except UnreadableRecords:
                    if not parts:
                        raise
                    return _gather(ids, parts)
                if parts and len(packed) > room:
                    return _gather(ids, parts)
                parts.append(packed)
                ids.append(entry_id)
                room -= len(packed)
        return _gather(ids, parts) if parts else None

    def _read(self, after: str, room: int) -> list[tuple[str, dict[bytes, bytes]]]:
        """Entries that hold about `room` bytes of records; others can follow in the next answer."""
        count = max(_FEWEST_ENTRIES, min(_MOST_ENTRIES, room // self._entry_size + 1))
        reply: Any = self._client.xread({self.name: after}, count=count)
        entries = [(entry_id.decode(), fields) for _, read in reply for entry_id, fields in read]
        sizes = [len(fields.get(wire.FIELD_RECORDS, b"")) for _, fields in entries]
        self._entry_size = max([wire.RECORD_SIZE, *sizes]) if sizes else self._entry_size
        return entries

    def rejoin(self, last_id: str, newest_at: int) -> int:
        """Number anew what stands before `last_id` though it is younger; gives how many entries.

        A Redis that lost its contents lets the tracker begin again with an early epoch, and such
        entries would never be read: their credit would be lost without a word. `newest_at` is
        the time of the newest record the ledger holds of this stream; times of a shard never
        fall, so entries behind it are not archived.
        """
        end: Any = self._client.xrevrange(self.name, max=last_id, count=1)
        if not end or _newest_at(end[0]) <= newest_at:
            return 0
        start = "-"
        while entries := self._range(start):
            for entry in entries:
                if _newest_at(entry) > newest_at:
                    return self._renumber(entry[0].decode(), last_id)
            start = f"({entries[-1][0].decode()}"
        return 0

    def raise_epoch(self, last_id: str) -> None:
        """Let the tracker's next start number its entries from behind `last_id`."""
        self._client.eval(_RAISE, 1, self._epoch, _order(last_id)[0])

    def _range(self, start: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        reply: Any = self._client.xrange(self.name, min=start, count=_READ_ENTRIES)
        return list(reply)

    def _renumber(self, first_id: str, last_id: str) -> int:
        epoch = _order(last_id)[0]
        moved: Any = self._client.eval(_RENUMBER, 2, self.name, self._epoch, first_id, epoch)
        return int(moved)

    def remove(self) -> None:
        """Delete what is left of the stream of an older layout."""
        place = (self.layout, self._shard)
        beside = (wire.history_name, wire.snapshots_name, wire.trimmed_name)
        self._client.delete(self.name, self._epoch, *(name(*place) for name in beside))

    def trim(self, passed: wire.StreamPoint | None, *, archived: str) -> None:
        """Remove the entries that are archived and that no start of the tracker needs.

        `passed` is the last archived entry whose peers are all gone or announced again since,
        `archived` the id of the last archived entry of all. What the tracker states that its last
        two snapshots contain is not needed either; the older of the two counts, as the newer one
        may turn out damaged.
        """
        stated: Any = self._client.get(wire.snapshots_name(self.layout, self._shard))
        point = trim_point(passed, wire.unpack_points(stated), archived)
        if point is not None:
            keys = (self.name, wire.trimmed_name(self.layout, self._shard))
            order = point.order
            self._client.eval(_TRIM, len(keys), *keys, *order, wire.pack_points(point))


class Tail:
    """Archived batches a tracker may still need to restart; knows what can be trimmed.

    `seconds` is how long a peer lives without announcing.
    """

    def __init__(self, seconds: int) -> None:
        self._length = seconds * MICROSECONDS
        self._batches: deque[tuple[int, str]] = deque()
        self._passed: wire.StreamPoint | None = None

    def __len__(self) -> int:
        """Batches that cannot be trimmed yet."""
        return len(self._batches)

    def clear(self) -> None:
        self._batches.clear()
        self._passed = None

    def note(self, batch: Batch, records: Records) -> None:
        """A batch is archived for good."""
        latest = int(records["at"].max()) if len(records) else 0
        self.add(latest, batch.last_id)

    def add(self, latest_at: int, last_id: str) -> None:
        self._batches.append((latest_at, last_id))
        # While a long ledger is read back, only its end may pile up here.
        self.pass_over(latest_at)

    def pass_over(self, now: int) -> wire.StreamPoint | None:
        """Up to where nothing is needed at `now` (microseconds); None: all is."""
        while self._batches and self._batches[0][0] < now - self._length:
            latest_at, last_id = self._batches.popleft()
            self._passed = wire.StreamPoint(last_id, latest_at)
        return self._passed


def trim_point(
    passed: wire.StreamPoint | None, snapshots: Sequence[wire.StreamPoint], archived: str
) -> wire.StreamPoint | None:
    """The entry before which nothing is needed: the later one of two rules, None for neither.

    `passed` is archived already. `snapshots` are the tracker's last two, or less where it states
    none: then only a peer's life counts.
    """
    if len(snapshots) < 2:
        return passed
    older = min(snapshots, key=lambda point: point.order)
    contained = min(older, older._replace(entry_id=archived), key=lambda point: point.order)
    return max(passed, contained, key=lambda point: point.order) if passed else contained


def _gather(ids: list[str], parts: list[bytes]) -> Drained:
    return Drained(first_id=ids[0], last_id=ids[-1], packed=b"".join(parts))


def _newest_at(entry: tuple[bytes, dict[bytes, bytes]]) -> int:
    """Time of the last record of an entry; 0 for one of a version we do not know."""
    fields = entry[1]
    try:
        packed = decode_entry(fields.get(wire.FIELD_VERSION), fields.get(wire.FIELD_RECORDS))
    except UnreadableRecords:
        return 0
    return int(unpack(packed)["at"].max())


def _order(entry_id: str) -> tuple[int, int]:
    epoch, _, number = entry_id.partition("-")
    return int(epoch), int(number)
