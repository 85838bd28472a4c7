"""The peers of one swarm in one block of memory: tags, IPv4 endpoints, records.

Three columns stand behind each other in the block: a tag of one byte a slot, by which a
member is found without an index; compact IPv4 endpoints; records of 64 bytes. Slots are kept
in three groups, seeders with an IPv4 endpoint first, then leechers with one, then peers that
have none. So the endpoints of a side are one stretch, and a slot is also a place in it.
Whoever leaves is replaced by the last of his group; a peer's slot may change with any call.
"""

from __future__ import annotations

import struct
from typing import Final, TypeVar

from tracker.peer_record import (
    ACCOUNT_AT,
    BY_UDP,
    FLAGS_AT,
    RECORD,
    RECORD_SIZE,
    SEEDING,
    SPOT_AT,
    STATE,
    STATE_AT,
    WORD,
    Peer,
)
from tracker.peer_ring import NO_SPOT, PeerRing, load_ring
from tracker.protocol.bencode import V4_SIZE, V6_SIZE
from tracker.seat_index import NEXT_SEAT, SeatIndex

_BEFORE_RECORDS: Final = 1 + V4_SIZE
_PLACE_SIZE: Final = _BEFORE_RECORDS + RECORD_SIZE

# torrent, peers, seeders, IPv4 seeders, peers with IPv4, seeders and leechers with IPv6
_HEAD: Final = struct.Struct("<IIIIIII")

# A tag of 8 bits meets one stranger in 256 peers, at 0.1 us each. A dictionary finds at once
# but takes 100 bytes a peer, so it is for the large swarms only.
_INDEX_ABOVE: Final = 1_024
_INDEX_BELOW: Final = 512
_SHRINK_ABOVE: Final = 8
_FOREVER: Final = 0xFFFF_FFFF


_Block = TypeVar("_Block", bound="PeerBlock")


class PeerBlock:
    """Storage of a swarm: finding, adding, changing and removing peers by slot."""

    __slots__ = (
        "_block",
        "_index",
        "_leechers6",
        "_room",
        "_seeders4",
        "_seeders6",
        "_with4",
        "oldest",
        "seeders",
        "size",
        "torrent",
    )

    def __init__(self, torrent: int) -> None:
        self.torrent = torrent
        self.size = 0
        self.seeders = 0
        self.oldest = _FOREVER
        """Lowest `seen` of peers that moved up, past a search from the top; see the wheel."""
        self._seeders4 = 0
        self._with4 = 0
        self._room = 0
        self._block = bytearray()
        self._index: SeatIndex | None = None
        # Most swarms see one family only, so rings are made when first needed.
        self._seeders6: PeerRing | None = None
        self._leechers6: PeerRing | None = None

    def __len__(self) -> int:
        return self.size

    def find(self, account: int, peer_id: bytes) -> int:
        """The slot of a client, or -1. `peer_id` is 20 bytes."""
        block = self._block
        records = self._room * _BEFORE_RECORDS
        wanted = peer_id + WORD.pack(account)
        if self._index is not None:
            slots = self._index.slots
            slot = slots.get(account, -1)
            while slot >= 0 and not block.startswith(wanted, records + slot * RECORD_SIZE):
                account += NEXT_SEAT
                slot = slots.get(account, -1)
            return slot
        size = self.size
        tag = account & 0xFF
        slot = block.find(tag, 0, size)
        while slot >= 0 and not block.startswith(wanted, records + slot * RECORD_SIZE):
            slot = block.find(tag, slot + 1, size)
        return slot

    def seats(self, account: int) -> list[int]:
        """The slots of a member's clients, in no order."""
        if self._index is not None:
            return self._index.seats(account)
        found: list[int] = []
        block = self._block
        first = self._room * _BEFORE_RECORDS + ACCOUNT_AT
        wanted = WORD.pack(account)
        tag = account & 0xFF
        slot = block.find(tag, 0, self.size)
        while slot >= 0:
            if block.startswith(wanted, first + slot * RECORD_SIZE):
                found.append(slot)
            slot = block.find(tag, slot + 1, self.size)
        return found

    def peer(self, slot: int) -> Peer:
        """The record in a slot."""
        peer_id, account, _, *state = RECORD.unpack_from(self._block, self._record_at(slot))
        return Peer(peer_id, account, *state)

    def state(self, slot: int) -> tuple[int, ...]:
        """What announces change of a peer: seen, key, up, down, left, interval, flags."""
        return STATE.unpack_from(
            self._block, self._room * _BEFORE_RECORDS + slot * RECORD_SIZE + STATE_AT
        )

    def endpoints(self, slot: int) -> list[bytes]:
        """The compact endpoints of a peer, IPv4 first."""
        found: list[bytes] = []
        if slot < self._with4:
            found.append(self._endpoint4(slot))
        spot = self._spot6(slot)
        if spot != NO_SPOT:
            found.append(self._ring(self._flags(slot) & SEEDING).at(spot))
        return found

    def seen_between(self, start: int, stop: int) -> list[int]:
        """Second of the last announce of the slots from `start` to before `stop`."""
        return self._words(start, stop, STATE_AT)

    def add(self, account: int, peer_id: bytes, now: int) -> int:
        """Take a client in; it is a leecher without endpoint until `update`."""
        slot = self._open(with4=False, seeding=False)
        self._block[slot] = account & 0xFF
        RECORD.pack_into(
            self._block, self._record_at(slot), peer_id, account, NO_SPOT, now, 0, 0, 0, 0, 0, 0
        )
        if self._index is not None:
            self._index.enter(account, slot)
        return slot

    def update(
        self,
        slot: int,
        endpoint: bytes,
        now: int,
        *,
        key: int,
        up: int,
        down: int,
        left: int,
        interval: int,
        by_udp: bool,
    ) -> int:
        """Take over what an announce states, `now` in seconds; the answer is the peer's slot."""
        seeding = left == 0
        place = self._room + slot * V4_SIZE
        if len(endpoint) == V4_SIZE and slot < self._with4 and seeding == (slot < self._seeders4):
            self._block[place : place + V4_SIZE] = endpoint
        elif not self._renew6(slot, endpoint, seeding=seeding):
            slot = self._regroup(slot, endpoint, seeding=seeding)
        STATE.pack_into(
            self._block,
            self._room * _BEFORE_RECORDS + slot * RECORD_SIZE + STATE_AT,
            now,
            key,
            up,
            down,
            left,
            interval,
            seeding | BY_UDP if by_udp else seeding,
        )
        return slot

    def remove(self, slot: int) -> None:
        """Take a peer out; the last of its group moves into its slot."""
        flags = self._flags(slot)
        self.seeders -= flags & SEEDING
        spot = self._spot6(slot)
        if spot != NO_SPOT:
            self._leave6(flags & SEEDING, spot)
        if self._index is not None:
            self._index.forget(self._word(slot, ACCOUNT_AT), slot)
        self._close(slot)
        if self._room > _SHRINK_ABOVE and self.size * 2 < self._room:
            self._resize(self.size + self.size // 8 + 1)

    def dump(self) -> bytes:
        """The swarm as bytes that `load` reads, without the room kept beside."""
        room, size, block = self._room, self.size, self._block
        records = room * _BEFORE_RECORDS
        rings = [ring for ring in (self._seeders6, self._leechers6) if ring is not None]
        head = _HEAD.pack(
            self.torrent,
            size,
            self.seeders,
            self._seeders4,
            self._with4,
            len(self._seeders6 or ()),
            len(self._leechers6 or ()),
        )
        return b"".join(
            [
                head,
                block[:size],
                block[room : room + size * V4_SIZE],
                block[records : records + size * RECORD_SIZE],
                *(part for ring in rings for part in (ring.endpoints, ring.owners)),
            ]
        )

    @classmethod
    def load(cls: type[_Block], dumped: memoryview, at: int) -> tuple[_Block, int]:
        """The swarm that `dump` wrote at this place, and where the next begins.

        Raises ValueError where the bytes are no such thing.
        """
        try:
            torrent, size, seeders, seeders4, with4, *six = _HEAD.unpack_from(dumped, at)
        except struct.error:
            raise ValueError("a dumped swarm is torn") from None
        start = at + _HEAD.size
        end = start + size * _PLACE_SIZE
        if not (seeders4 <= seeders <= size and seeders4 <= with4 <= size) or end > len(dumped):
            raise ValueError("a dumped swarm is torn")
        swarm = cls(torrent)
        swarm.size, swarm.seeders, swarm._room = size, seeders, size
        swarm._seeders4, swarm._with4 = seeders4, with4
        swarm._block = bytearray(dumped[start:end])
        swarm._seeders6, end = load_ring(dumped, end, six[0])
        swarm._leechers6, end = load_ring(dumped, end, six[1])
        if size > _INDEX_ABOVE:
            swarm._index = SeatIndex(swarm.accounts())
        return swarm, end

    def accounts(self) -> list[int]:
        """The account of each slot."""
        return self._words(0, self.size, ACCOUNT_AT)

    def _words(self, start: int, stop: int, offset: int) -> list[int]:
        """One 4-byte field of the records from `start` to before `stop`."""
        first = self._room * _BEFORE_RECORDS
        with memoryview(self._block) as view:
            records = view[first + start * RECORD_SIZE : first + stop * RECORD_SIZE]
            return records.cast("I")[offset // 4 :: RECORD_SIZE // 4].tolist()

    def _record_at(self, slot: int) -> int:
        return self._room * _BEFORE_RECORDS + slot * RECORD_SIZE

    def _flags(self, slot: int) -> int:
        return self._block[self._record_at(slot) + FLAGS_AT]

    def _word(self, slot: int, offset: int) -> int:
        found: int = WORD.unpack_from(self._block, self._record_at(slot) + offset)[0]
        return found

    def _spot6(self, slot: int) -> int:
        return self._word(slot, SPOT_AT)

    def _endpoint4(self, slot: int) -> bytes:
        at = self._room + slot * V4_SIZE
        return bytes(self._block[at : at + V4_SIZE])

    def _ring(self, seeding: int) -> PeerRing:
        ring = self._seeders6 if seeding else self._leechers6
        if ring is None:
            ring = PeerRing()
            if seeding:
                self._seeders6 = ring
            else:
                self._leechers6 = ring
        return ring

    def _renew6(self, slot: int, endpoint: bytes, *, seeding: bool) -> bool:
        """Put an IPv6 endpoint over the one a peer has on the same side; False if there is none."""
        if len(endpoint) != V6_SIZE or seeding != (self._flags(slot) & SEEDING):
            return False
        spot = self._spot6(slot)
        if spot == NO_SPOT:
            return False
        self._ring(seeding).replace(spot, endpoint)
        return True

    def _regroup(self, slot: int, endpoint: bytes, *, seeding: bool) -> int:
        """Move a peer to where its side and families belong; the answer is its new slot."""
        was_seeding = self._flags(slot) & SEEDING
        at = self._record_at(slot)
        record = self._block[at : at + RECORD_SIZE]
        account = self._word(slot, ACCOUNT_AT)
        spot = self._spot6(slot)
        endpoint4 = self._endpoint4(slot) if slot < self._with4 else b""
        endpoint6 = self._ring(was_seeding).at(spot) if spot != NO_SPOT else b""
        if len(endpoint) == V4_SIZE:
            endpoint4 = endpoint
        else:
            endpoint6 = endpoint
        if spot != NO_SPOT:
            self._leave6(was_seeding, spot)
        if self._index is not None:
            self._index.forget(account, slot)
        self._close(slot)
        slot = self._open(with4=bool(endpoint4), seeding=seeding)
        spot = self._ring(seeding).add(endpoint6, slot) if endpoint6 else NO_SPOT
        WORD.pack_into(record, SPOT_AT, spot)
        record[FLAGS_AT] = seeding
        self.seeders += seeding - was_seeding
        self._block[slot] = account & 0xFF
        if endpoint4:
            place = self._room + slot * V4_SIZE
            self._block[place : place + V4_SIZE] = endpoint4
        at = self._record_at(slot)
        self._block[at : at + RECORD_SIZE] = record
        if self._index is not None:
            self._index.enter(account, slot)
        return slot

    def _leave6(self, seeding: int, spot: int) -> None:
        moved = self._ring(seeding).remove(spot)
        if moved >= 0:
            WORD.pack_into(self._block, self._record_at(moved) + SPOT_AT, spot)

    def _open(self, *, with4: bool, seeding: bool) -> int:
        """Make a free slot at the end of a group; the first of each later one gives way."""
        if self.size == self._room:
            self._resize(self.size + self.size // 8 + 1)
        slot = self.size
        if with4:
            if self._with4 < slot:
                self._move(self._with4, slot)
            slot = self._with4
            self._with4 += 1
            if seeding:
                if self._seeders4 < slot:
                    self._move(self._seeders4, slot)
                slot = self._seeders4
                self._seeders4 += 1
        self.size += 1
        return slot

    def _close(self, slot: int) -> None:
        """Give a slot up; the last of its group and of each later one moves down."""
        if slot < self._seeders4:
            self._seeders4 -= 1
            self._move(self._seeders4, slot)
            slot = self._seeders4
        if slot < self._with4:
            self._with4 -= 1
            self._move(self._with4, slot)
            slot = self._with4
        self.size -= 1
        self._move(self.size, slot)

    def _move(self, source: int, target: int) -> None:
        """Bring a peer to a free slot."""
        if source == target:
            return
        block, room = self._block, self._room
        block[target] = block[source]
        start, end = room + source * V4_SIZE, room + target * V4_SIZE
        block[end : end + V4_SIZE] = block[start : start + V4_SIZE]
        start, end = self._record_at(source), self._record_at(target)
        block[end : end + RECORD_SIZE] = block[start : start + RECORD_SIZE]
        if target > source:
            self.oldest = min(self.oldest, self._word(target, STATE_AT))
        spot = self._word(target, SPOT_AT)
        if spot != NO_SPOT:
            self._ring(self._flags(target) & SEEDING).owners[spot] = target
        if self._index is not None:
            self._index.move(self._word(target, ACCOUNT_AT), source, target)

    def _resize(self, room: int) -> None:
        before, old, size = self._block, self._room, self.size
        block = bytearray(room * _PLACE_SIZE)
        with memoryview(before) as view:
            block[:size] = view[:size]
            block[room : room + size * V4_SIZE] = view[old : old + size * V4_SIZE]
            start, old_start = room * _BEFORE_RECORDS, old * _BEFORE_RECORDS
            length = size * RECORD_SIZE
            block[start : start + length] = view[old_start : old_start + length]
        self._block, self._room = block, room
        if self._index is None and size >= _INDEX_ABOVE:
            self._index = SeatIndex(self.accounts())
        elif self._index is not None and size < _INDEX_BELOW:
            self._index = None
