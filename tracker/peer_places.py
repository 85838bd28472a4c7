"""Where the peers of one swarm stand in memory: one block of tags, endpoints and records.

Three columns stand behind each other in the block: a tag of one byte a slot, by which a
member is found without an index; compact IPv4 endpoints; records of 64 bytes. Slots are kept
in three groups, seeders with an IPv4 endpoint first, then leechers with one, then peers that
have none. So the endpoints of a side are one stretch, and a slot is also a place in it.
Whoever leaves is replaced by the last of his group; a peer's slot may change with any call.
"""

from __future__ import annotations

from typing import Final

from tracker.peer_record import (
    ACCOUNT_AT,
    FLAGS_AT,
    RECORD_SIZE,
    SEEDING,
    SPOT_AT,
    STATE_AT,
    WORD,
)
from tracker.peer_ring import NO_SPOT, PeerRing
from tracker.protocol.bencode import V4_SIZE
from tracker.seat_index import SeatIndex

BEFORE_RECORDS: Final = 1 + V4_SIZE
PLACE_SIZE: Final = BEFORE_RECORDS + RECORD_SIZE

# A tag of 8 bits meets one stranger in 256 peers, at 0.1 us each. A dictionary finds at once
# but takes 100 bytes a peer, so it is for the large swarms only.
INDEX_ABOVE: Final = 1_024
_INDEX_BELOW: Final = 512
_FOREVER: Final = 0xFFFF_FFFF


class PeerPlaces:
    """Slots, groups and columns; who stands in a slot is the business of PeerBlock."""

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

    def accounts(self) -> list[int]:
        """The account of each slot."""
        return self._words(0, self.size, ACCOUNT_AT)

    def seen_between(self, start: int, stop: int) -> list[int]:
        """Second of the last announce of the slots from `start` to before `stop`."""
        return self._words(start, stop, STATE_AT)

    def _words(self, start: int, stop: int, offset: int) -> list[int]:
        """One 4-byte field of the records from `start` to before `stop`."""
        if stop - start == 1:
            return [self._word(start, offset)]
        first = self._room * BEFORE_RECORDS
        with memoryview(self._block) as view:
            records = view[first + start * RECORD_SIZE : first + stop * RECORD_SIZE]
            return records.cast("I")[offset // 4 :: RECORD_SIZE // 4].tolist()

    def _record_at(self, slot: int) -> int:
        return self._room * BEFORE_RECORDS + slot * RECORD_SIZE

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
        block = bytearray(room * PLACE_SIZE)
        with memoryview(before) as view:
            block[:size] = view[:size]
            block[room : room + size * V4_SIZE] = view[old : old + size * V4_SIZE]
            start, old_start = room * BEFORE_RECORDS, old * BEFORE_RECORDS
            length = size * RECORD_SIZE
            block[start : start + length] = view[old_start : old_start + length]
        self._block, self._room = block, room
        if self._index is None and size >= INDEX_ABOVE:
            self._index = SeatIndex(self.accounts())
        elif self._index is not None and size < _INDEX_BELOW:
            self._index = None
