"""Rebuilds the swarms of a shard from what its stream still holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tracker.redis_link import RedisCalls
from tracker.resp import Reply, pack_command
from tracker.swarms import Swarms
from tracker.wire import (
    EVENT_EXPIRED,
    EVENT_STOPPED,
    FIELD_RECORDS,
    FIELD_VERSION,
    FLAG_LATE,
    PROTOCOL_UDP,
    VERSION,
    PeerRecord,
    unpack_records,
)

_ENTRIES_A_READ: Final = 100


class UnknownLayout(Exception):
    """The stream holds records this version cannot read."""


class TailReader:
    """Reads one stream on from where it stands, and brings the swarms to the state after it.

    Peers too old to live are taken in as well: the wheel drops them at once, with the record
    that closes their sessions.
    """

    def __init__(
        self,
        stream: str,
        swarms: Swarms,
        *,
        after: str = "",
        owns: Callable[[int], bool] | None = None,
    ) -> None:
        """`after`: the id of the last entry that is known already; empty for none.

        `owns` tells by a torrent's number whether it is ours, where the stream is not ours alone.
        """
        self.last_id = after
        self.last_at = 0
        """Time of the newest record read, microseconds; 0 while none was."""
        self._stream = stream
        self._swarms = swarms
        self._owns = owns

    def read(self, calls: RedisCalls, stopping: Callable[[], bool]) -> None:
        """Apply every record behind the last one read, to the end or until `stopping`.

        Raises UnknownLayout, RedisError, OSError.
        """
        while not stopping():
            start = f"({self.last_id}" if self.last_id else "-"
            reply = calls.call(
                pack_command("XRANGE", self._stream, start, "+", "COUNT", _ENTRIES_A_READ)
            )
            if not isinstance(reply, list) or not reply:
                return
            for entry in reply:
                self._apply(entry)

    def _apply(self, entry: Reply) -> None:
        number, block = _read_entry(entry)
        owns = self._owns
        for record in unpack_records(block):
            if owns is None or owns(record.torrent):
                apply_record(self._swarms, record)
            self.last_at = max(self.last_at, record.at)
        self.last_id = number


def apply_record(swarms: Swarms, record: PeerRecord) -> None:
    """Bring the swarm to where it was after this record."""
    swarm = swarms.find(record.torrent)
    slot = swarm.find(record.account, record.peer) if swarm is not None else -1
    if record.event in {EVENT_STOPPED, EVENT_EXPIRED}:
        if swarm is not None and slot >= 0:
            swarms.leave(swarm, slot)
        return
    now = record.at // 1_000_000
    up, down, left = record.up, record.down, record.left
    address = record.address[12:] if record.family == 4 else record.address
    endpoint = address + record.port.to_bytes(2, "big")
    if swarm is None or slot < 0:
        swarm, slot = swarms.join(
            record.torrent, record.account, record.peer, now, endpoint=endpoint, seeding=left == 0
        )
    elif record.flags & FLAG_LATE:
        known = swarm.peer(slot)
        up, down, left = known.up, known.down, known.left
    swarm.update(
        slot,
        endpoint,
        now,
        key=record.key,
        up=up,
        down=down,
        left=left,
        interval=record.interval,
        by_udp=record.protocol == PROTOCOL_UDP,
    )


def _read_entry(entry: Reply) -> tuple[str, bytes]:
    match entry:
        case [bytes(number), list(fields)]:
            values = dict(zip(fields[::2], fields[1::2], strict=False))
            block = values.get(FIELD_RECORDS)
            if values.get(FIELD_VERSION) == VERSION and isinstance(block, bytes):
                return number.decode("ascii"), block
    raise UnknownLayout("the event stream holds records of another version")
