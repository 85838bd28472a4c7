"""One shard's stream of peer events, from the reader's side: drain, check, trim."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from domain.credit import MICROSECONDS
from projections.peer_ledger import Batch
from projections.peer_records import Records, UnreadableRecords, decode_entry
from tracker import wire

FIRST_ID: Final = "0-0"
_READ_ENTRIES: Final = 200


class StreamWentBack(Exception):
    """The stream was emptied or replaced and numbers its entries from before the ledger's end."""


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

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self.name = name

    def drain(self, after: str, limit: int) -> Drained | None:
        """Entries behind `after` with at most `limit` records, or one larger entry; None: none.

        Raises `UnreadableRecords` when the first entry is not of this program's version; one
        further on ends the batch, so that what came before it is archived first.
        """
        parts: list[bytes] = []
        ids: list[str] = []
        room = limit * wire.RECORD_SIZE
        while room > 0 and (entries := self._read(ids[-1] if ids else after)):
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

    def _read(self, after: str) -> list[tuple[str, dict[bytes, bytes]]]:
        reply: Any = self._client.xread({self.name: after}, count=_READ_ENTRIES)
        return [(entry_id.decode(), fields) for _, read in reply for entry_id, fields in read]

    def check(self, last_id: str) -> None:
        """Raise `StreamWentBack` when entries are numbered from before `last_id`.

        Such entries would never be read, and their credit lost without a word.
        """
        try:
            info: Any = self._client.xinfo_stream(self.name)
        except redis.ResponseError:
            return  # There is no such key yet.
        generated = info["last-generated-id"].decode()
        if _order(generated) < _order(last_id):
            raise StreamWentBack(
                f"Stream {self.name} ends at {generated}, before {last_id}, which the ledger"
                " already holds. Redis lost its contents: raise the shard's epoch above"
                f" {last_id.partition('-')[0]} and remove the stream."
            )

    def trim(self, keep_from: str) -> None:
        """Remove entries before `keep_from`."""
        self._client.xtrim(self.name, minid=keep_from, approximate=False)


class Tail:
    """Archived batches a tracker may still need to restart; knows what can be trimmed.

    `seconds` is how long a peer lives without announcing.
    """

    def __init__(self, seconds: int) -> None:
        self._length = seconds * MICROSECONDS
        self._batches: deque[tuple[int, str]] = deque()
        self._passed: str | None = None

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

    def pass_over(self, now: int) -> str | None:
        """The id up to which nothing is needed at `now` (microseconds); None: all is."""
        while self._batches and self._batches[0][0] < now - self._length:
            self._passed = self._batches.popleft()[1]
        return self._passed


def _gather(ids: list[str], parts: list[bytes]) -> Drained:
    return Drained(first_id=ids[0], last_id=ids[-1], packed=b"".join(parts))


def _order(entry_id: str) -> tuple[int, int]:
    epoch, _, number = entry_id.partition("-")
    return int(epoch), int(number)
