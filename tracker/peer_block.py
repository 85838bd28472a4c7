"""The peers of one swarm: finding, adding, changing and removing them, and dumps of all."""

from __future__ import annotations

import struct
from typing import Final, TypeVar

from tracker.peer_places import BEFORE_RECORDS, INDEX_ABOVE, PLACE_SIZE, PeerPlaces
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
from tracker.peer_ring import NO_SPOT, load_ring
from tracker.protocol.bencode import V4_SIZE, V6_SIZE
from tracker.seat_index import NEXT_SEAT, SeatIndex

# torrent, peers, seeders, IPv4 seeders, peers with IPv4, seeders and leechers with IPv6
_HEAD: Final = struct.Struct("<IIIIIII")
_SHRINK_ABOVE: Final = 8

_Block = TypeVar("_Block", bound="PeerBlock")


class PeerBlock(PeerPlaces):
    """Storage of a swarm; a peer is named by its slot, which may change with any call."""

    __slots__ = ()

    def find(self, account: int, peer_id: bytes) -> int:
        """The slot of a client, or -1. `peer_id` is 20 bytes."""
        block = self._block
        records = self._room * BEFORE_RECORDS
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
        first = self._room * BEFORE_RECORDS + ACCOUNT_AT
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
            self._block, self._room * BEFORE_RECORDS + slot * RECORD_SIZE + STATE_AT
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

    def add(self, account: int, peer_id: bytes, now: int, *, endpoint: bytes, seeding: bool) -> int:
        """Take a client in at its endpoint; `update` tells the rest."""
        by_v4 = len(endpoint) == V4_SIZE
        slot = self._open(with4=by_v4, seeding=seeding)
        block = self._block
        block[slot] = account & 0xFF
        spot = NO_SPOT
        if by_v4:
            place = self._room + slot * V4_SIZE
            block[place : place + V4_SIZE] = endpoint
        else:
            spot = self._ring(seeding).add(endpoint, slot)
        RECORD.pack_into(
            block, self._record_at(slot), peer_id, account, spot, now, 0, 0, 0, 0, 0, seeding
        )
        self.seeders += seeding
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
            self._room * BEFORE_RECORDS + slot * RECORD_SIZE + STATE_AT,
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
        records = room * BEFORE_RECORDS
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
        end = start + size * PLACE_SIZE
        if not (seeders4 <= seeders <= size and seeders4 <= with4 <= size) or end > len(dumped):
            raise ValueError("a dumped swarm is torn")
        swarm = cls(torrent)
        swarm.size, swarm.seeders, swarm._room = size, seeders, size
        swarm._seeders4, swarm._with4 = seeders4, with4
        swarm._block = bytearray(dumped[start:end])
        if any(six):
            swarm._seeders6, end = load_ring(dumped, end, six[0])
            swarm._leechers6, end = load_ring(dumped, end, six[1])
        if size > INDEX_ABOVE:
            swarm._index = SeatIndex(swarm.accounts())
        return swarm, end

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
